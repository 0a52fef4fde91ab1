// Needs of domains by the names that overlays give their bases, and what siphond asks for by itself.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Cache, DiskChain, Fill, WarmAsk } from '../../../src/cache/index.ts';
import type { Domain } from '../../../src/domain/domain.ts';
import { createAskAgain } from '../../../src/sidecar/ask-again.ts';
import { createBasesPort } from '../../../src/sidecar/bases-port.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { keptLog } from './support/quiet.ts';

const FSID = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee';
const ids = { fsid: FSID, poolId: 3, namespace: '', imageId: 'abc', snapId: 7 };
const KEY = `${FSID}/3/abc@7.raw`;
const domain: Domain = {
  uuid: '0b3f3c3e-6a39-4f5c-9d0e-6f3c8f1d2a11',
  name: 'g',
  wish: { kind: 'none' },
  disks: [],
  stateFiles: [],
};
const chain: DiskChain = { kind: 'known', target: 'vda', bases: [{ ids, format: 'raw' }] };
const failure = (code: 'unavailable' | 'not-found') =>
  new OperatingError({ code, op: 'warm', subject: 'x' });

function portOver(cache: Partial<Cache>) {
  const told: string[] = [];
  const port = createBasesPort({
    cache: cache as Cache,
    mountPath: '/bases',
    nameOf: (id) =>
      id.endsWith('abc@7') ? { pool: 'images', namespace: '', image: 'deb', snap: 's' } : undefined,
    onHook: (uuid) => told.push(uuid),
    onHeld: (id) => told.push(`held ${id}`),
  });
  return { port, told };
}

describe('needs', () => {
  it('name a base by its source where that is known, else by its path', async () => {
    const other = { ...ids, imageId: 'def' };
    const bases = [...chain.bases, { ids: other, format: 'qcow2' } as const];
    const { port } = portOver({ basesOf: async () => [{ ...chain, bases }] });
    const [disk] = await port.needsOf(domain, AbortSignal.abort());
    assert.deepEqual(disk, {
      target: 'vda',
      bases: [
        { id: KEY, name: 'rbd:images/deb@s' },
        { id: `${FSID}/3/def@7.qcow2`, name: `/bases/${FSID}/3/def@7.qcow2` },
      ],
    });
  });

  it('are present only under the suffix that the overlay names', () => {
    for (const [format, want] of [
      ['raw', 'present'],
      ['qcow2', 'absent'],
    ] as const) {
      const { port } = portOver({ presence: () => ({ kind: 'ready', format }) });
      assert.equal(port.standingOf(KEY).kind, want);
    }
  });

  it('lease what the walk found, and keep all that was leased where nothing was walked', async () => {
    const leased: (readonly DiskChain[])[] = [];
    const leases = { running: (_: unknown, chains: readonly DiskChain[]) => leased.push(chains) };
    const { port, told } = portOver({
      basesOf: async () => [chain],
      leases: leases as unknown as Cache['leases'],
      presence: () => ({ kind: 'ready', format: 'raw' }),
    });
    port.leaseRunning(domain, []);
    await port.needsOf(domain, AbortSignal.abort());
    port.leaseRunning(domain, [KEY]);
    assert.deepEqual(
      leased.map((chains) => chains.map((each) => each.kind)),
      [['unknown'], ['known']],
    );
    const held = `held ${KEY.replace('.raw', '')}`;
    assert.deepEqual(told, [domain.uuid, domain.uuid, held]);
  });
});

describe('a fill for the hook', () => {
  it('asks by ids and suffix, ahead of operators, and tells when the source is known', async () => {
    const asked: WarmAsk[] = [];
    const { promise: done, resolve } = Promise.withResolvers<never>();
    const { port } = portOver({
      async warm(ask, onResolved) {
        asked.push(ask);
        await Promise.resolve();
        onResolved?.();
        return {
          baseId: 'x',
          jobId: 'j',
          progress: () => ({ doneBytes: 1, totalBytes: 2 }),
          done,
        } satisfies Fill;
      },
    });
    const fill = port.fill(KEY);
    assert.deepEqual([fill.isResolved(), fill.progress()], [false, undefined]);
    await nextTurn();
    assert.deepEqual([fill.isResolved(), fill.progress()], [true, { doneBytes: 1, totalBytes: 2 }]);
    assert.deepEqual(asked, [{ source: ids, format: 'raw', priority: 'hook' }]);
    resolve(undefined as never);
    assert.equal(await fill.ended, undefined);
  });

  it('that fails never rejects', async () => {
    const { port } = portOver({ warm: () => Promise.reject(failure('not-found')) });
    assert.equal((await port.fill(KEY).ended)?.code, 'not-found');
  });
});

describe('asking again', () => {
  it('tries what may succeed later until it does, and gives up what never will', async () => {
    const asks: string[] = [];
    let isDown = true;
    const cache = {
      missing: () => [{ ids, format: 'raw' }],
      warm({ source }: WarmAsk) {
        const image = 'imageId' in source ? source.imageId : source.image;
        asks.push(image);
        if (image === 'gone') return Promise.reject(failure('not-found'));
        if (isDown) return Promise.reject(failure('unavailable'));
        return Promise.resolve({ done: Promise.resolve() });
      },
    } as unknown as Cache;
    const cutOff: WarmAsk[] = [{ source: { ...ids, imageId: 'gone' }, priority: 'operator' }];
    const { log, lines } = keptLog();
    let isPaused = true;
    const work = createAskAgain(cache, cutOff, () => isPaused, log);
    await work();
    assert.deepEqual(asks, []);
    isPaused = false;
    await assert.rejects(work(), { code: 'unavailable' });
    assert.deepEqual(asks, ['gone', 'abc']);
    assert.ok(lines.some((line) => line.includes('given up')));
    isDown = false;
    await work();
    await work();
    assert.deepEqual(asks, ['gone', 'abc', 'abc']);
  });
});
