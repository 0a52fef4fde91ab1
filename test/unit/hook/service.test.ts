import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HookEvent, parseHookEvent } from '../../../src/hook/events.ts';
import type { BaseStanding, BasesPort, SnapshotsPort } from '../../../src/hook/ports.ts';
import { createHookService } from '../../../src/hook/service.ts';
import { OperatingError, type WireError } from '../../../src/wire/errors.ts';
import { domainXml, UUIDS } from './domains.ts';

const XML = domainXml(UUIDS[0]);
const FAILURE: WireError = { code: 'not-found', op: 'fill', subject: 'b', why: 'no such snapshot' };
const LIVE = new AbortController().signal;

interface Fake {
  standing?: BaseStanding['kind'];
  needsOf?: BasesPort['needsOf'];
  onRelease?: SnapshotsPort['onRelease'];
  onPrepare?: SnapshotsPort['onPrepare'];
  budgetMs?: number;
  /** The job that puts its disks back. */
  replacing?: string;
}

/** Records what the service did, in order; the fill ends when the test says so. */
function bench(fake: Fake = {}) {
  const did: string[] = [];
  const fill = Promise.withResolvers<WireError | undefined>();
  const bases: BasesPort = {
    needsOf: fake.needsOf ?? (async () => [{ target: 'vda', bases: [{ id: 'b', name: 'B' }] }]),
    standingOf: () => ({ kind: fake.standing ?? 'present' }),
    fill(id) {
      did.push(`fill ${id}`);
      return { ended: fill.promise, isResolved: () => true, progress: () => undefined };
    },
    leaseRunning: (domain, ids) => void did.push(`lease ${domain.uuid === UUIDS[0]} ${ids.join()}`),
    endRunning: () => void did.push('end'),
  };
  const snapshots: SnapshotsPort = {
    onRelease: (event) => {
      fake.onRelease?.(event);
      did.push(`release ${event.reason} ${event.isLate}`);
    },
    onPrepare: async (uuid, deadlineMs) => {
      did.push('snapshots');
      return (await fake.onPrepare?.(uuid, deadlineMs)) ?? 'none';
    },
  };
  const budgetMs = fake.budgetMs ?? 10_000;
  const service = createHookService({
    bases,
    snapshots,
    replacing: () => fake.replacing,
    config: { fillWaitMs: budgetMs, elsewhereMs: budgetMs },
    log: { info: () => undefined, warn: () => undefined },
    now: Date.now,
  });
  const ask = (operation: string, pid = 1, signal = LIVE) =>
    service.answer({ operation, subOperation: 'begin', extra: 'shutdown', pid, xml: XML }, signal);
  return { did, fill, service, ask };
}

function late(operation: string, atMs: number, pid = 2): HookEvent {
  const call = { operation, subOperation: 'begin', extra: 'shutdown', pid, xml: XML };
  return parseHookEvent(call, { atMs, isLate: true });
}

test('bases that are here: leased, and answered without a fill', async () => {
  const { did, ask } = bench();
  assert.deepEqual(await ask('prepare'), { kind: 'allow' });
  assert.deepEqual(did.toSorted(), ['lease true b', 'snapshots']);
});

test('a domain whose disks are being put back is refused at once, and nothing is done for it', async () => {
  const { did, ask } = bench({ standing: 'absent', replacing: 'job-1' });
  const verdict = await ask('prepare');
  assert.match(verdict.kind === 'refuse' ? verdict.message : '', /being put back .*job-1/);
  assert.deepEqual(did, []);
});

test('a missing base is leased before it is filled, and waited for', async () => {
  const { did, fill, ask } = bench({ standing: 'absent' });
  const answer = ask('prepare');
  fill.resolve(undefined);
  assert.deepEqual(await answer, { kind: 'allow' });
  assert.deepEqual(
    did.filter((each) => each !== 'snapshots'),
    ['lease true b', 'fill b'],
  );
});

test('a fill that fails refuses at once, and ends the lease', async () => {
  const { did, fill, ask } = bench({ standing: 'absent' });
  fill.resolve(FAILURE);
  const verdict = await ask('prepare');
  assert.match(
    verdict.kind === 'refuse' ? verdict.message : '',
    /\(B\) is not here: no such snapshot/,
  );
  assert.equal(did.at(-1), 'end');
});

