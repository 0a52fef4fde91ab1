// Stops that do not go well: the guest crashed, Ceph was away, a key is missing. No set is lost that can still be taken.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import type { SnapshotsAnswer } from '../../../src/wire/api.ts';
import { defineDomain, installHook, isOff, markedSnapshots } from '../support/domains.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import { answering, siphonJson } from '../support/siphon.ts';

const cleanup = fileCleanup();
const POLICY = '/etc/siphon/policies.d/stop-faults.toml';

before(async () => {
  await answering();
  await installHook();
  await writeFile(
    POLICY,
    '[[policy]]\nname = "faults"\ndomains = ["fault-*"]\non = ["shutdown", "destroyed", "crashed"]\nkeep_last = 2\n',
  );
  cleanup.after(() => run('rm', ['-f', POLICY]));
  await must('systemctl', 'restart', 'siphond');
  await answering();
});

/** A running domain with one RBD disk, whose image is made with these options. */
async function running(name: string, ...features: readonly string[]): Promise<string> {
  const image = `vms/${name}`;
  await must('rbd', 'create', '--size', '48M', ...features, image);
  cleanup.after(async () => {
    await run('rbd', ['snap', 'purge', '--no-progress', image]);
    await run('rbd', ['rm', '--no-progress', image]);
  });
  await defineDomain(cleanup, { name, disks: [{ kind: 'rbd', image }] });
  await must('virsh', '-q', 'start', name);
  return image;
}

const setOf = (name: string, seconds = 60) =>
  until(
    `${name} has a set`,
    async () => {
      const sets = await siphonJson<SnapshotsAnswer['sets']>('snapshot', 'list', name);
      return sets.find((set) => set.state === 'complete');
    },
    seconds,
  );

/** The subjects of the jobs that wait. */
async function waiting(): Promise<readonly string[]> {
  const jobs = await siphonJson<{ step: string; state: string; subject: string }[]>('jobs');
  return jobs
    .filter((job) => job.state === 'open' && job.step === 'waiting')
    .map((job) => job.subject);
}

test('a crash that leaves no lock owner is taken, and claims nothing of the guest', async () => {
  // Without exclusive-lock nobody owns a lock, whoever writes.
  const image = await running('fault-unlocked', '--image-feature', 'layering');
  await sh('kill -9 $(cat /run/libvirt/qemu/fault-unlocked.pid)');
  await isOff('fault-unlocked');
  // The dead guest's watch may have to end first.
  const set = await setOf('fault-unlocked', 120);
  assert.deepEqual([set.reason, set.quiesced], ['crashed', 'none']);
  assert.deepEqual(await markedSnapshots(image), [`siphon.${set.id}`]);
});

test('a stop while Ceph is away has its set when Ceph is back, unless the domain started', async () => {
  const kept = await running('fault-away');
  const used = await running('fault-used');
  await must('systemctl', 'stop', 'ceph-mon-a');
  try {
    for (const name of ['fault-away', 'fault-used']) await must('virsh', '-q', 'destroy', name);
    await until('both wait', async () => (await waiting()).length === 2);
  } finally {
    await must('systemctl', 'start', 'ceph-mon-a');
  }
  await must('virsh', '-q', 'start', 'fault-used');
  const set = await setOf('fault-away', 120);
  assert.deepEqual([set.reason, set.policy], ['destroyed', 'faults']);
  assert.deepEqual(await markedSnapshots(kept), [`siphon.${set.id}`]);
  assert.deepEqual(await markedSnapshots(used), []);
  const said = await sh('journalctl -u siphond -o cat --since -3min | grep "a set is discarded"');
  assert.match(said, /the domain started before it could be taken/);
  assert.deepEqual(await waiting(), []);
});

test('a set needs no key but that of snapshots, also for the cluster’s fsid', async () => {
  const image = await running('fault-no-fill-key');
  const keyring = '/etc/ceph/ceph.client.siphon-fill.keyring';
  await must('mv', keyring, `${keyring}.away`);
  try {
    await must('systemctl', 'restart', 'siphond');
    await answering();
    await must('virsh', '-q', 'destroy', 'fault-no-fill-key');
    const set = await setOf('fault-no-fill-key');
    assert.deepEqual(await markedSnapshots(image), [`siphon.${set.id}`]);
  } finally {
    await must('mv', `${keyring}.away`, keyring);
  }
});
