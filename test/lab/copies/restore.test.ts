// Restores by the installed command, of a real guest: in place and undone, as a new domain that boots, as a disk to attach; refused while
// the domain runs. Compared by `rbd`, `virsh` and `debugfs`.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { RestoreAnswer } from '../../../src/wire/restore-api.ts';
import type { RestoreRecord } from '../../../src/wire/restore-protocol.ts';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { defineDomain, domainState, guestAnswers, installHook } from '../support/domains.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import {
  assertClaimed,
  digestOf,
  idOf,
  openJobs,
  removeAll,
  smallDisk,
  trashIn,
  writeTo,
} from '../support/restored.ts';
import { answering, siphon, siphonJson } from '../support/siphon.ts';

const cleanup = fileCleanup();
const NAME = 'restore-1';
const NEW = 'restore-2';
const IMAGES = [`vms/${NAME}-root`, `vms/${NAME}-data`];
const NAMES = IMAGES.map((image) => image.slice('vms/'.length));
let set: SnapshotSet;
let originals: Record<string, string>;
let changed: readonly string[];

const restore = (...args: string[]) => siphonJson<RestoreAnswer>('restore', ...args);
const digests = () => Promise.all(IMAGES.map(digestOf));
/** What the guest wrote into the file system on the image. */
const markOn = (image: string) =>
  sh(
    `f=$(mktemp); rbd export --no-progress '${image}' - >$f; debugfs -R 'cat /mark' $f 2>/dev/null; rm $f`,
  );

before(async () => {
  await answering();
  await installHook();
  await sh(`truncate -s 16M /tmp/${NAME}; mkfs.ext4 -q -F /tmp/${NAME}
    rbd import --no-progress /tmp/${NAME} ${IMAGES[0]}; rm /tmp/${NAME}`);
  cleanup.after(() => removeAll(IMAGES[0] ?? ''));
  await smallDisk(cleanup, IMAGES[1] ?? '');
  await defineDomain(cleanup, {
    name: NAME,
    cmdline: 'tiny.mark=first',
    disks: IMAGES.map((image) => ({ kind: 'rbd' as const, image })),
  });
  const ids = await Promise.all(IMAGES.map(idOf));
  originals = Object.fromEntries(NAMES.map((name, index) => [name, ids[index] ?? '']));
  await must('virsh', '-q', 'start', NAME);
  await guestAnswers(NAME);
  [set] = (await siphonJson<SnapshotSet[]>('snapshot', 'create', NAME)) as [SnapshotSet];
  cleanup.after(() => siphon('snapshot', 'delete', set.id));
});

const states = () => assertClaimed('vms', NAMES, originals);

test('a domain that runs is not restored, and what is wrongly asked is said', async () => {
  for (const how of [[], ['--rollback']]) {
    const { code, stderr } = await siphon('restore', set.id, ...how);
    assert.equal(code, 6, stderr);
    assert.match(stderr, /the domain runs/);
  }
  for (const [wrong, exit] of [
    [['restore'], 2],
    [['restore', set.id, '--rollback', '--as', 'x'], 2],
    [['restore', set.id, '--clone', 'vda'], 2],
    [['restore', set.id, '--clone', 'vdz', '--to', 'vms/x'], 4],
    [['restore', set.id, '--as', NAME], 5],
    [['restore', 'no-such-set'], 4],
    [['restore', '--undo', set.id], 4],
  ] as const) {
    const { code, stderr } = await siphon(...wrong);
    assert.equal(code, exit, `${wrong.join(' ')}: ${stderr}`);
  }
  await states();
});

test('in place: the disks are as the set has them, the guest boots with them, the old ones wait in the trash', async () => {
  await must('virsh', '-q', 'destroy', NAME);
  await writeTo(IMAGES[1] ?? '', 9, '0 2M');
  await writeTo(IMAGES[0] ?? '', 9, '0 64k');
  changed = await digests();
  const other = await sh(`rbd export --no-progress ${IMAGES[1]}@siphon.${set.id} - | sha256sum`);
  const answer = await restore(set.id);
  assert.equal(answer.way, 'in-place');
  assert.deepEqual(
    answer.disks.map(({ image, oldId }) => [image, oldId]),
    IMAGES.map((image, index) => [image, originals[NAMES[index] ?? '']]),
  );
  const { restores } = await states();
  assert.deepEqual(restores, [answer.id]);
  assert.equal((await digests())[1], other);
  assert.equal(await markOn(IMAGES[0] ?? ''), 'first');
  await must('virsh', '-q', 'start', NAME);
  await guestAnswers(NAME);
  const running = await siphon('restore', '--undo', answer.id);
  assert.equal(running.code, 6, running.stderr);
  await must('virsh', '-q', 'destroy', NAME);
});

test('once more from the same set; then each is undone, the later first', async () => {
  const later = await restore(set.id, '--devices', 'vdb');
  await states();
  const [, first] = await siphonJson<RestoreRecord[]>('restore', '--list');
  const early = await siphon('restore', '--undo', first?.id ?? '');
  assert.equal(early.code, 10, early.stderr);
  assert.match((await siphon('restore', '--list')).stdout, new RegExp(later.id));
  await must('siphon', 'restore', '--undo', later.id);
  await must('siphon', 'restore', '--undo', set.id);
  const { restores, trash } = await states();
  assert.deepEqual([restores, trash], [[], []]);
  assert.deepEqual(await digests(), changed);
});

