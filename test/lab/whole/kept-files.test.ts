// NVRAM and TPM state that only root may read: kept with a set, the same byte by byte, told, and gone with it. And what a set's disk has.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { defineDomain } from '../support/domains.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import { answering, siphon, siphonJson } from '../support/siphon.ts';

const cleanup = fileCleanup();
const NAME = 'kept-files';
const UUID = '5b1f0d6e-7c1d-4c55-9c3e-0a4f5d7e9b20';
const IMAGE = `vms/${NAME}`;
const NVRAM = `/var/lib/libvirt/qemu/nvram/${NAME}_VARS.fd`;
const TPM = `/var/lib/libvirt/swtpm/${UUID}/tpm2/tpm2-00.permall`;
const CONFIG = '/etc/siphon/conf.d/96-kept-files.toml';

before(async () => {
  await answering();
  await sh(`head -c 1M /dev/urandom >/tmp/${NAME}; truncate -s 16M /tmp/${NAME}
    rbd import --no-progress /tmp/${NAME} ${IMAGE}; rm /tmp/${NAME}`);
  cleanup.after(() => run('rbd', ['rm', '--no-progress', IMAGE]));
  const disks = [{ kind: 'rbd', image: IMAGE }] as const;
  await defineDomain(cleanup, {
    name: NAME,
    uuid: UUID,
    disks: [...disks],
    nvram: NVRAM,
    hasTpm: true,
  });
  cleanup.after(() => run('rm', ['-rf', NVRAM, TPM, CONFIG]));
  // A store of UEFI variables has its signature at byte 40; no firmware is here to make one.
  await sh(`umask 077; mkdir -p "$(dirname ${NVRAM})" "$(dirname ${TPM})"
    head -c 540672 /dev/urandom >${NVRAM}
    printf _FVH | dd of=${NVRAM} bs=1 seek=40 conv=notrunc status=none
    chown tss "$(dirname ${TPM})"; swtpm_setup --tpm2 --tpmstate "$(dirname ${TPM})" --logfile /dev/null
    test -s ${TPM}; chmod 600 ${TPM}`);
});

const create = async (): Promise<SnapshotSet> => {
  const [set] = await siphonJson<SnapshotSet[]>('snapshot', 'create', NAME);
  assert.ok(set);
  cleanup.after(() => siphon('snapshot', 'delete', set.id));
  return set;
};
const objectsOf = async (id: string) =>
  (await must('rados', '-p', 'vms', 'ls'))
    .split('\n')
    .filter((name) => name.includes(id))
    .toSorted();

/** By another tool than siphon. */
async function assertSame(object: string, file: string): Promise<void> {
  await must('rados', '-p', 'vms', 'get', object, '/tmp/kept-copy');
  await must('cmp', '/tmp/kept-copy', file);
}

test('NVRAM is kept, a TPM only where the operator wants it; both are told, and go with the set', async () => {
  const set = await create();
  const nvram = `siphon.sets.${set.id}.nvram`;
  assert.deepEqual(await objectsOf(set.id), [nvram]);
  await assertSame(nvram, NVRAM);
  const [first, second] = set.keptFiles ?? [];
  const sha256 = (await must('sha256sum', NVRAM)).split(' ')[0];
  assert.deepEqual(first?.copy, { object: nvram, sizeBytes: 540_672, sha256 });
  assert.deepEqual([second?.what, second?.copy], ['tpm', undefined]);
  const told = (await siphon('snapshot', 'get', set.id)).stdout;
  assert.match(told, new RegExp(`^nvram +${NVRAM}, 528.0 KiB kept in ${nvram}$`, 'm'));
  assert.match(told, /^tpm .*, not kept: snapshot\.keep_files does not name it$/m);
  assert.equal(set.disks[0]?.allocatedBytes, 4 << 20, 'one object');
  assert.match(told, /^disk vda .*, 4\.0 MiB of 16\.0 MiB allocated/m);
  const ofAll = await siphonJson<SnapshotSet[]>('snapshot', 'list', '--all-hosts', NAME);
  assert.deepEqual(ofAll[0]?.keptFiles, set.keptFiles, 'as Ceph has it recorded');
  await must('siphon', 'snapshot', 'delete', set.id);
  assert.deepEqual(await objectsOf(set.id), []);

  await sh(`mkdir -p /etc/siphon/conf.d; echo 'snapshot.keep_files = ["nvram", "tpm"]' >${CONFIG}`);
  await must('siphon', 'reload');
  const both = await create();
  const tpm = `siphon.sets.${both.id}.tpm`;
  assert.deepEqual(await objectsOf(both.id), [`siphon.sets.${both.id}.nvram`, tpm]);
  await assertSame(tpm, TPM);
  assert.equal(both.keptFiles?.[1]?.path, TPM);
  await must('siphon', 'snapshot', 'delete', both.id);
  assert.deepEqual(await objectsOf(both.id), []);
});

test('what QEMU’s user put in its place does not leave the host, and the set is taken', async () => {
  await sh(`mv ${NVRAM} ${NVRAM}.real; ln -s /etc/shadow ${NVRAM}`);
  cleanup.after(() => run('rm', ['-f', `${NVRAM}.real`]));
  const linked = await create();
  assert.equal(linked.keptFiles?.[0]?.why, 'it is a symbolic link');
  await sh(`rm ${NVRAM}; cp /etc/shadow ${NVRAM}`);
  const copied = await create();
  assert.equal(copied.keptFiles?.[0]?.why, 'it is no store of UEFI variables');
  for (const { id } of [linked, copied]) {
    const kept = (await objectsOf(id)).filter((name) => name.endsWith('.nvram'));
    assert.deepEqual(kept, []);
    await must('siphon', 'snapshot', 'delete', id);
  }
  await until('nothing of them is left', async () => {
    return (await objectsOf(linked.id)).length + (await objectsOf(copied.id)).length === 0;
  });
});
