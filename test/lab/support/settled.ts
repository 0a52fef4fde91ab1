// What must be so of a running guest and its sets, whatever went wrong while one was taken: nobody is held, and what is claimed is
// what is there.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { JobsAnswer, SnapshotsAnswer } from '../../../src/wire/api.ts';
import { ERROR_TABLE, type WireError } from '../../../src/wire/errors.ts';
import { FREE, nothingIsLeft, stateOf } from './holding.ts';
import { must, type Ran, sh, until } from './host.ts';
import { areOfOneInstant, numbersAt, type Ordered } from './ordered.ts';
import { siphon, siphonJson } from './siphon.ts';

type Sets = SnapshotsAnswer['sets'];

/** Of those that are written in order: they are the guest's two disks in RBD whose sets are taken. */
const DEVICES = ['--devices', 'vdb,vdc'];

export const createSet = ({ name }: Ordered): Promise<Ran> =>
  siphon('snapshot', 'create', name, ...DEVICES, '--json');

/** It is a set, or an error in words; and no word that the guest or a disk of it is not there. */
export function assertAnswered({ code, stderr }: Ran): void {
  if (code === 0) return;
  const { error } = JSON.parse(stderr) as { readonly error: WireError };
  assert.equal(ERROR_TABLE[error.code].exit, code, stderr);
  assert.ok(error.why !== undefined && error.why !== '', stderr);
  assert.notEqual(error.code, 'not-found', stderr);
}

/** What is noted of the guest. */
export async function noteOf(uuid: string): Promise<'none' | 'guarded' | 'held'> {
  const text = await readFile(`/run/siphon/held/${uuid}.json`, 'utf8').catch(() => undefined);
  if (text === undefined) return 'none';
  return /freezingMs|suspendingMs/.test(text) ? 'held' : 'guarded';
}

/** It runs, thawed, and nobody has begun to hold it. */
export const isLetGo = async (name: string, uuid: string): Promise<boolean> =>
  (await noteOf(uuid)) !== 'held' && isDeepStrictEqual(await stateOf(name), FREE);

/** Whoever made them, and in whatever namespace. */
async function snapshotsOf(images: readonly string[]): Promise<string[]> {
  const all = await Promise.all(
    images.map(async (image) => {
      const names = await sh(`rbd snap ls --all '${image}' --format json | jq -r '.[].name'`);
      return names.split('\n').flatMap((name) => (name === '' ? [] : [`${image}@${name}`]));
    }),
  );
  return all.flat().toSorted();
}

const claimedBy = (sets: Sets): string[] =>
  sets
    .flatMap(({ id, disks }) => disks.map(({ pool, image }) => `${pool}/${image}@siphon.${id}`))
    .toSorted();

/** Looks for what an answer that was lost may have left come later, and by themselves. */
const isLook = ({ subject }: JobsAnswer['jobs'][number]) => subject.startsWith('leftovers of');

async function openJobs(): Promise<JobsAnswer['jobs']> {
  const jobs = await siphonJson<JobsAnswer['jobs']>('jobs', '--limit', '100');
  return jobs.filter(({ state }) => state === 'open');
}

/**
 * Waits until siphon has done what was left to do: its jobs have ended, and its sets are exactly the snapshots that `rbd` shows, and
 * exactly those that Ceph has recorded. What is claimed meanwhile is there.
 */
export async function settles({ name, images }: Ordered, seconds = 90): Promise<Sets> {
  let seen: object = {};
  const settled = async () => {
    const sets = await siphonJson<Sets>('snapshot', 'list', name);
    const complete = claimedBy(sets.filter(({ state }) => state === 'complete'));
    const goes = sets.filter(({ state }) => state !== 'complete').map(({ id }) => id);
    const there = await snapshotsOf(images);
    const lost = complete.filter((each) => !there.includes(each));
    assert.deepEqual(lost, [], 'claimed, and not there');
    const found = await siphonJson<Sets>('snapshot', 'list', name, '--all-hosts');
    const open = (await openJobs()).filter((job) => !isLook(job)).map(({ subject }) => subject);
    seen = { there, complete, goes, recorded: claimedBy(found), open };
    const isSame = [there, claimedBy(found)].every((each) => isDeepStrictEqual(each, complete));
    return isSame && goes.length + open.length === 0 && sets;
  };
  return until('what is claimed is what is there', settled, seconds).catch((error: unknown) => {
    throw new Error(`not settled: ${JSON.stringify(seen)}`, { cause: error });
  });
}

/** What a set claims of its instant is so; then it is deleted. */
export async function assertHonest(guest: Ordered, sets: Sets): Promise<void> {
  for (const { id, instant } of sets) {
    const numbers = await numbersAt(guest.images, `siphon.${id}`);
    const isOne = instant === 'none' || areOfOneInstant(numbers);
    assert.ok(isOne, `${instant}, and not of one instant: ${numbers.join(', ')}`);
    await must('siphon', 'snapshot', 'delete', id);
  }
}

export async function writesOn({ name, images }: Ordered): Promise<void> {
  const [from = 0] = await numbersAt(images);
  const isFurther = async () => ((await numbersAt(images))[0] ?? 0) > from;
  await until(`${name} writes on`, isFurther);
}

/** After siphond, or whoever it was, is back; gives what is claimed. */
export async function recovers(guest: Ordered): Promise<Sets> {
  await nothingIsLeft(20);
  const sets = await settles(guest);
  await writesOn(guest);
  return sets;
}

/** Also what was looked for again. */
export const allJobsEnd = (): Promise<true> =>
  until('all jobs end', async () => (await openJobs()).length === 0 || undefined, 120);