test('somebody who has a disk open is named, and keeps it', async () => {
  const hold = [
    '-c',
    `import rados, rbd, sys
c = rados.Rados(conffile='/etc/ceph/ceph.conf'); c.connect()
i = rbd.Image(c.open_ioctx('vms'), '${NAMES[1]}'); i.write(b'x', 0); i.flush(); print('open', flush=True); sys.stdin.read()`,
  ];
  const { spawn } = await import('node:child_process');
  const holder = spawn('python3', hold, { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    const { code, stderr } = await siphon('restore', set.id);
    assert.equal(code, 6, stderr);
    assert.match(stderr, new RegExp(`${IMAGES[1]}: client\\.\\d+ at 10\\.\\S+ has it open`));
    await states();
  } finally {
    holder.stdin.end();
    await new Promise((resolve) => holder.once('close', resolve));
  }
});

test('a new domain boots beside the old one, from disks of its own; a clone is attached to it', async () => {
  cleanup.after(async () => {
    await run('virsh', ['-q', 'destroy', NEW]);
    await run('virsh', ['-q', 'undefine', NEW]);
    for (const image of [`vms/${NEW}-vda`, `vms/${NEW}-vdb`, 'vms/rescued'])
      await run('rbd', ['rm', '--no-progress', image]);
  });
  const answer = await restore(set.id, '--as', NEW, '--flatten');
  assert.equal(await domainState(NEW), 'shut off');
  assert.equal((await must('virsh', 'domuuid', NEW)).trim(), answer.domain.uuid);
  const disks = await must('virsh', 'domblklist', NEW);
  assert.match(disks, new RegExp(`vda +vms/${NEW}-vda\\n *vdb +vms/${NEW}-vdb`));
  await until('its disks are flattened', async () => (await openJobs()) === 0);
  assert.equal(await sh(`rbd info vms/${NEW}-vda | grep -c parent: || :`), '0');
  const { xml = '' } = await restore(set.id, '--clone', 'vdb', '--to', 'vms/rescued');
  await sh(
    `cat >/tmp/rescued.xml <<'END'\n${xml}END\nvirsh -q attach-device ${NEW} /tmp/rescued.xml --config`,
  );
  await must('virsh', '-q', 'start', NAME);
  await must('virsh', '-q', 'start', NEW);
  await guestAnswers(NEW);
  assert.match(await must('virsh', 'domblklist', NEW), /vdz +vms\/rescued/);
  await must('virsh', '-q', 'destroy', NEW);
  await must('virsh', '-q', 'destroy', NAME);
  await must('rbd', 'rm', '--no-progress', 'vms/rescued');
  await states().catch((error: unknown) => {
    throw new Error('the old domain’s disks were touched', { cause: error });
  });
});

test('NVRAM of a new domain begins as the set’s copy', async () => {
  const vars = `/var/lib/libvirt/qemu/nvram/${NAME}_VARS.fd`;
  const image = await smallDisk(cleanup, 'vms/restore-uefi');
  const name = 'restore-uefi';
  await defineDomain(cleanup, { name, disks: [{ kind: 'rbd', image }], nvram: vars });
  cleanup.after(() => run('rm', ['-f', vars]));
  await sh(`mkdir -p "$(dirname ${vars})"; head -c 65536 /dev/urandom >${vars}
    printf _FVH | dd of=${vars} bs=1 seek=40 conv=notrunc status=none`);
  const [kept] = await siphonJson<SnapshotSet[]>('snapshot', 'create', name);
  cleanup.after(async () => {
    await run('virsh', ['-q', 'undefine', '--nvram', `${name}-2`]);
    await run('rbd', ['rm', '--no-progress', `vms/${name}-2-vda`]);
    await siphon('snapshot', 'delete', kept?.id ?? '');
  });
  await restore(kept?.id ?? '', '--as', `${name}-2`);
  const xml = await must('virsh', 'dumpxml', '--inactive', `${name}-2`);
  const [, template = ''] = /<nvram template='([^']*)'/.exec(xml) ?? assert.fail(xml);
  cleanup.after(() => run('rm', ['-f', template]));
  await must('cmp', template, vars);
  assert.ok(!xml.includes(vars), 'it shares the old one’s file');
});

test('a rollback makes the image itself what it was', async () => {
  await writeTo(IMAGES[1] ?? '', 3, '0 1M');
  const { way } = await restore(set.id, '--rollback', '--devices', 'vdb');
  assert.equal(way, 'rollback');
  assert.equal(
    (await digests())[1],
    await sh(`rbd export --no-progress ${IMAGES[1]}@siphon.${set.id} - | sha256sum`),
  );
  await states();
});

test('the set is deleted under its clones, and the old disks go when those are flattened', async () => {
  await restore(set.id);
  await must('siphon', 'snapshot', 'delete', set.id);
  assert.equal(await markOn(IMAGES[0] ?? ''), 'first');
  const old = (await trashIn('vms')).filter(({ name }) => NAMES.includes(name));
  assert.equal(old.length, 2);
  const purge = () => run('rbd', ['trash', 'purge', '--no-progress', 'vms']);
  await purge();
  assert.equal((await trashIn('vms')).length, 2, 'purged within its week');
  for (const image of IMAGES) await must('rbd', 'flatten', '--no-progress', image);
  for (const { id } of old)
    await must('rbd', 'trash', 'rm', '--no-progress', '--force', `vms/${id}`);
  const { code, stderr } = await siphon('restore', '--undo', set.id);
  assert.equal(code, 4, stderr);
  assert.match(stderr, /not in the trash/);
  assert.equal(await markOn(IMAGES[0] ?? ''), 'first');
});
