// The pump under every order of answers: bytes hashed in order, slots never shared, nothing running when it ends.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Pace } from '../../../src/rbd-export/pace.ts';
import { runPipeline } from '../../../src/rbd-export/pipeline.ts';
import type { Segment } from '../../../src/rbd-export/segments.ts';

interface Script {
  readonly segments: Segment[];
  readonly slots: number;
  /** Which segment's read, write or hash fails, if any. */
  readonly fault?: { readonly at: number; readonly step: 'read' | 'write' | 'hash' };
  /** After how many reads the caller aborts. */
  readonly abortAfter?: number;
}

const script = fc.record(
  {
    segments: fc
      .array(
        fc.tuple(
          fc.constantFrom<Segment['kind'][]>('data', 'hole'),
          fc.integer({ min: 1, max: 9 }),
        ),
        {
          maxLength: 40,
        },
      )
      .map((parts) => {
        let at = 0;
        return parts.map(
          ([kind, length]): Segment => ({
            kind,
            offset: (at += length) - length,
            length,
          }),
        );
      }),
    slots: fc.integer({ min: 1, max: 6 }),
    fault: fc.record({ at: fc.nat(40), step: fc.constantFrom('read', 'write', 'hash') }),
    abortAfter: fc.nat(20),
  },
  { requiredKeys: ['segments', 'slots'] },
);

/** A world in which every effect ends when fast-check says so, and in which misuse of a slot is seen. */
async function play(s: fc.Scheduler, { segments, slots, fault, abortAfter }: Script) {
  const holders = new Map<number, Segment>();
  const abort = new AbortController();
  const log = { hashed: 0, running: 0, most: 0, reads: 0 };
  const failing = segments[fault?.at ?? -1];
  const step = async (name: string, segment: Segment, slot: number) => {
    assert.equal(holders.get(slot), segment, 'the slot is another chunk’s');
    log.running += 1;
    await s.schedule(Promise.resolve(), `${name} ${segment.offset}`);
    log.running -= 1;
    assert.equal(holders.get(slot), segment, 'the slot was given away too soon');
    if (failing === segment && fault?.step === name) throw new Error('the fault');
  };
  const run = runPipeline(
    segments,
    {
      slots,
      readTimeoutMs: 1000,
      read(slot, segment) {
        assert(slot >= 0 && slot < slots && !holders.has(slot), 'the slot is in use');
        holders.set(slot, segment);
        log.most = Math.max(log.most, holders.size);
        if (log.reads++ === abortAfter) abort.abort(new Error('the abort'));
        return step('read', segment, slot);
      },
      write: (slot, segment) => step('write', segment, slot),
      hash(slot, segment) {
        assert.equal(segment.offset, log.hashed, 'hashed out of order');
        log.hashed += segment.length;
        return step('hash', segment, slot);
      },
      hashHole: (length) => void (log.hashed += length),
      done(segment) {
        for (const [slot, holder] of holders) if (holder === segment) holders.delete(slot);
      },
    },
    abort.signal,
  ).then(
    () => 'through',
    (error: Error) => (assert.match(error.message, /^the (fault|abort)$/), 'stopped'),
  );
  const ended = await s.waitFor(run);
  return { ended, ...log, isAborted: abort.signal.aborted };
}

test('in every order of answers: in order, within the slots, and at rest at the end', async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), script, async (s, drawn) => {
      const given = drawn as Script;
      const seen = await play(s, given);
      assert.equal(seen.running, 0, 'something still runs');
      assert(seen.most <= given.slots);
      const hit = given.segments[given.fault?.at ?? -1]?.kind === 'data';
      if (!hit && !seen.isAborted) {
        assert.equal(seen.ended, 'through');
        assert.equal(
          seen.hashed,
          given.segments.reduce((sum, one) => sum + one.length, 0),
        );
      } else if (hit && !seen.isAborted) {
        assert.equal(seen.ended, 'stopped', 'the fault was lost');
      }
    }),
    { numRuns: 2000 },
  );
});

test('an abort before the start: nothing begins', async () => {
  const none = () => assert.fail('it began');
  const ports = {
    slots: 2,
    readTimeoutMs: 1000,
    read: none,
    write: none,
    hash: none,
    hashHole: () => {},
    done: none,
  };
  const segments: Segment[] = [{ kind: 'data', offset: 0, length: 1 }];
  await assert.rejects(
    runPipeline(segments, ports, AbortSignal.abort(new Error('early'))),
    /early/,
  );
});

test('few reads on a slow link, many on a quick one', () => {
  const pace = new Pace(16, 30_000);
  assert.equal(pace.limit, 1);
  for (let i = 0; i < 40; i++) pace.learn(20);
  assert.equal(pace.limit, 16);
  for (let i = 0; i < 10; i++) pace.learn(10_000);
  assert.equal(pace.limit, 1);
  assert.equal(pace.learn(5000), 1, 'neither quick nor slow: as it is');
});
