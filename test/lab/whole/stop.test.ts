// A domain's stop with the hook and a policy: a native snapshot of each RBD disk, or a skip that says why.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import type { SnapshotsAnswer } from '../../../src/wire/api.ts';
import {
  defineDomain,
  domainState,
  guestAnswers,
  installHook,
  isOff,
  markedSnapshots,
} from '../support/domains.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup, scratchFolder } from '../support/images.ts';
import { answering, siphon, siphondPid, siphonJson } from '../support/siphon.ts';

type Sets = SnapshotsAnswer['sets'];
const cleanup = fileCleanup();
const POLICY = '/etc/siphon/policies.d/stop-test.toml';
let scratch = '';

before(async () => {
  await answering();
  await installHook();
  scratch = await scratchFolder(cleanup);
  await writeFile(
    POLICY,
    '[[policy]]\nname = "stops"\ndomains = ["stop-*"]\non = ["shutdown", "destroyed", "crashed"]\nkeep_last = 2\n',
  );
  cleanup.after(() => run('rm', ['-f', POLICY]));
  await must('systemctl', 'restart', 'siphond');
  await answering();
});

/** A domain with `disks` RBD disks in pool vms, which the lab's libvirt user may use. */
async function domain(name: string, disks = 1, cmdline = ''): Promise<string[]> {
  const images = Array.from({ length: disks }, (_, index) => `vms/${name}-${index}`);
  for (const image of images) {
    await must('rbd', 'create', '--size', '48M', image);
    cleanup.after(async () => {
      await run('rbd', ['snap', 'purge', '--no-progress', image]);
      await run('rbd', ['rm', '--no-progress', image]);
    });
  }
  await defineDomain(cleanup, {
    name,
    cmdline,
    disks: images.map((image) => ({ kind: 'rbd' as const, image })),
  });
  return images;
}

const allJobsEnded = () =>
  until(
    'all jobs ended',
    async () => {
      const jobs = await siphonJson<{ state: string }[]>('jobs', '--limit', '50');
      return jobs.every((job) => job.state !== 'open') || undefined;
    },
    60,
  );

const setsOf = (name: string) => siphonJson<Sets>('snapshot', 'list', name);

const setOf = (name: string, count = 1) =>
  until(
    `${name} has ${count} sets`,
    async () => {
      const sets = (await setsOf(name)).filter((set) => set.state === 'complete');
      return sets.length >= count ? sets : undefined;
    },
    60,
  );

test('a shutdown: every disk, a barrier, and the content is what the guest wrote', async () => {
  const images = await domain('stop-clean', 2, 'tiny.mkfs=1 tiny.mark=hello-from-the-guest');
  await must('virsh', '-q', 'start', 'stop-clean');
  await guestAnswers('stop-clean');
  await must('virsh', '-q', 'shutdown', 'stop-clean');
  await isOff('stop-clean');
  const [set] = await setOf('stop-clean');
  assert.equal(set?.quiesced, 'shutdown');
  assert.equal(set?.instant, 'barrier');
  assert.equal(set?.reason, 'shutdown');
  assert.equal(set?.policy, 'stops');
  assert.equal(set?.disks.length, 2);
  for (const image of images) {
    assert.deepEqual(await markedSnapshots(image), [`siphon.${set?.id}`]);
    const file = `${scratch}/content`;
    await sh(`rm -f ${file}; rbd export --no-progress ${image}@siphon.${set?.id} ${file}`);
    const mark = await sh(`debugfs -R 'cat /mark' ${file} 2>/dev/null`);
    assert.equal(mark.trim(), 'hello-from-the-guest');
  }
  const recorded = await sh('rados -p vms listomapkeys siphon.sets');
  assert.ok(recorded.split('\n').includes(set?.id ?? '-'), 'the set is not in siphon.sets');
  assert.doesNotMatch(await sh(`rbd image-meta list ${images[0]}`), /siphon/);
});

test('keep_last: daily stops do not pile up; manual sets are not pruned', async () => {
  const [image = ''] = await domain('stop-daily');
  const [manual] = await siphonJson<[Sets[number]]>('snapshot', 'create', 'stop-daily');
  assert.equal(manual.event, 'manual');
  for (let day = 0; day < 4; day += 1) {
    await must('virsh', '-q', 'start', 'stop-daily');
    await must('virsh', '-q', 'destroy', 'stop-daily');
    await allJobsEnded();
  }
  const sets = await until(
    'two and the manual one are left',
    async () => {
      const all = await setsOf('stop-daily');
      return all.length === 3 ? all : undefined;
    },
    90,
  );
  assert.equal(sets.filter((set) => set.event === 'release').length, 2);
  assert.ok(sets.some((set) => set.id === manual.id));
  assert.equal((await markedSnapshots(image)).length, 3);
});

