// Sets to prove, made without their guests ever having run; and what must not be left of a proof, by tools that are not siphon's.

import assert from 'node:assert/strict';
import type { JobsAnswer } from '../../../src/wire/api.ts';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { defineDomain } from './domains.ts';
import type { Guest } from './guest.ts';
import { must, run, sh, until } from './host.ts';
import type { Cleanup } from './images.ts';
import { openJobs, trashIn } from './restored.ts';
import { siphon, siphonJson } from './siphon.ts';

/** A disk with an ext4 that holds a file; `spoil`: what debugfs does to it then. */
export async function ext4Image(cleanup: Cleanup, image: string, spoil?: string): Promise<string> {
  const file = `/tmp/${image.replace('/', '-')}`;
  await sh(`mkdir -p ${file}.d; echo kept >${file}.d/mark; truncate -s 16M ${file}
    mkfs.ext4 -q -F -d ${file}.d ${file}; rm -r ${file}.d`);
  if (spoil !== undefined) await must('debugfs', '-w', '-R', spoil, file);
  return await importImage(cleanup, file, image);
}

export async function importImage(cleanup: Cleanup, file: string, image: string): Promise<string> {
  await must('rbd', 'import', '--no-progress', file, image);
  await must('rm', file);
  cleanup.after(async () => {
    await run('rbd', ['snap', 'purge', '--no-progress', image]);
    await run('rbd', ['rm', '--no-progress', image]);
  });
  return image;
}

/** A domain that is off, on these images, and its set. */
export async function setOf(
  cleanup: Cleanup,
  guest: Omit<Guest, 'disks'>,
  images: readonly string[],
): Promise<SnapshotSet> {
  const disks = images.map((image) => ({ kind: 'rbd' as const, image }));
  await defineDomain(cleanup, { ...guest, disks });
  const [set] = await siphonJson<SnapshotSet[]>('snapshot', 'create', guest.name);
  assert.ok(set);
  cleanup.after(() => siphon('snapshot', 'delete', set.id));
  return set;
}

/** Names of the domains of proofs that run. */
export async function provingDomains(): Promise<string[]> {
  const names = await must('virsh', 'list', '--all', '--name');
  return names.split('\n').filter((name) => name.startsWith('siphon.'));
}

/** Waits until siphon works on nothing; then there is nothing but the set's snapshots. */
export async function nothingLeft({ id, disks }: SnapshotSet): Promise<void> {
  await until('all jobs end', async () => (await openJobs()) === 0, 400);
  assert.deepEqual(await provingDomains(), []);
  const images = JSON.parse(await must('rbd', 'ls', 'vms', '--format', 'json')) as string[];
  assert.deepEqual(
    images.filter((name) => name.startsWith('siphon.')),
    [],
  );
  const trash = (await trashIn('vms')).filter(({ name }) => name.startsWith('siphon.'));
  assert.deepEqual(trash, []);
  for (const { image } of disks) {
    const names = await sh(`rbd snap ls --all vms/${image} --format json | jq -r '.[].name'`);
    assert.equal(names, `siphon.${id}`);
  }
  const kept = await sh('ls -A /var/lib/siphon/nvram 2>/dev/null || :');
  assert.equal(kept, '');
  const records = await sh('rados -p vms listomapkeys siphon.restores 2>/dev/null | grep ^v- || :');
  assert.equal(records, '');
}

/** Whether a set of a proof's own domain was ever asked for. */
export async function setsOfProofs(): Promise<readonly string[]> {
  const jobs = await siphonJson<JobsAnswer['jobs']>('jobs', '--limit', '1000');
  return jobs.flatMap(({ kind, subject }) => {
    return kind === 'snapshot' && subject.startsWith('siphon.v-') ? [subject] : [];
  });
}
