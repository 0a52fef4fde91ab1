// `siphon warm` on the installed siphond: the bases equal their sources, checked by tools that are not siphon's.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { before, describe, test } from 'node:test';
import type { JobsAnswer } from '../../../src/wire/api.ts';
import type { SourceAnswer } from '../../../src/wire/manifest-api.ts';
import type { Quarantined } from '../../../src/wire/quarantine-api.ts';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { tableOf } from '../../support/manifests.ts';
import { must, run, sh } from '../support/host.ts';
import { fileCleanup, freshPool, importSource, rawFile, scratchFolder } from '../support/images.ts';
import { filesOfBases, siphon, siphonJson } from '../support/siphon.ts';

const CERTIFICATE = '0b0e1c7a-58d2-4f0e-8a43-2d6f8a1f3c55';
const context = fileCleanup();
let pool = '';
let scratch = '';

before(async () => {
  pool = await freshPool(context);
  scratch = await scratchFolder(context);
});

const pathOf = async (source: string) => must('siphon', 'path', source);
const digestOf = async (command: string, algorithm: string) =>
  (await sh(`${command} | openssl dgst -${algorithm} -r`)).split(' ')[0] ?? '';

describe('raw sources become qcow2 bases', () => {
  const shapes = [
    { name: 'sparse', mebibytes: 96, dataAt: [0, 5, 41, 95], extraBytes: 0 },
    { name: 'odd', mebibytes: 9, dataAt: [0, 8], extraBytes: 512 * 3 },
    { name: 'empty', mebibytes: 16, dataAt: [], extraBytes: 0 },
    { name: 'full', mebibytes: 12, dataAt: [...Array(12).keys()], extraBytes: 0 },
  ];
  for (const { name, mebibytes, dataAt, extraBytes } of shapes) {
    test(name, async () => {
      const file = await rawFile(`${scratch}/${name}`, mebibytes, dataAt, extraBytes);
      const source = await importSource(file, `${pool}/raw-${name}`);
      const [base] = await siphonJson<Base[]>('warm', source);
      const path = await pathOf(source);
      await must('qemu-img', 'check', '-q', '-f', 'qcow2', path);
      await must('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', file, path);
      assert.equal(base?.chunkTable?.sha256, tableOf(await readFile(file), 4 * 2 ** 20).sha256);
      assert.equal(base?.verification.kind, 'unverified');
      assert.match(await must('stat', '-c', '%a %U', path), /^644 siphon$/);
    });
  }
});

test('a qcow2 source is copied byte by byte, and the record says what it is', async () => {
  const file = await rawFile(`${scratch}/q.raw`, 40, [1, 2, 30]);
  await must('qemu-img', 'convert', '-c', '-O', 'qcow2', file, `${scratch}/q.qcow2`);
  const source = await importSource(`${scratch}/q.qcow2`, `${pool}/qcow2`);
  const sha512 = await digestOf(`cat ${scratch}/q.qcow2`, 'sha512');
  const [base] = await siphonJson<Base[]>('warm', '--sha512', sha512, source);
  assert.equal(base?.sourceFormat, 'qcow2');
  assert.equal(base?.virtualSizeBytes, 40 * 2 ** 20);
  assert.deepEqual(base?.verification, {
    kind: 'verified',
    by: [{ what: 'digest', algorithm: 'sha512', from: 'operator' }],
  });
  const path = await pathOf(source);
  await must('cmp', `${scratch}/q.qcow2`, path);
  // Rot that no time tells of, in a base that is verified by its record.
  const written = path.replace('/bases/', '/bases-rw/');
  await sh(`cp -p ${written} ${scratch}/good
    printf rot | dd of=${written} bs=1 seek=300000 conv=notrunc status=none
    touch -r ${scratch}/good ${written}`);
  await siphonJson('warm', '--sha512', sha512, source);
  assert.equal((await run('cmp', [`${scratch}/q.qcow2`, path])).code, 1);
  await siphonJson('warm', '--again', source);
  await must('cmp', `${scratch}/q.qcow2`, path);
});