test('a crash whose lock owner is still there is skipped, and said', async () => {
  const [image = ''] = await domain('stop-crash', 1, 'tiny.mkfs=1 tiny.writer=1');
  await must('virsh', '-q', 'start', 'stop-crash');
  await guestAnswers('stop-crash');
  await sh('kill -9 $(cat /run/libvirt/qemu/stop-crash.pid)');
  await isOff('stop-crash');
  await until(
    'it is said',
    async () =>
      /lock/.test(
        await sh('journalctl -u siphond -o cat --since -1min | grep stop-crash || true'),
      ) || undefined,
  );
  assert.deepEqual(await markedSnapshots(image), []);
});

test('a save leaves nothing; the stop after it does', async () => {
  const [image = ''] = await domain('stop-saved', 1, 'tiny.mkfs=1');
  await must('virsh', '-q', 'start', 'stop-saved');
  await guestAnswers('stop-saved');
  await must('virsh', '-q', 'managedsave', 'stop-saved');
  assert.equal(await domainState('stop-saved'), 'shut off');
  await must('virsh', '-q', 'start', 'stop-saved');
  await must('virsh', '-q', 'destroy', 'stop-saved');
  const [set] = await setOf('stop-saved');
  assert.equal(set?.reason, 'destroyed');
  assert.equal(set?.quiesced, 'none');
  assert.equal((await markedSnapshots(image)).length, 1);
});

test('a start right after the stop: either the set was first, or it is discarded and said', async () => {
  const [image = ''] = await domain('stop-start');
  for (let round = 0; round < 3; round += 1) {
    await must('virsh', '-q', 'start', 'stop-start');
    await must('virsh', '-q', 'destroy', 'stop-start');
    await must('virsh', '-q', 'start', 'stop-start');
    await must('virsh', '-q', 'destroy', 'stop-start');
  }
  await allJobsEnded();
  const sets = await setsOf('stop-start');
  assert.deepEqual(
    (await markedSnapshots(image)).toSorted(),
    sets.map((set) => `siphon.${set.id}`).toSorted(),
    'snapshots and sets differ',
  );
});

test('kill -9 of siphond at the stop: the set is taken all the same', async () => {
  const [image = ''] = await domain('stop-killed');
  for (const ms of [0, 200, 600]) {
    await must('virsh', '-q', 'start', 'stop-killed');
    const pid = await siphondPid();
    const known = new Set((await setsOf('stop-killed')).map((set) => set.id));
    await Promise.all([
      must('virsh', '-q', 'destroy', 'stop-killed'),
      sh(`sleep ${ms / 1000}; kill -9 ${pid}`),
    ]);
    await answering();
    await until(
      'this stop has its set',
      async () =>
        (await setsOf('stop-killed')).some(
          (set) => set.state === 'complete' && !known.has(set.id),
        ) || undefined,
      60,
    );
    await allJobsEnded();
    assert.deepEqual(
      (await markedSnapshots(image)).toSorted(),
      (await setsOf('stop-killed')).map((set) => `siphon.${set.id}`).toSorted(),
    );
  }
});

test('a start that fails leaves nothing', async () => {
  const [image = ''] = await domain('stop-failed');
  const broken = (await must('virsh', 'dumpxml', 'stop-failed')).replace(
    /<kernel>.*<\/kernel>/,
    '<kernel>/no/such/kernel</kernel>',
  );
  await writeFile(`${scratch}/failed.xml`, broken);
  await must('virsh', '-q', 'define', `${scratch}/failed.xml`);
  assert.notEqual((await run('virsh', ['-q', 'start', 'stop-failed'])).code, 0);
  await allJobsEnded();
  assert.deepEqual(await markedSnapshots(image), []);
  assert.deepEqual(await setsOf('stop-failed'), []);
});

test('a policy with a typo changes nothing and is reported', async () => {
  await writeFile(
    '/etc/siphon/policies.d/typo.toml',
    '[[policy]]\nname = "x"\ndomains = ["*"]\nkeeplast = 1\n',
  );
  try {
    await until(
      'status reports it',
      async () =>
        /typo\.toml.*keeplast|keeplast.*typo\.toml/.test((await siphon('status')).stdout) ||
        undefined,
    );
    assert.ok((await setsOf('stop-daily')).length === 3, 'sets were pruned');
  } finally {
    await must('rm', '/etc/siphon/policies.d/typo.toml');
  }
});

test('delete removes the snapshots, the records, and nothing else', async () => {
  const [image = ''] = await domain('stop-deleted');
  await must('rbd', 'snap', 'create', '--no-progress', `${image}@mine`);
  const [set] = await siphonJson<[Sets[number]]>('snapshot', 'create', 'stop-deleted');
  assert.equal(set.quiesced, 'none');
  assert.equal((await siphon('snapshot', 'delete', set.id)).code, 0);
  assert.deepEqual(await markedSnapshots(image), []);
  assert.match(await sh(`rbd snap ls ${image}`), /mine/);
  assert.deepEqual(await setsOf('stop-deleted'), []);
  assert.ok(!(await sh('rados -p vms listomapkeys siphon.sets')).includes(set.id));
});
