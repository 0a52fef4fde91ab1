// The audit: one line a change, whatever the log's level, with what is certain told apart from what is claimed.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { claimedUserOf, createAudit } from '../../../src/sidecar/audit.ts';
import { createLog } from '../../../src/sidecar/log.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { serveFakes } from './support/served.ts';

const linesOf = (logged: readonly string[]) =>
  logged
    .filter((line) => line.includes('"audit":true'))
    .map((line) => JSON.parse(line.replace(/^<\d>/, '')) as Record<string, unknown>);

describe('a change', () => {
  const base = { id: 'b', kind: 'x' };
  const HEADERS = { headers: { 'x-siphon-user': 'alice' } };
  const who = { socket: 'write', claimedUser: 'alice' };
  const CHANGES: readonly [path: string, body: object | undefined, method: string, what: object][] =
    [
      ['/v1/warm', { source: 's' }, 'POST', { what: 'warm', subject: 's', result: 'begun' }],
      [
        '/v1/describe',
        { source: 's', properties: null },
        'POST',
        { what: 'describe', subject: 's' },
      ],
      ['/v1/manifest', { source: 's', envelope: null }, 'POST', { what: 'describe', subject: 's' }],
      ['/v1/table', { source: 's' }, 'POST', { what: 'sign', subject: 's', result: 'begun' }],
      ['/v1/pin', { base: 'b' }, 'POST', { what: 'pin', subject: 'b' }],
      ['/v1/unpin', { base: 'b' }, 'POST', { what: 'unpin', subject: 'b' }],
      [
        '/v1/evict',
        { dryRun: false, bases: ['b', 'c'] },
        'POST',
        { what: 'evict', subject: 'b c' },
      ],
      ['/v1/start', { domain: 'd' }, 'POST', { what: 'start', subject: 'd', result: 'begun' }],
      ['/v1/snapshots', { domains: ['d'] }, 'POST', { what: 'snapshot create', result: 'begun' }],
      ['/v1/snapshots/i', undefined, 'DELETE', { what: 'snapshot delete', subject: 'i' }],
      [
        '/v1/jobs/none/cancel',
        {},
        'POST',
        { what: 'cancel', subject: 'none', result: 'not-found' },
      ],
      ['/v1/pause', { what: 'fills' }, 'POST', { what: 'pause', subject: 'fills' }],
      ['/v1/resume', { what: 'all' }, 'POST', { what: 'resume', subject: 'all' }],
      ['/v1/reload', {}, 'POST', { what: 'reload', subject: 'config' }],
    ];
  for (const [path, body, method, want] of CHANGES) {
    it(`by way of ${method} ${path} is one line`, async () => {
      let jobId: string | undefined;
      await using served = await serveFakes((journal) => {
        const begin = () => {
          const job = journal.begin('fill', 'x', {});
          jobId = job.id;
          job.done();
          return Promise.resolve({ kind: 'job' as const, id: job.id });
        };
        return {
          warm: begin,
          start: begin,
          takeSnapshots: begin,
          describe: () => Promise.resolve(),
          setManifest: () => Promise.resolve({}),
          table: begin,
          deleteSnapshot: () => Promise.resolve(),
          pin: () => Promise.resolve(base as never),
          unpin: () => Promise.resolve(base as never),
          evict: () =>
            Promise.resolve({ dryRun: false, decisions: [], quarantine: [], freedBytes: 0 }),
          pause: () => ({ paused: [] }),
          resume: () => ({ paused: [] }),
          reload: () => Promise.resolve({ applied: [], needsRestart: [] }),
        };
      });
      await served.lines(path, { method, ...(body === undefined ? {} : { body }), ...HEADERS });
      const lines = linesOf(served.logged);
      assert.equal(lines.length, 1);
      const { msg, level, why: _, ...line } = lines[0] ?? {};
      assert.deepEqual([msg, level], ['change', 'info']);
      const job = jobId === undefined ? {} : { job: jobId };
      const whole = { audit: true, who, result: 'done', subject: line['subject'], ...job, ...want };
      assert.deepEqual(line, whole);
    });
  }

  it('that reads, or only would evict, is none', async () => {
    await using served = await serveFakes(() => ({
      listBases: () => ({ bases: [] }),
      evict: () => Promise.resolve({ dryRun: true, decisions: [], quarantine: [], freedBytes: 0 }),
    }));
    await served.json('/v1/bases');
    await served.json('/v1/evict', { body: { dryRun: true } });
    assert.deepEqual(linesOf(served.logged), []);
  });

  it('is told with its error, and at a level that leaves out everything else', async () => {
    const lines: string[] = [];
    const audit = createAudit(createLog('error', { write: (line) => lines.push(line) }));
    const error = new OperatingError({ code: 'refused', op: 'o', subject: 's', why: 'paused' });
    const entry = { who: { socket: 'write' }, what: 'warm', subject: 's' } as const;
    await assert.rejects(
      audit(entry, () => Promise.reject(error)),
      error,
    );
    const [line] = linesOf(lines);
    assert.deepEqual([line?.['result'], line?.['why']], ['refused', 'paused']);
    assert.deepEqual(line?.['who'], { socket: 'write' });
  });
});

describe('a claim of a user', () => {
  it('is a name, or is left out', () => {
    assert.equal(claimedUserOf('alice.b@corp-1'), 'alice.b@corp-1');
    for (const each of [undefined, '', 'a b', 'x"}', 'a'.repeat(65), ['a', 'b']])
      assert.equal(claimedUserOf(each), undefined);
  });
});
