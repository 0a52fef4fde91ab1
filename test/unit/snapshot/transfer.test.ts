// Exports and imports as jobs: what an interruption leaves, who goes on with it, and when it is given up.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createJournal } from '../../../src/sidecar/journal.ts';
import { decideLeft, LEFT_MS_MAX } from '../../../src/snapshot/transfer/left-imports.ts';
import type { TransferParts } from '../../../src/snapshot/transfer/ports.ts';
import { createTransfers } from '../../../src/snapshot/transfer/service.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { ExportSpec, Settled } from '../../../src/wire/transfer-protocol.ts';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { keptLog } from '../sidecar/support/quiet.ts';
import { rowsInMemory } from '../sidecar/support/served.ts';

const PLAN = { id: 'e1', domainName: 'web-1', isIncremental: false, isResumed: false };
const setOf = (id: string, targets = ['vda', 'vdb']) => {
  const disks = targets.map((target) => ({ target }));
  return { id, fsid: 'f', domainName: 'web-1', disks } as unknown as SnapshotSet;
};
const failure = (code: 'cancelled' | 'unavailable' | 'corrupt', why: string) =>
  new OperatingError({ code, op: 'import', subject: 'x', why });

/** One cluster, one worker at a time, of which the test says how it ends. */
function world(known: readonly SnapshotSet[] = [], refusal?: OperatingError) {
  const { log } = keptLog();
  const clock = { nowMs: Date.UTC(2026, 10, 21) };
  const rows = rowsInMemory();
  const journal = createJournal({ rows, log, now: () => clock.nowMs });
  const sets = new Map(known.map((set) => [set.id, set]));
  const calls: { readonly method: string; readonly params: unknown }[] = [];
  const runs: PromiseWithResolvers<unknown>[] = [];
  const settles: Settled[] = [];
  const manifest = 'signed';
  const worker = {
    call(method: string, params: unknown, { signal }: { signal?: AbortSignal }) {
      calls.push({ method, params });
      if (method === 'listen') return Promise.resolve({ path: '/s', token: 't' });
      if (method === 'openImport') {
        if (refusal !== undefined) return Promise.reject(refusal);
        return Promise.resolve({ ...PLAN, setId: 's1' });
      }
      const run = Promise.withResolvers<unknown>();
      signal?.addEventListener('abort', () => run.reject(failure('cancelled', 'asked to end')));
      runs.push(run);
      return run.promise;
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const cluster = {
    name: 'c',
    fsid: () => Promise.resolve('f'),
    settings: {},
    ceph: {
      call(method: string, params: unknown) {
        calls.push({ method, params });
        if (method === 'readManifest') return Promise.resolve({ envelope: manifest });
        return Promise.resolve(settles.shift() ?? { was: 'left' });
      },
    },
  };
  const parts = {
    journal,
    catalogue: {
      get: (id: string) => {
        const set = sets.get(id);
        return set && { ...set, state: 'complete' };
      },
      put: (set: SnapshotSet) => void sets.set(set.id, set),
      list: () => [...sets.values()],
    },
    byFsid: () => Promise.resolve(cluster),
    byName: () => Promise.resolve(cluster),
    findSet: (id: string) =>
      Promise.reject(new OperatingError({ code: 'not-found', op: 'find', subject: id })),
    startWorker: () => worker,
    folder: '/f',
    host: 'h1',
    newExportId: () => 'e1',
    now: () => clock.nowMs,
    log,
    onDefect: (error: unknown) => assert.fail(String(error)),
  } as unknown as TransferParts;
  const transfers = createTransfers(parts);
  const written = async (count = 1) => {
    while (runs.length < count) await new Promise((resolve) => setImmediate(resolve));
    return runs[count - 1] as PromiseWithResolvers<unknown>;
  };
  return { transfers, journal, rows, sets, calls, settles, clock, written, parts };
}

type World = ReturnType<typeof world>;
const openJobs = ({ journal }: World) => journal.open().map(({ kind, step }) => [kind, step]);

/** What was asked for last. */
const lastOf = ({ calls }: World): unknown => (calls.at(-1) ?? assert.fail('nothing')).params;

/** An import whose client goes away. */
async function interrupted(at: World, count = 1): Promise<void> {
  await at.transfers.import({ to: 'vms' });
  (await at.written(count)).reject(failure('cancelled', 'the command is gone'));
  await at.transfers.idle();
}

test('an import that is done has its set in the catalogue', async () => {
  const at = world();
  const { job } = await at.transfers.import({ to: 'vms/ns' });
  (await at.written()).resolve(setOf('s1'));
  await at.transfers.idle();
  assert.equal(at.journal.get(job)?.state, 'done');
  assert.ok(at.sets.has('s1'));
  assert.deepEqual(openJobs(at), []);
});

test('a set of that id that is known here gets another', async () => {
  const at = world([setOf('s1')]);
  await at.transfers.import({ to: 'vms' });
  await at.written();
  const { setId } = lastOf(at) as { setId: string };
  assert.match(setId, /^\d{8}t\d{6}z-[0-9a-f]{8}$/);
});

test('one that was interrupted waits; the next of the same goes on with it, and the waiting ends', async () => {
  const at = world();
  await interrupted(at);
  assert.deepEqual(openJobs(at), [['import', 'left']]);
  await at.transfers.recover();
  assert.deepEqual(at.calls.at(-1)?.params, {
    id: 'e1',
    pool: 'vms',
    namespace: '',
    isGivenUp: false,
  });
  await at.transfers.import({ to: 'vms' });
  (await at.written(2)).resolve(setOf('s1'));
  await at.transfers.idle();
  assert.deepEqual(openJobs(at), []);
});

test('what nobody goes on with in a day is given up, and what could not be told stays', async () => {
  const at = world();
  await interrupted(at);
  at.clock.nowMs += LEFT_MS_MAX + 1;
  await at.transfers.recover();
  assert.deepEqual(openJobs(at), [['import', 'left']]);
  at.settles.push({ was: 'undone' });
  await at.transfers.recover();
  assert.deepEqual(at.calls.at(-1)?.params, {
    id: 'e1',
    pool: 'vms',
    namespace: '',
    isGivenUp: true,
  });
  assert.deepEqual(openJobs(at), []);
});

test('one that was whole is finished by the next life', async () => {
  const at = world();
  await at.transfers.import({ to: 'vms' });
  await at.written();
  at.journal.stop(); // siphond's end leaves the job itself open
  await at.transfers.idle();
  assert.deepEqual(openJobs(at), [['import', 'write']]);
  const { log } = keptLog();
  const journal = createJournal({ rows: at.rows, log, now: () => at.clock.nowMs });
  at.settles.push({ was: 'finished', set: setOf('s1') });
  await createTransfers({ ...at.parts, journal }).recover();
  assert.ok(at.sets.has('s1'));
  assert.deepEqual(openJobs({ ...at, journal }), []);
});

test('an operator who cancels gives it up', async () => {
  const at = world();
  const { job } = await at.transfers.import({ to: 'vms' });
  await at.written();
  at.journal.cancel(job);
  await at.transfers.idle();
  assert.equal(at.journal.get(job)?.state, 'cancelled');
  at.settles.push({ was: 'undone' });
  await at.transfers.recover();
  assert.equal((lastOf(at) as { isGivenUp: boolean }).isGivenUp, true);
  assert.deepEqual(openJobs(at), []);
});

test('what is wrong with the bytes leaves nothing to wait for', async () => {
  const at = world();
  const { job } = await at.transfers.import({ to: 'vms' });
  (await at.written()).reject(failure('corrupt', 'a digest is another'));
  await at.transfers.idle();
  assert.equal(at.journal.get(job)?.error?.code, 'corrupt');
  assert.deepEqual(openJobs(at), []);
});

test('the same import twice at once is busy', async () => {
  const at = world();
  await at.transfers.import({ to: 'vms' });
  await at.written();
  const { job } = await at.transfers.import({ to: 'vms' });
  while (at.journal.get(job)?.state === 'open')
    await new Promise((resolve) => setImmediate(resolve));
  assert.equal(at.journal.get(job)?.error?.code, 'busy');
});

test('an export is of the disks that were asked for, and since the same ones', async () => {
  const at = world([setOf('s1'), setOf('s2')]);
  await assert.rejects(
    at.transfers.export({ set: 's1', devices: ['vdz'] }),
    /no disk vdz, but vda, vdb/,
  );
  await assert.rejects(at.transfers.export({ set: 's9' }), { code: 'not-found' });
  await at.transfers.export({ set: 's2', since: 's1', devices: ['vdb'] });
  (await at.written()).resolve({});
  await at.transfers.idle();
  const spec = lastOf(at) as ExportSpec & { since: SnapshotSet };
  const targets = [spec.set, spec.since].map(({ disks }) => disks.map(({ target }) => target));
  assert.deepEqual(targets, [['vdb'], ['vdb']]);
  assert.deepEqual(spec.manifests, [{ target: 'vdb', envelope: 'signed' }]);
});

test('a job of which nothing was written yet just ends', () => {
  assert.equal(decideLeft({ data: { fsid: 'f' }, updatedAtMs: 0 }, 0).kind, 'end');
});

test('one that siphond’s end cut off is finished before the next looks at the place, which then says what is there', async () => {
  const taken = {
    code: 'refused',
    op: 'import',
    subject: 'vms/web-1',
    why: 'it is there',
  } as const;
  const at = world([], new OperatingError(taken));
  const written = { fsid: 'f', pool: 'vms', namespace: '', exportId: 'e1', setId: 's1' };
  const data = { ...written, isGivenUp: false };
  at.rows.put({
    id: 'j1',
    kind: 'import',
    subject: 'vms',
    state: 'open',
    step: 'write',
    data,
    createdAtMs: 1,
    updatedAtMs: at.clock.nowMs,
  });
  const disks = [{ target: 'vda', pool: 'vms', namespace: '', image: 'web-1' }];
  const imported = { fsid: 'g', setId: 's0', disks: [] };
  const set = { ...setOf('s1'), disks, imported } as unknown as SnapshotSet;
  at.settles.push({ was: 'finished', set });
  const { job } = await at.transfers.import({ to: 'vms' });
  await at.transfers.idle();
  const methods = at.calls.map(({ method }) => method).filter((name) => name !== 'listen');
  assert.deepEqual(methods, ['settleImport', 'openImport']);
  const { error } = at.journal.get(job) ?? assert.fail('no job');
  assert.deepEqual(
    [error?.code, /set s1, the copy of set s0/.test(error?.why ?? '')],
    ['refused', true],
  );
  assert.equal(at.journal.get('j1')?.state, 'done');
});
