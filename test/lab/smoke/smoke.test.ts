// Both of siphon's jobs once, in a host of any release, also where its cluster is of a newer one; and what siphon says is smaller
// there. What differs is in the table; docs/releases.md tells the same.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { before, test } from 'node:test';
import type { SnapshotsAnswer, StatusAnswer } from '../../../src/wire/api.ts';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { tableOf } from '../../support/manifests.ts';
import {
  defineDomain,
  domainState,
  installHook,
  markedSnapshots,
  overlayOn,
  startsFilled,
} from '../support/domains.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup, freshPool, importSource, rawFile, scratchFolder } from '../support/images.ts';
import { answering, siphon, siphonJson } from '../support/siphon.ts';

const LACKS: Readonly<Record<string, readonly string[]>> = {
  bookworm: [
    'librbd rbd_clone4',
    'librbd rbd_diff_iterate3',
    'librbd rbd_group_snap_get_info',
    'libvirt rbd-namespace',
    'libvirt release-reason',
  ],
  trixie: ['librbd rbd_clone4', 'librbd rbd_group_snap_get_info', 'libvirt rbd-namespace'],
  forky: [],
};
const release = process.env['SIPHON_LAB_RELEASE'] ?? '';
const POLICY = '/etc/siphon/policies.d/smoke.toml';
const cleanup = fileCleanup();
let pool = '';
let scratch = '';

before(async () => {
  await answering();
  await installHook();
  pool = await freshPool(cleanup);
  scratch = await scratchFolder(cleanup);
  const policy =
    '[[policy]]\nname = "smoke"\ndomains = ["smoke-*"]\non = ["shutdown", "destroyed"]\n';
  await writeFile(POLICY, `${policy}keep_last = 1\n`);
  cleanup.after(() => run('rm', ['-f', POLICY]));
  await must('systemctl', 'restart', 'siphond');
  await answering();
});

test(`${release}: a raw and a qcow2 source are warmed, and equal to what they were made from`, async () => {
  const raw = await rawFile(`${scratch}/raw`, 24, [0, 7, 23], 512);
  const qcow2 = `${scratch}/it.qcow2`;
  await must('qemu-img', 'convert', '-c', '-O', 'qcow2', raw, qcow2);
  for (const [file, format] of [
    [raw, 'raw'],
    [qcow2, 'qcow2'],
  ] as const) {
    const source = await importSource(file, `${pool}/${format}`);
    const [base] = await siphonJson<Base[]>('warm', source);
    const path = await must('siphon', 'path', source);
    assert.equal(base?.sourceFormat, format);
    assert.equal(base?.chunkTable?.sha256, tableOf(await readFile(file), 4 * 2 ** 20).sha256);
    await must('qemu-img', 'check', '-q', '-f', 'qcow2', path);
    await must('qemu-img', 'compare', '-q', '-f', format, '-F', 'qcow2', file, path);
  }
});

test(`${release}: by a key of openssl's a source is signed, verified chunk by chunk, and by the verifier of the document`, async () => {
  const raw = await rawFile(`${scratch}/signed.raw`, 24, [0, 7, 23], 4097);
  const source = await importSource(raw, `${pool}/signed`);
  const keys = '/etc/siphon/trust/manifest-keys';
  await must('install', '-d', '-m', '755', keys);
  cleanup.after(() => run('rm', ['-rf', keys]));
  const document = await readFile(
    path.join(import.meta.dirname, '../../../docs/manifests.md'),
    'utf8',
  );
  const [, program = ''] = /<!-- verifier -->\n```python\n([^]*?)```/.exec(document) ?? [];
  await writeFile(`${scratch}/verify.py`, program);
  for (const kind of ['ed25519', 'EC -pkeyopt ec_paramgen_curve:P-256']) {
    const [key, manifest, pem] = ['key', 'manifest', 'pem'].map(
      (end) => `${scratch}/signer.${end}`,
    );
    await sh(`openssl genpkey -algorithm ${kind} -out ${key}; openssl pkey -in ${key} -pubout -out ${pem}
      install -m 644 ${pem} ${keys}/signer.pem`);
    await must('siphon', 'sign', source, '--key', key ?? '', '--output', manifest ?? '');
    const [base] = await siphonJson<Base[]>('warm', '--again', source);
    assert.deepEqual(
      base?.verification.kind === 'verified' && base.verification.by.map(({ what }) => what),
      ['manifest'],
    );
    const verify = () => run('python3', [`${scratch}/verify.py`, raw, manifest ?? '', pem ?? '']);
    assert.equal((await verify()).stdout.trim(), 'good');
    await sh(`printf x | dd of=${raw} bs=1 seek=$((9 * 1048576)) conv=notrunc status=none`);
    assert.match((await verify()).stderr, /AssertionError: chunk 2, at byte 8388608/);
    await sh(`printf '\\0' | dd of=${raw} bs=1 seek=$((9 * 1048576)) conv=notrunc status=none`);
  }
});

