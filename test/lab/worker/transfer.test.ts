// Exports to files, and imports of them into another pool and into a namespace: bit-identical by `rbd`, whatever came between; and
// what is wrong is told, and leaves nothing.

import assert from 'node:assert/strict';
import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { before, describe, test } from 'node:test';
import { ExportReader } from '../../../src/export-file/index.ts';
import type { ImportSpec } from '../../../src/wire/transfer-protocol.ts';
import type { SetDisk, SnapshotSet } from '../../../src/wire/vocabulary.ts';
import type { CephSettings } from '../../../src/wire/worker-protocol.ts';
import { sourceOf } from '../../unit/export-file/made.ts';
import { must, sh } from '../support/host.ts';
import { fileCleanup, freshPool } from '../support/images.ts';
import { CONF, cephWorker, failing, json, makeUsers } from './ceph-worker.ts';
import { exportTo, importFrom, setOf, sha256Of } from './transfers.ts';

const cleanup = fileCleanup();
const MIB = 2 ** 20;
let ceph: CephSettings;
let from: string;
let to: string;
let folder: string;
/** A full one and two that stand on each other, of a flat disk and a clone. */
const sets: SnapshotSet[] = [];
const fileOf = (at: number) => `${folder}/${at}.siphon`;

/** Random bytes over a part of an image, as a guest writes them. */
const scribble = (image: string, offset: number, bytes: number) =>
  sh(`head -c ${bytes} /dev/urandom >/tmp/scribble
    qemu-io -f raw -c 'write -q -s /tmp/scribble ${offset} ${bytes}' rbd:${image}`);
const zero = (image: string, offset: number, bytes: number) =>
  sh(`qemu-io -f raw -c 'discard -q ${offset} ${bytes}' rbd:${image}`);

before(async () => {
  [from, to] = [await freshPool(cleanup), await freshPool(cleanup)];
  await must('rbd', 'namespace', 'create', `${to}/copies`);
  ceph = { conf: CONF, users: await makeUsers(cleanup, from, to), timeoutMs: 5000 };
  folder = await must('mktemp', '-d', '/tmp/transfer-XXXXXX');
  cleanup.after(() => must('rm', '-rf', folder));
  await makeSets();
});

/** Of sizes that are no multiples of an object; grown, shrunk, written, discarded between the sets. */
async function makeSets(): Promise<void> {
  const [flat, clone, bare] = [`${from}/flat`, `${from}/clone`, `${from}/bare`];
  await sh(`head -c 9M /dev/urandom >/tmp/base; truncate -s ${20 * MIB + 4608} /tmp/base
    rbd import --no-progress /tmp/base ${flat}; rbd import --no-progress /tmp/base ${from}/parent; rm /tmp/base
    rbd snap create --no-progress ${from}/parent@p
    rbd clone --rbd-default-clone-format 2 ${from}/parent@p ${clone}
    head -c ${5 * MIB + 101} /dev/urandom | rbd import --no-progress - ${from}/odd
    head -c 6M /dev/urandom | rbd import --no-progress --image-feature layering - ${bare}`);
  await scribble(flat, 13 * MIB, 70_656);
  await scribble(clone, 5 * MIB, 4096);
  const images = { vda: flat, vdb: clone, vdc: `${from}/odd`, vdd: bare };
  sets.push(await setOf('20261121t100000z-00000001', images));
  await scribble(flat, 2 * MIB + 512, 4096);
  await zero(flat, 4 * MIB, 5 * MIB);
  await zero(flat, 3 * MIB, MIB); // an object loses its end
  await zero(clone, 0, 4 * MIB);
  await zero(clone, 7 * MIB + 512, MIB - 512);
  await zero(bare, 2 * MIB, 2 * MIB);
  await must('rbd', 'resize', '--no-progress', '--size', '31M', flat);
  await scribble(flat, 30 * MIB, MIB);
  sets.push(await setOf('20261121t110000z-00000002', images));
  await must('rbd', 'resize', '--no-progress', '--allow-shrink', '--size', '7M', flat);
  await must('rbd', 'resize', '--no-progress', '--size', '15M', flat);
  await scribble(clone, 10 * MIB, 300_000);
  sets.push(await setOf('20261121t120000z-00000003', images));
}

