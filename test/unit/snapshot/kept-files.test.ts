// What a set keeps of its domain beside its disks: what is claimed has a copy, what has none says why, and nothing of it stays longer
// than its set.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { assertTidy } from './tidy.ts';
import { failure, Life, releaseOf, World } from './world.ts';

const [UUID] = UUIDS;
const NVRAM = '/var/lib/libvirt/qemu/nvram/vm_VARS.fd';
const TPM = `/var/lib/libvirt/swtpm/${UUID}`;
const XML = domainXml(UUID).replace(
  '<devices>',
  `<os><nvram>${NVRAM}</nvram></os><devices><tpm><backend type='emulator' version='2.0'/></tpm>`,
);

function world(): World {
  const made = new World(['root']);
  made.domainXml = XML;
  made.files.set(NVRAM, 'variables');
  made.files.set(TPM, 'keys');
  return made;
}

async function setOf(made: World) {
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  assertTidy(made);
  const [set] = made.catalogue.values();
  assert.ok(set);
  assert.deepEqual(made.omap.get(set.id)?.keptFiles, set.keptFiles, 'as Ceph has it');
  return { life, set };
}

test('NVRAM is kept, and a TPM where it was asked for; both go with the set', async () => {
  const made = world();
  const { life, set } = await setOf(made);
  const copy = {
    object: `siphon.sets.${set.id}.nvram`,
    sizeBytes: 9,
    sha256: createHash('sha256').update('variables').digest('hex'),
  };
  assert.deepEqual(set.keptFiles, [
    { what: 'nvram', path: NVRAM, copy },
    { what: 'tpm', path: TPM, why: 'snapshot.keep_files does not name it' },
  ]);
  assert.deepEqual([...made.objects], [[copy.object, 'variables']]);
  assert.ok(
    !JSON.stringify([...made.jobs.values()]).includes(Buffer.from('variables').toString('base64')),
  );
  await life.room.remove(set.id).finished;
  assert.deepEqual([...made.objects], []);
  made.keeps = ['tpm'];
  const { set: second } = await setOf(made);
  assert.deepEqual([...made.objects], [[`siphon.sets.${second.id}.tpm`, 'keys']]);
});

test('what cannot be read, or Ceph does not take, is named with why; the set is taken', async () => {
  const made = world();
  made.files.delete(NVRAM);
  const { life, set } = await setOf(made);
  assert.equal(set.keptFiles?.[0]?.why, 'there is none');
  await life.room.remove(set.id).finished;
  made.files.set(NVRAM, 'variables');
  made.beforeCeph = (method) => {
    if (method === 'keepFile') throw failure('denied');
  };
  const { set: second } = await setOf(made);
  assert.match(second.keptFiles?.[0]?.why ?? '', /^Ceph did not take it: /);
});

test('what a disk has is told once the set is there; where Ceph cannot tell, why', async () => {
  const made = world();
  const { life, set } = await setOf(made);
  assert.deepEqual([set.disks[0]?.allocatedBytes, set.disks[0]?.whyNotMeasured], [1024, undefined]);
  assert.deepEqual(made.omap.get(set.id)?.disks, set.disks);
  await life.room.remove(set.id).finished;
  made.measured = { why: 'it has no object map' };
  const { life: next, set: second } = await setOf(made);
  assert.equal(second.disks[0]?.whyNotMeasured, 'it has no object map');
  await next.room.remove(second.id).finished;
  made.beforeCeph = (method) => {
    if (method === 'measureSnapshot') throw failure('unavailable');
  };
  const { set: third } = await setOf(made);
  assert.deepEqual([third.disks[0]?.allocatedBytes, third.disks.length], [undefined, 1]);
  assert.ok(third.disks[0]?.whyNotMeasured);
});

test('kill -9 at every effect: the next life claims no copy that is not there, and none outlives its set', async () => {
  for (let endsAt = 2; ; endsAt += 1) {
    const made = world();
    const killed = new Life(made, endsAt);
    killed.room.onRelease(releaseOf(XML));
    await killed.settle();
    const next = new Life(made);
    await next.recover();
    assertTidy(made);
    assert.equal(made.catalogue.size, 1, `killed at effect ${endsAt}`);
    const [set] = made.catalogue.values();
    await next.room.remove(set?.id ?? '').finished;
    assert.deepEqual([...made.objects], [], `killed at effect ${endsAt}`);
    if (!killed.isDead) return assert.ok(endsAt > 15, `${endsAt} points of death`);
  }
});