test('a fill that goes on is refused at the end of the budget, not before and not much later', async () => {
  const { ask } = bench({ standing: 'absent', budgetMs: 300 });
  const startMs = performance.now();
  const verdict = await ask('prepare');
  const ms = performance.now() - startMs;
  assert.match(verdict.kind === 'refuse' ? verdict.message : '', /is being filled; try again/);
  assert.ok(ms > 290 && ms < 1300, `${ms} ms`);
});

test('migrate and restore start the fill and lease nothing', async () => {
  for (const operation of ['migrate', 'restore']) {
    const { did, ask } = bench({ standing: 'absent', budgetMs: 50 });
    assert.deepEqual(await ask(operation), { kind: 'allow' });
    assert.deepEqual(did, ['fill b']);
  }
});

test('chains that cannot be told, or not in time, do not stop a domain', async () => {
  const unavailable = new OperatingError({ code: 'unavailable', op: 'walk', subject: 'x' });
  const failing = bench({ needsOf: () => Promise.reject(unavailable) });
  assert.deepEqual(await failing.ask('prepare'), { kind: 'allow' });
  const hanging = bench({ needsOf: () => new Promise(() => undefined), budgetMs: 50 });
  assert.deepEqual(await hanging.ask('prepare'), { kind: 'allow' });
});

test('a defect is not taken for an answer', async () => {
  const { ask } = bench({ needsOf: () => Promise.reject(new TypeError('defect')) });
  await assert.rejects(ask('prepare'), TypeError);
});

test('a start waits for the room of snapshots', async () => {
  const held = Promise.withResolvers<'finished'>();
  const { ask } = bench({ onPrepare: () => held.promise });
  let isAnswered = false;
  const answer = ask('prepare').then(() => {
    isAnswered = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isAnswered, false);
  held.resolve('finished');
  await answer;
});

test('release ends the lease and hands the event on; its failure is the answer', async () => {
  const { did, ask } = bench();
  assert.deepEqual(await ask('release'), { kind: 'allow' });
  assert.deepEqual(did, ['release shutdown false', 'end']);
  const full = new OperatingError({ code: 'exhausted', op: 'record', subject: 'x' });
  const failing = bench({
    onRelease: () => {
      throw full;
    },
  });
  await assert.rejects(failing.ask('release', 7), full);
  await assert.rejects(
    failing.service.catchUp([late('release', Date.now(), 7)]),
    full,
    'its spooled twin is not taken for answered',
  );
});

test('a prepare whose chains are known only after its release leases nothing', async () => {
  const walked = Promise.withResolvers<[{ target: 'vda'; bases: [{ id: 'b'; name: 'B' }] }]>();
  const { did, ask } = bench({ needsOf: () => walked.promise });
  const prepare = ask('prepare');
  await ask('release', 2);
  walked.resolve([{ target: 'vda', bases: [{ id: 'b', name: 'B' }] }]);
  await prepare;
  assert.deepEqual(did, ['snapshots', 'release shutdown false', 'end']);
});

test('what was answered and spooled as well is taken once', async () => {
  const { did, ask, service } = bench();
  await ask('release', 7);
  await service.catchUp([late('release', Date.now(), 7)]);
  assert.deepEqual(did, ['release shutdown false', 'end']);
});

test('what was spooled since its filter left is caught up', async () => {
  const { did, ask, service } = bench();
  const left = new AbortController();
  left.abort();
  await ask('prepare', 7, left.signal);
  did.length = 0;
  await service.catchUp([late('prepare', Date.now(), 7)]);
  assert.deepEqual(did, ['snapshots', 'lease true b']);
});

test('spooled events: starts lease, the last release is taken, what was overtaken is left out', async () => {
  const { did, service } = bench();
  await service.catchUp([late('prepare', 1), late('release', 2), late('prepare', 3)]);
  assert.deepEqual(did, ['snapshots', 'lease true b', 'snapshots', 'lease true b']);
  did.length = 0;
  await service.catchUp([late('release', 4)]);
  assert.deepEqual(did, ['release shutdown true', 'end']);
});

test('a spooled event older than a live call of the domain changes nothing', async () => {
  const { did, ask, service } = bench();
  await ask('prepare');
  did.length = 0;
  await service.catchUp([late('prepare', 1), late('release', 2)]);
  assert.deepEqual(did, []);
});