const exportAt = (at: number, since?: number, file = fileOf(at)) => {
  const [set, before] = [sets[at], since === undefined ? undefined : sets[since]];
  assert.ok(set);
  return exportTo(file, { ceph, set, ...(before && { since: before }) });
};

const spec = (namespace: string, more: Partial<ImportSpec> = {}): ImportSpec => {
  return { ceph, place: { pool: to, namespace }, host: 'h2', ...more };
};

const imagesIn = (place: string) => json<string[]>('rbd', 'ls', place);

async function assertSame(copy: SnapshotSet, at: number): Promise<void> {
  const set = sets[at];
  assert.ok(set);
  for (const [index, disk] of copy.disks.entries()) {
    const source: SetDisk | undefined = set.disks[index];
    assert.ok(source);
    const path = [disk.pool, disk.namespace, disk.image].filter(Boolean).join('/');
    const want = await sha256Of(`${source.pool}/${source.image}@siphon.${set.id}`);
    assert.equal(await sha256Of(`${path}@siphon.${copy.id}`), want, `${path} of set ${at}`);
    assert.equal(await sha256Of(path), want, `${path} itself`);
  }
}

describe('a full export and two that stand on it', () => {
  for (const namespace of ['', 'copies']) {
    test(`are the same in ${namespace || 'another pool'}`, async () => {
      for (const at of namespace === '' ? [0, 1, 2] : [0, 1]) {
        if (namespace === '') await exportAt(at, at === 0 ? undefined : at - 1);
        const copy = await importFrom({ file: fileOf(at), spec: spec(namespace) });
        await assertSame(copy, at);
        assert.equal(copy.imported?.setId, sets[at]?.id);
        assert.deepEqual((await imagesIn(`${to}/${namespace}`)).toSorted(), [
          'bare',
          'clone',
          'flat',
          'odd',
        ]);
      }
    });
  }

  test('have what changed, and little more', async () => {
    const { size } = await stat(fileOf(1));
    const changed = 4096 + 4096 + MIB; // and holes, which are told by their places
    assert.ok(size < 1.1 * changed + 64 * 1024, `${size} bytes for ${changed}`);
  });
});

test('what is wrong is named, and leaves nothing', async () => {
  const file = fileOf(0);
  await exportAt(0, undefined, `${folder}/again`).then(({ isResumed }) =>
    assert.equal(isResumed, false),
  );
  const there = await imagesIn(to);
  const bytes = await readFile(file);
  const fresh = spec('', { name: 'fresh' });
  const cut = bytes.subarray(0, 6 * MIB);
  await failing(importFrom({ file, spec: fresh, bytes: cut }), 'corrupt', /the file was cut/);
  const changed = Buffer.from(bytes);
  changed[5 * MIB] = (changed[5 * MIB] ?? 0) ^ 1;
  await failing(
    importFrom({ file, spec: fresh, bytes: changed }),
    'corrupt',
    /a digest is another/,
  );
  const longer = Buffer.concat([bytes, Buffer.alloc(100)]);
  await failing(
    importFrom({ file, spec: fresh, bytes: longer }),
    'corrupt',
    /follows after its end/,
  );
  await failing(importFrom({ file, spec: spec('') }), 'refused', /to?.*flat.*name is there/);
  await failing(
    importFrom({ file: fileOf(1), spec: spec('') }),
    'refused',
    /was imported there already/,
  );
  assert.deepEqual(await imagesIn(to), there);
  assert.equal(await sh(`rados -p ${to} listomapkeys siphon.imports`), '');
});

