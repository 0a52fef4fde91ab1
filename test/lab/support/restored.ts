// What a pool has, by `rbd` alone, against what siphon claims of restores.

import assert from 'node:assert/strict';
import type { JobsAnswer, SnapshotsAnswer } from '../../../src/wire/api.ts';
import type { RestoreRecord } from '../../../src/wire/restore-protocol.ts';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { defineDomain } from './domains.ts';
import { must, run, sh, until } from './host.ts';
import type { Cleanup } from './images.ts';
import { answering, siphon, siphonJson } from './siphon.ts';

const json = async <T>(...args: readonly string[]): Promise<T> =>
  JSON.parse(await must('rbd', ...args, '--format', 'json')) as T;

export const idOf = async (image: string): Promise<string> =>
  (await json<{ id: string }>('info', image)).id;
export const digestOf = (spec: string): Promise<string> =>
  sh(`rbd export --no-progress '${spec}' - | sha256sum`);
export const trashIn = (pool: string): Promise<{ readonly id: string; readonly name: string }[]> =>
  json('trash', 'ls', '--all', pool);

/** Writes a pattern of bytes. */
export const writeTo = (image: string, pattern: number, at: string): Promise<string> =>
  must('qemu-io', '-f', 'raw', '-c', `write -P ${pattern} ${at}`, `rbd:${image}`);

/** A small disk with something on it; gone at the end with all that was made of it. */
export async function smallDisk(cleanup: Cleanup, image: string): Promise<string> {
  await must('rbd', 'create', '--size', '8M', image);
  await writeTo(image, 1, '0 1M');
  cleanup.after(() => removeAll(image));
  return image;
}

/** An image and those that it was in turn, in the trash: clones first. */
export async function removeAll(image: string): Promise<void> {
  const [pool = '', name = ''] = image.split('/');
  await run('rbd', ['snap', 'purge', '--no-progress', image]);
  await run('rbd', ['rm', '--no-progress', image]);
  for (let rounds = 0; rounds < 4; rounds += 1) {
    const mine = (await trashIn(pool)).filter((each) => each.name === name);
    for (const { id } of mine) {
      await run('rbd', ['snap', 'purge', '--no-progress', '--pool', pool, '--image-id', id]);
      await run('rbd', ['trash', 'rm', '--no-progress', '--force', `${pool}/${id}`]);
    }
  }
}

interface Seen {
  /** Names to ids. */
  readonly images: Readonly<Record<string, string>>;
  readonly trash: readonly string[];
  /** `IMAGEID@SNAP`, of all namespaces. */
  readonly snapshots: readonly string[];
  readonly restores: readonly string[];
}

/** Of these images' names, and of whatever siphon has marked. */
export async function seen(pool: string, names: readonly string[]): Promise<Seen> {
  const all = await json<string[]>('ls', pool);
  const listed = all.filter((each) => names.includes(each) || each.startsWith('siphon.'));
  const ids = await Promise.all(listed.map(async (name) => [name, await idOf(`${pool}/${name}`)]));
  const trash = (await trashIn(pool)).filter(({ name }) => {
    return names.includes(name) || name.startsWith('siphon.');
  });
  const images = Object.fromEntries(ids) as Record<string, string>;
  const inTrash = trash.map(({ id }) => id).toSorted();
  const snapshots = await Promise.all(
    [...Object.values(images), ...inTrash].map(async (id) => {
      const found = await json<{ name: string }[]>(
        'snap',
        'ls',
        '--all',
        '-p',
        pool,
        '--image-id',
        id,
      );
      return found.map(({ name }) => `${id}@${name}`);
    }),
  );
  const records = await siphonJson<RestoreRecord[]>('restore', '--list');
  const restores = records.filter(({ disks }) => disks.some(({ to }) => names.includes(to.image)));
  return {
    images,
    trash: inTrash,
    snapshots: snapshots.flat().toSorted(),
    restores: restores.map(({ id }) => id),
  };
}

/** Exactly what siphon's sets and restores say is there: each name's image, each old one in the trash, each set's snapshots, and no more. */
export async function assertClaimed(
  pool: string,
  names: readonly string[],
  originals: Readonly<Record<string, string>>,
): Promise<Seen> {
  const found = await seen(pool, names);
  const records = await siphonJson<RestoreRecord[]>('restore', '--list');
  const disks = records
    .filter(({ id }) => found.restores.includes(id))
    .toSorted((a, b) => a.createdAtMs - b.createdAtMs)
    .flatMap((record) => record.disks);
  const images = { ...originals };
  for (const { to, newId = '' } of disks) images[to.image] = newId;
  assert.deepEqual(found.images, images);
  assert.deepEqual(found.trash, disks.map(({ oldId = '' }) => oldId).toSorted());
  const sets = await siphonJson<SnapshotsAnswer['sets']>('snapshot', 'list');
  const claimed = sets.flatMap(({ id, disks: of }) =>
    of.filter(({ image }) => names.includes(image)).map(({ imageId }) => `${imageId}@siphon.${id}`),
  );
  assert.deepEqual(found.snapshots, claimed.toSorted());
  return found;
}

export const openJobs = async (): Promise<number> => {
  const jobs = await siphonJson<JobsAnswer['jobs']>('jobs', '--limit', '100');
  return jobs.filter(({ state }) => state === 'open').length;
};

/** A domain that is off, with two small disks, which were written to since its set. */
export interface Restorable {
  readonly set: SnapshotSet;
  /** Waits until siphon has done what was left to do: all disks are restored, or none, and nothing is there that siphon does not claim. */
  whole(): Promise<'restored' | 'as before'>;
}

export async function restorable(cleanup: Cleanup, name: string): Promise<Restorable> {
  const images = [`vms/${name}-0`, `vms/${name}-1`];
  const names = images.map((image) => image.slice('vms/'.length));
  const digests = () => Promise.all(images.map(digestOf));
  for (const image of images) await smallDisk(cleanup, image);
  const ids = await Promise.all(images.map(idOf));
  const originals = Object.fromEntries(names.map((each, index) => [each, ids[index] ?? '']));
  const disks = images.map((image) => ({ kind: 'rbd' as const, image }));
  await defineDomain(cleanup, { name, disks });
  const then = await digests();
  const [set] = (await siphonJson<SnapshotSet[]>('snapshot', 'create', name)) as [SnapshotSet];
  cleanup.after(() => siphon('snapshot', 'delete', set.id));
  for (const image of images) await writeTo(image, 9, '512k 2M');
  const now = await digests();
  return {
    set,
    async whole() {
      await answering();
      await until('all jobs end', async () => (await openJobs()) === 0, 120);
      const { restores } = await assertClaimed('vms', names, originals);
      assert.ok(restores.length <= 1);
      const isRestored = restores.length === 1;
      assert.deepEqual(await digests(), isRestored ? then : now);
      return isRestored ? 'restored' : 'as before';
    },
  };
}