test(`${release}: a start fills the base that it needs, and holds it`, async () => {
  const source = await importSource(await rawFile(`${scratch}/root`, 16, [0, 9]), `${pool}/root`);
  const path = await overlayOn(source, `${scratch}/smoke.qcow2`, '16M');
  const name = await defineDomain(cleanup, {
    name: 'smoke-start',
    disks: [{ kind: 'file', path }],
  });
  const base = await must('siphon', 'path', source);
  assert.equal((await run('test', ['-e', base])).code, 1);
  await startsFilled(name);
  assert.equal(await domainState(name), 'running');
  const compared = ['compare', '-q', '-U', '-f', 'raw', '-F', 'qcow2', `${scratch}/root`, base];
  await must('qemu-img', ...compared);
  const { code, stderr } = await siphon('evict', source);
  assert.equal(code, 5);
  assert.match(stderr, /domain smoke-start needs it/);
  await must('virsh', '-q', 'destroy', name);
});

test(`${release}: a stop leaves a set of its RBD disks, with the reason, and recorded in Ceph`, async () => {
  const images = ['vms/smoke-a', 'vms/smoke-b'];
  for (const image of images) {
    await must('rbd', 'create', '--size', '8M', image);
    cleanup.after(async () => {
      await run('rbd', ['snap', 'purge', '--no-progress', image]);
      await run('rbd', ['rm', '--no-progress', image]);
    });
  }
  const disks = images.map((image) => ({ kind: 'rbd', image }) as const);
  const name = await defineDomain(cleanup, { name: 'smoke-stop', disks });
  await must('virsh', '-q', 'start', name);
  await must('virsh', '-q', 'destroy', name);
  const [set] = await until(
    'the set is complete',
    async () => {
      const sets = await siphonJson<SnapshotsAnswer['sets']>('snapshot', 'list', name);
      return sets.length > 0 && sets.every((each) => each.state === 'complete') && sets;
    },
    60,
  );
  assert.deepEqual(
    [set?.reason, set?.policy, set?.instant, set?.disks.length],
    ['destroyed', 'smoke', 'barrier', 2],
  );
  for (const image of images) assert.deepEqual(await markedSnapshots(image), [`siphon.${set?.id}`]);
  assert.match(await sh('rados -p vms listomapkeys siphon.sets'), new RegExp(set?.id ?? '-'));
  assert.equal((await siphon('snapshot', 'delete', set?.id ?? '')).code, 0);
  for (const image of images) assert.deepEqual(await markedSnapshots(image), []);
});

test(`${release}: status and doctor tell what is smaller, and doctor calls it no fault`, async () => {
  const { abilities, clusters } = await siphonJson<StatusAnswer>('status');
  assert.deepEqual(
    clusters.map((each) => each.state),
    ['connected'],
  );
  const lacks = abilities.filter((each) => !each.isPresent).map(({ of, name }) => `${of} ${name}`);
  assert.deepEqual(lacks.toSorted(), LACKS[release]);
  assert.equal(abilities.length, 5);
  const ran = await siphon('doctor', '--json', '--images', pool, '--vms', 'vms');
  const told = JSON.parse(ran.stdout) as {
    readonly findings: readonly object[];
    readonly notes: readonly { readonly code: string; readonly subject: string }[];
  };
  assert.deepEqual([ran.code, told.findings], [0, []]);
  const notes = told.notes.filter((each) => each.code === 'abilities');
  assert.deepEqual(notes.map((each) => each.subject).toSorted(), LACKS[release]);
});

test(`${release}: the documentation has every ability that it lacks`, async () => {
  const text = await must('cat', `${import.meta.dirname}/../../../docs/releases.md`);
  for (const name of LACKS[release] ?? [])
    assert.ok(text.includes(name.split(' ')[1] ?? name), name);
});