test('an incremental export is for that state alone', async () => {
  const image = `${to}/once-vda`;
  const once = spec('', { name: 'once' });
  const first = await importFrom({
    file: fileOf(0),
    spec: once,
    setId: 'of-once',
  });
  await assertSame(first, 0);
  await failing(
    importFrom({ file: fileOf(2), spec: spec('', { name: 'x' }) }),
    'mismatch',
    /no import of set|written to/,
  );
  await scribble(image, 100, 512);
  await failing(
    importFrom({ file: fileOf(1), spec: once }),
    'mismatch',
    /written to since its snapshot siphon.of-once/,
    /rbd snap rollback/,
  );
  await must('rbd', 'snap', 'rollback', '--no-progress', `${image}@siphon.of-once`);
  const bytes = await readFile(fileOf(1));
  const wrong = Buffer.from(bytes);
  wrong[bytes.length - 20_000] = (wrong[bytes.length - 20_000] ?? 0) ^ 1;
  await failing(importFrom({ file: fileOf(1), spec: once, bytes: wrong }), 'corrupt', /digest/);
  await assertSame(first, 0);
  await assertSame(await importFrom({ file: fileOf(1), spec: once }), 1);
});

test('an export that was cut goes on after its last whole frame, and only as what it was', async () => {
  const file = `${folder}/cut`;
  const whole = await readFile(fileOf(0));
  await writeFile(file, whole.subarray(0, 7 * MIB));
  const reader = await ExportReader.open(sourceOf(await readFile(file)));
  const header = whole.subarray(0, reader.mark.position).toString('base64');
  await assert.rejects(async () => {
    while ((await reader.next((length) => Buffer.alloc(length))) !== undefined);
  }, /the file was cut/);
  const { mark } = reader;
  await truncate(file, mark.position);
  const begun = { begun: { header, mark } };
  const [set, other] = sets;
  assert.ok(set && other);
  await failing(
    exportTo(`${folder}/none`, { ceph, set: other }, begun),
    'mismatch',
    /begun for another set/,
  );
  assert.equal((await exportTo(file, { ceph, set }, begun)).isResumed, true);
  assert.ok((await readFile(file)).equals(whole));
});

test('an import that was killed goes on, or is undone by whoever finds it', async () => {
  const big = `${from}/big`;
  await sh(`head -c 160M /dev/urandom | rbd import --no-progress - ${big}`);
  sets.push(await setOf('20261121t130000z-00000004', { vda: big }));
  const file = fileOf(3);
  await exportAt(3);
  const dying = ['', 'copies'].map((namespace) => {
    const die = { onProgress: kill };
    return failing(importFrom({ file, spec: spec(namespace), ...die }), 'unavailable', /worker/);
  });
  await Promise.all(dying);
  const id = await sh(`rados -p ${to} listomapkeys siphon.imports`);
  assert.match(id, /^[0-9a-f]{32}$/);
  assert.ok((await imagesIn(to)).includes(`siphon.import.${id}.vda`));
  const seen: number[] = [];
  const onProgress = (bytes: number) => void seen.push(bytes);
  const other = importFrom({ file, spec: spec('', { name: 'other' }) });
  await failing(other, 'refused', /was begun as big/);
  await using worker = cephWorker(ceph.users, { settings: ceph });
  const left = { id, pool: to, namespace: 'copies' };
  const settle = (isGivenUp: boolean) =>
    worker.call('settleImport', { ...left, isGivenUp }, { deadlineMs: 90_000 });
  assert.deepEqual(await settle(false), { was: 'left' });
  // Both wait for the dead worker's watches to end.
  const [copy, settled] = await Promise.all([
    importFrom({ file, spec: spec(''), onProgress }),
    settle(true),
  ]);
  assert.ok((seen[0] ?? 0) > 100 * MIB, `it began again: ${seen.join()}`);
  await assertSame(copy, 3);
  assert.deepEqual(settled, { was: 'undone' });
  assert.deepEqual(await settle(true), { was: 'absent' });
  assert.deepEqual((await imagesIn(`${to}/copies`)).toSorted(), ['bare', 'clone', 'flat', 'odd']);
});

function kill(_: number, { stats }: { readonly stats: { readonly pid?: number } }): void {
  if (stats.pid !== undefined) process.kill(stats.pid, 'SIGKILL');
}