test('a clone reads through to its parent, and a namespace is part of the path', async () => {
  const file = await rawFile(`${scratch}/p.raw`, 24, [0, 3, 20]);
  await must('rbd', 'namespace', 'create', `${pool}/tenant`);
  await importSource(file, `${pool}/parent`);
  await must(
    'rbd',
    'clone',
    '--rbd-default-clone-format',
    '2',
    `${pool}/parent@snap`,
    `${pool}/tenant/child`,
  );
  await must('rbd', 'snap', 'create', '--no-progress', `${pool}/tenant/child@snap`);
  const source = `rbd:${pool}/tenant/child@snap`;
  assert.equal((await siphon('warm', source)).code, 0);
  const path = await pathOf(source);
  assert.match(path, /\/\d+\.tenant\//);
  await must('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', file, path);
});

test('signatures: a good one verifies, by describe too; one flipped bit is refused and leaves nothing', async () => {
  for (const kind of ['rsa', 'ec'] as const) {
    const file = await rawFile(`${scratch}/${kind}.raw`, 20, [0, 10]);
    const properties = await signedProperties(kind, file);
    const source = await importSource(file, `${pool}/signed-${kind}`);
    const described = await siphon('describe', source, '--properties', properties);
    assert.equal(described.code, 0, described.stderr);
    const [base] = await siphonJson<Base[]>('warm', source);
    assert.equal(base?.verification.kind, 'verified');
    const before = await filesOfBases();
    await sh(`printf '\\x5a' | dd of=${file} bs=1 seek=$((15 * 1048576)) conv=notrunc status=none`);
    const bad = await importSource(file, `${pool}/flipped-${kind}`);
    const refused = await siphon('warm', '--properties', properties, bad);
    assert.equal(refused.code, 9, refused.stderr);
    assert.match(refused.stderr, /signature/);
    assert.deepEqual(await filesOfBases(), before);
    const failed = (await siphonJson<Quarantined[]>('list', '--quarantined')).find((each) => {
      return each.source === bad;
    });
    assert.ok(failed !== undefined);
    assert.match(failed.why, /signature/);
    await must('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', file, failed.path);
    const counted = () =>
      sh(
        "curl -s --unix-socket /run/siphon/read.sock http://x/metrics | grep '^siphon_quarantined'",
      );
    const bytes = await sh(`du -B1 '${failed.path}' | cut -f1`);
    assert.equal(
      await counted(),
      `siphon_quarantined_files 1\nsiphon_quarantined_bytes ${bytes.trim()}`,
    );
    await must('siphon', 'evict', '--quarantined');
    assert.equal(await counted(), 'siphon_quarantined_files 0\nsiphon_quarantined_bytes 0');
    assert.deepEqual(await siphonJson('list', '--quarantined'), []);
    assert.equal(await sh(`ls -A /var/lib/siphon/bases-rw/.quarantine`), '');
  }
});

/** A key of the kind, its certificate in the trust folder, and the file signed as openssl does it. */
async function signedProperties(kind: 'rsa' | 'ec', file: string): Promise<string> {
  const certificate = kind === 'rsa' ? CERTIFICATE : CERTIFICATE.replace('0b0e', '0b0f');
  const newKey = kind === 'rsa' ? 'rsa:3072' : 'ec -pkeyopt ec_paramgen_curve:secp384r1';
  const padding = kind === 'rsa' ? '-sigopt rsa_padding_mode:pss' : '';
  await sh(`cd ${scratch}
    openssl req -x509 -newkey ${newKey} -nodes -keyout ${kind}.key -out ${kind}.pem -days 2 -subj /CN=t 2>/dev/null
    install -m 644 ${kind}.pem /etc/siphon/trust/${certificate}.pem
    openssl dgst -sha256 -sign ${kind}.key ${padding} -out ${kind}.sig ${file}`);
  const properties = {
    disk_format: 'raw',
    img_signature: await must('base64', '-w0', `${scratch}/${kind}.sig`),
    img_signature_hash_method: 'SHA-256',
    img_signature_key_type: kind === 'rsa' ? 'RSA-PSS' : 'ECC_SECP384R1',
    img_signature_certificate_uuid: certificate,
  };
  await writeFile(`${scratch}/${kind}.json`, JSON.stringify(properties));
  return `${scratch}/${kind}.json`;
}

test('two hundred asks for one source at once make one fill', async () => {
  const file = await rawFile(`${scratch}/many.raw`, 64, [...Array(48).keys()]);
  const source = await importSource(file, `${pool}/many`);
  const request = JSON.stringify({ source });
  const asks = Array.from({ length: 200 }, () =>
    run(
      'curl',
      [
        '-sS',
        '--unix-socket',
        '/run/siphon/siphon.sock',
        '-H',
        'content-type: application/json',
        '-d',
        request,
        'http://siphon/v1/warm',
      ],
      { seconds: 120 },
    ),
  );
  const answers = await Promise.all(asks);
  for (const { code, stdout, stderr } of answers) {
    assert.equal(code, 0, stderr);
    assert.match(stdout.trim().split('\n').at(-1) ?? '', /^\{"kind":"done"/);
  }
  const jobs = await siphonJson<JobsAnswer['jobs']>('jobs', '--limit', '1000');
  assert.equal(
    jobs.filter((job) => job.kind === 'fill' && job.subject.includes(`${pool}/many@`)).length,
    1,
  );
});

test('list, get, pin and unpin show what is there', async () => {
  const file = await rawFile(`${scratch}/pin.raw`, 8, [0]);
  const source = await importSource(file, `${pool}/pin`);
  await siphonJson('warm', source);
  assert.equal((await siphon('pin', source)).code, 0);
  assert.equal((await siphonJson<Base>('get', source)).isPinned, true);
  const kept = await siphon('evict', source);
  assert.equal(kept.code, 5);
  assert.match(kept.stderr, /it is pinned/);
  await must('test', '-e', await pathOf(source));
  assert.equal((await siphon('unpin', source)).code, 0);
  assert.equal((await siphon('evict', source)).code, 0);
  assert.equal((await run('test', ['-e', await pathOf(source)])).code, 1);
  const bases = await siphonJson<Base[]>('list');
  assert.ok(!bases.some((base) => base.name.image === 'pin'));
});

test('a record that nobody can read stops fills, until it is written anew', async () => {
  const file = await rawFile(`${scratch}/record.raw`, 8, [0]);
  const source = await importSource(file, `${pool}/record`);
  const { ids } = await siphonJson<SourceAnswer>('describe', source);
  const key = `${ids.imageId}@${ids.snapId}`;
  for (const words of [['--remove'], ['--properties', `${scratch}/record.json`]]) {
    await must('rados', '-p', pool, 'setomapval', 'siphon.sources', key, '{');
    const refused = await siphon('warm', source);
    assert.equal(refused.code, 9, refused.stderr);
    assert.match(refused.stderr, /siphon describe/);
    await writeFile(`${scratch}/record.json`, '{"disk_format": "raw"}');
    await must('siphon', 'describe', source, ...words);
    await siphonJson('warm', source, '--again');
  }
});
