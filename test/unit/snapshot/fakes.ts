// What Ceph's and libvirt's workers answer in the world in memory.

import assert from 'node:assert/strict';
import type { ArmMethods, HoldMethods } from '../../../src/wire/hold-protocol.ts';
import type { CephMethods, DiskAt, SnapshotAt } from '../../../src/wire/worker-protocol.ts';
import { FSID, failure, type Image, type World } from './world.ts';

type FakeOf<M, K extends keyof M> = {
  [Each in K]: M[Each] extends { params: infer P; result: infer R }
    ? (params: P) => R | Promise<R>
    : never;
};

/** The monitors commit as soon as all is asked for. */
export function armMethods(world: World): FakeOf<ArmMethods, keyof ArmMethods> {
  const prepared = new Map<string, readonly (DiskAt & { readonly snap: string })[]>();
  let commit = Promise.withResolvers<{ tookMs: number }>();
  return {
    prepareSnapshots({ disks }) {
      for (const disk of disks) world.image(disk);
      const name = `p${prepared.size}`;
      prepared.set(name, disks);
      return { prepared: name };
    },
    board: () => ({ board: 'b' }),
    arm() {
      commit = Promise.withResolvers();
      return { arm: 'a', intervalMs: 1000, rounds: 1, leftMs: 60_000 };
    },
    armEnd: () => commit.promise,
    createPrepared(params) {
      assert.ok(world.held.size > 0, 'nobody is held');
      for (const { snap, ...at } of prepared.get(params.prepared) ?? []) {
        world.image(at).snaps.set(world.nextSnapId(), snap);
      }
      commit.resolve({ tookMs: 100 });
      return (prepared.get(params.prepared) ?? []).map(() => ({ kind: 'made', tookMs: 40 }));
    },
    describePrepared(params) {
      return (prepared.get(params.prepared) ?? []).map(({ snap, ...at }) => {
        const { imageId, snaps } = world.image(at);
        const snapId = [...snaps].find(([, name]) => name === snap)?.[0] ?? 0;
        return { poolId: 3, namespace: '', imageId, snapId, snap, sizeBytes: 4096 };
      });
    },
    dropPrepared: () => null,
  };
}

export function holdMethods(world: World): FakeOf<HoldMethods, keyof HoldMethods> {
  return {
    holdable: () => world.holdable,
    guard({ domain }) {
      world.guarded.add(domain);
      return null;
    },
    hold({ domain, quiesce, suspends }) {
      assert.ok(world.guarded.has(domain), 'no guard');
      const { frozen } = world;
      if (quiesce === 'require' && typeof frozen === 'string') throw failure('refused', frozen);
      world.held.add(domain);
      const got = typeof frozen === 'string' ? { whyNotFrozen: frozen } : { frozen };
      return { ...(quiesce !== 'none' && got), isSuspended: suspends, tookMs: 20 };
    },
    release({ domain }) {
      world.held.delete(domain);
      world.guarded.delete(domain);
      return { holdMs: 60, suspendedMs: 60, frozenMs: 0, wasHeldThroughout: true };
    },
    listHeld: () => [...world.guarded].map((domain) => ({ domain })),
  };
}

type Asked =
  | 'status'
  | 'dropLock'
  | 'imageUse'
  | 'clusterHealth'
  | 'createSnapshot'
  | 'removeSnapshot'
  | 'unprotectSnapshot'
  | 'measureSnapshot'
  | 'listMarked'
  | 'keepFile'
  | 'putSet'
  | 'removeSet';
type Fake = { [K in Asked]: (params: CephMethods[K]['params']) => CephMethods[K]['result'] };

export function cephMethods(world: World): Fake {
  const at = (image: Image, snapId: number, snap: string): SnapshotAt => {
    return { poolId: 3, namespace: '', imageId: image.imageId, snapId, snap };
  };
  return {
    imageUse(params) {
      const { imageId, lockOwners, watchers, snaps } = world.image(params);
      return {
        imageId,
        poolId: 3,
        sizeBytes: 4096,
        lockOwners: [...lockOwners],
        watchers: [...watchers],
        snapshots: snaps.size,
      };
    },
    clusterHealth: () => world.health,
    status: () => ({ fsid: FSID, client: world.client }),
    dropLock({ client, ...params }) {
      const image = world.image(params);
      if (client === world.client || !image.lockOwners.includes(client)) return { was: 'absent' };
      image.lockOwners = image.lockOwners.filter((each) => each !== client);
      return { was: 'dropped' };
    },
    createSnapshot(params) {
      const image = world.image(params);
      const snapId = world.nextSnapId();
      image.snaps.set(snapId, params.snap);
      return { ...at(image, snapId, params.snap), sizeBytes: 4096 };
    },
    unprotectSnapshot: () => ({ was: 'absent' }),
    removeSnapshot({ imageId, snapId, snap }) {
      const image = [...world.images.values()].find((each) => each.imageId === imageId);
      if (image?.snaps.get(snapId) !== snap) return { was: 'absent' };
      image.snaps.delete(snapId);
      return { was: 'removed' };
    },
    measureSnapshot: () => world.measured,
    listMarked(params) {
      const image = world.image(params);
      return [...image.snaps].map(([snapId, snap]) => at(image, snapId, snap));
    },
    putSet(set) {
      world.omap.set(set.id, structuredClone(set));
      return null;
    },
    keepFile({ set: { id }, what, base64 }) {
      const object = `siphon.sets.${id}.${what}`;
      world.objects.set(object, Buffer.from(base64, 'base64').toString());
      return { object };
    },
    removeSet(set) {
      for (const { what } of set.keptFiles ?? [])
        world.objects.delete(`siphon.sets.${set.id}.${what}`);
      world.omap.delete(set.id);
      return null;
    },
  };
}
