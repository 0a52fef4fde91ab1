// Manifests on the installed siphon: keys made by openssl, images that are what was signed and images that are not, and the verifier of the
// document, which is run as it stands there.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { JobsAnswer } from '../../../src/wire/api.ts';
import type { ManifestFacts, SourceAnswer } from '../../../src/wire/manifest-api.ts';
import type { Quarantined } from '../../../src/wire/quarantine-api.ts';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { opensslKey, tableOf } from '../../support/manifests.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup, freshPool, importSource, rawFile, scratchFolder } from '../support/images.ts';
import { answering, filesOfBases, siphon, siphondPid, siphonJson } from '../support/siphon.ts';

const KEYS = '/etc/siphon/trust/manifest-keys';
const DOCUMENT = path.join(import.meta.dirname, '../../../docs/manifests.md');
const MIB = 2 ** 20;
const KILLS = process.env['SIPHON_SOAK'] === undefined ? 4 : 60;
const context = fileCleanup();
const ed = opensslKey('ed25519');
const ec = opensslKey('p256');
const unknown = opensslKey('ed25519');
let pool = '';
let scratch = '';
let images = 0;

before(async () => {
  pool = await freshPool(context);
  scratch = await scratchFolder(context);
  context.after(() => run('rm', ['-rf', KEYS]));
  await must('install', '-d', '-m', '755', KEYS);
  for (const [name, key] of Object.entries({ ed, ec, unknown })) {
    await writeFile(`${scratch}/${name}.key`, key.pem, { mode: 0o600 });
    await writeFile(
      `${scratch}/${name}.pem`,
      key.publicKey.export({ type: 'spki', format: 'pem' }),
    );
    if (name !== 'unknown') await must('install', '-m', '644', `${scratch}/${name}.pem`, KEYS);
  }
  const [, program = ''] =
    /<!-- verifier -->\n```python\n([^]*?)```/.exec(await readFile(DOCUMENT, 'utf8')) ?? [];
  await writeFile(`${scratch}/verify.py`, program);
});

/** A sparse image; what it is as a file. */
async function image(extraBytes = 0, mebibytes = 41, dataAt = [0, 20, 40]) {
  images += 1;
  const file = await rawFile(`${scratch}/image${images}.raw`, mebibytes, dataAt, extraBytes);
  const source = await importSource(file, `${pool}/image${images}`);
  return { file, source };
}

const sign = (source: string, key: string, ...more: string[]) =>
  siphonJson<ManifestFacts>('sign', source, '--key', `${scratch}/${key}.key`, ...more);
const verify = (file: string, manifest: string, key: string) =>
  run('python3', [`${scratch}/verify.py`, file, manifest, `${scratch}/${key}.pem`]);
const flip = (file: string, at: number) =>
  sh(`byte=$(od -An -tu1 -j${at} -N1 '${file}')
    printf "\\\\x$(printf %02x $(( byte ^ 1 )))" | dd of='${file}' bs=1 seek=${at} conv=notrunc status=none`);

for (const [key, extraBytes, id] of [
  ['ed', 0, ed.id],
  ['ec', 4097 + 512, ec.id],
] as const) {
  test(`signed by ${key}: verified by it alone, shown, and the document's verifier agrees, good and flipped`, async () => {
    const { file, source } = await image(extraBytes);
    const manifest = `${scratch}/${key}.manifest`;
    const claims = ['--name', 'debian', '--version', '13.2'];
    const facts = await sign(source, key, ...claims, '--output', manifest);
    const content = await readFile(file);
    const { sha256 } = tableOf(content, 4 * MIB);
    assert.deepEqual(facts, {
      sizeBytes: content.length,
      chunkBytes: 4 * MIB,
      dataChunks: 3,
      sha256,
      name: 'debian',
      version: '13.2',
      keyIds: [id],
    });
    const shown = await siphonJson<SourceAnswer>('describe', source);
    assert.deepEqual(shown.manifest, { facts, keyId: id });
    assert.match(await must('siphon', 'describe', source), new RegExp(`key ${id}, trusted here`));
    const [base] = await siphonJson<Base[]>('warm', source);
    assert.deepEqual(base?.verification, {
      kind: 'verified',
      by: [{ what: 'manifest', keyId: id }],
    });
    assert.deepEqual([base.digests, base.chunkTable], [{}, { sha256, chunkBytes: 4 * MIB }]);
    await must(
      'qemu-img',
      'compare',
      '-q',
      '-f',
      'raw',
      '-F',
      'qcow2',
      file,
      await must('siphon', 'path', source),
    );
    assert.match(await must('siphon', 'get', source), new RegExp(`manifest signed by key ${id}`));
    const good = await verify(file, manifest, key);
    assert.deepEqual([good.code, good.stdout.trim()], [0, 'good'], good.stderr);
    for (const at of [0, 20 * MIB + 5, 30 * MIB, content.length - 1]) {
      await flip(file, at);
      const bad = await verify(file, manifest, key);
      const chunk = Math.floor(at / (4 * MIB));
      assert.match(
        bad.stderr,
        new RegExp(`AssertionError: chunk ${chunk}, at byte ${chunk * 4 * MIB}`),
      );
      await flip(file, at);
    }
    assert.notEqual((await verify(file, manifest, key === 'ed' ? 'unknown' : 'ed')).code, 0);
  });
}

test('by a key that is not trusted, or revoked: refused before a byte moves, each by its source', async () => {
  const [first, second] = [await image(), await image()];
  await sign(first.source, 'unknown');
  await sign(second.source, 'ec');
  const before = await filesOfBases();
  await must('siphon', 'trust', 'revoke', ec.id);
  try {
    const refused = await siphon('warm', first.source, second.source);
    assert.equal(refused.code, 5, refused.stderr);
    const says = (source: string, id: string, why: string) =>
      assert.match(
        refused.stderr,
        new RegExp(`${source}: its manifest is signed by key ${id}, which is ${why}`),
      );
    says(first.source, unknown.id, 'not trusted here\n.*manifest-keys.*--remove-manifest');
    says(second.source, ec.id, 'revoked\n.*siphon sign');
    const { manifest } = await siphonJson<SourceAnswer>('describe', second.source);
    assert.match(manifest?.problem ?? '', /which is revoked/);
    assert.deepEqual(await filesOfBases(), before);
  } finally {
    await must('rm', `${KEYS}/../revoked/${ec.id}`);
  }
  await siphonJson('describe', first.source, '--remove-manifest');
  const [unsigned] = await siphonJson<Base[]>('warm', first.source);
  assert.equal(unsigned?.verification.kind, 'unverified');
  assert.match(await must('siphon', 'describe', first.source), /manifest +none/);
});

test('a manifest is of content: good for a copy, and of another image refused by its chunk, which is kept', async () => {
  const { file, source } = await image(700);
  const manifest = `${scratch}/content.manifest`;
  await sign(source, 'ed', '--output', manifest);
  const copy = await importSource(file, `${pool}/copy`);
  await siphonJson('describe', copy, '--manifest', manifest);
  const [base] = await siphonJson<Base[]>('warm', copy);
  assert.equal(base?.verification.kind, 'verified');
  for (const [name, at] of [
    ['start', 0],
    ['middle', 20 * MIB + 77],
    ['hole', 33 * MIB],
    ['end', 41 * MIB + 699],
  ] as const) {
    await flip(file, at);
    const bad = await importSource(file, `${pool}/bad-${name}`);
    await flip(file, at);
    await siphonJson('describe', bad, '--manifest', manifest);
    const before = await filesOfBases();
    const refused = await siphon('warm', bad);
    assert.equal(refused.code, 9, refused.stderr);
    const chunk = Math.floor(at / (4 * MIB));
    assert.match(
      refused.stderr,
      new RegExp(`${bad}: its manifest .*chunk ${chunk}, at byte ${chunk * 4 * MIB}`),
    );
    assert.deepEqual(await filesOfBases(), before);
    const kept = await siphonJson<Quarantined[]>('list', '--quarantined');
    assert.ok(kept.some((each) => each.source === bad && /its manifest/.test(each.why)));
  }
  await must('siphon', 'evict', '--quarantined');
  // Cut off, and extended: told without reading anything.
  for (const [name, size] of [
    ['short', 40],
    ['long', 44],
  ] as const) {
    const other = await importSource(
      await rawFile(`${scratch}/${name}.raw`, size, [0]),
      `${pool}/${name}`,
    );
    const refused = await siphon('describe', other, '--manifest', manifest);
    assert.deepEqual(
      [refused.code, /of other content/.test(refused.stderr)],
      [10, true],
      refused.stderr,
    );
  }
});

test('a base that is here is judged by its table; one that is not what a manifest says is served no longer', async () => {
  const { source } = await image();
  const [unverified] = await siphonJson<Base[]>('warm', source);
  assert.equal(unverified?.verification.kind, 'unverified');
  const facts = await sign(source, 'ed');
  assert.deepEqual(unverified.chunkTable?.sha256, facts.sha256);
  const [verified] = await siphonJson<Base[]>('warm', source);
  assert.deepEqual(verified?.verification, {
    kind: 'verified',
    by: [{ what: 'manifest', keyId: ed.id }],
  });
  assert.equal(verified.createdAtMs, unverified.createdAtMs);
  const other = await image(0, 41, [1]);
  const manifest = `${scratch}/other.manifest`;
  await sign(other.source, 'ed', '--output', manifest);
  await siphonJson('describe', source, '--manifest', manifest);
  const refused = await siphon('warm', source);
  assert.equal(refused.code, 9, refused.stderr);
  assert.equal((await siphonJson<Base>('get', source)).state, 'suspect');
  await must('siphon', 'evict', source);
});

test('what is no manifest, and a key that is none, are told; the key is in no log and no list of processes', async () => {
  const { source } = await image();
  const told = async (words: RegExp, code: number, ...args: string[]) => {
    const ran = await siphon(...args);
    assert.deepEqual([ran.code, words.test(ran.stderr)], [code, true], ran.stderr);
  };
  const file = `${scratch}/no.manifest`;
  await writeFile(file, '{"payloadType":"x"}');
  await told(/not a manifest: .*payloadType/, 9, 'describe', source, '--manifest', file);
  await told(/nowhere/, 4, 'describe', source, '--manifest', `${scratch}/nowhere`);
  await told(/it is no file/, 2, 'describe', source, '--manifest', scratch);
  await told(/more than one of/, 2, 'describe', source, '--manifest', file, '--remove');
  await told(/no private key/, 2, 'sign', source, '--key', `${scratch}/ed.pem`);
  await told(/nowhere/, 4, 'sign', source, '--key', `${scratch}/nowhere`);
  await told(
    /control character/,
    2,
    'sign',
    source,
    '--key',
    `${scratch}/ed.key`,
    '--name',
    'a\tb',
  );
  await sh(`openssl genpkey -algorithm RSA -out ${scratch}/rsa.key 2>/dev/null`);
  await told(/key of rsa/, 2, 'sign', source, '--key', `${scratch}/rsa.key`);
  await sh(`openssl pkey -in ${scratch}/ed.key -aes256 -passout pass:x -out ${scratch}/locked.key`);
  await told(/has a passphrase/, 2, 'sign', source, '--key', `${scratch}/locked.key`);
  const empty = `${pool}/nothing`;
  await must('rbd', 'create', '--size', '0', empty);
  await must('rbd', 'snap', 'create', '--no-progress', `${empty}@snap`);
  await told(/it is empty/, 5, 'sign', `rbd:${empty}@snap`, '--key', `${scratch}/ed.key`);
  const secret = ed.pem.split('\n')[1] ?? '';
  const { stdout } = await run('journalctl', ['--no-pager', '-o', 'cat']);
  assert.ok(secret.length > 20 && !stdout.includes(secret));
  const catalogue = await sh(
    `strings -n 8 /var/lib/siphon/*.db* 2>/dev/null | grep -c '${secret.slice(4, 40)}' || true`,
  );
  assert.equal(catalogue, '0');
});

test('100 GiB of which little is there are signed and verified in the time of what is there', async () => {
  const large = `${pool}/large`;
  await must('rbd', 'create', '--size', '100G', large);
  await must(
    'rbd',
    'bench',
    '--io-type',
    'write',
    '--io-size',
    '4M',
    '--io-total',
    '32M',
    '--io-pattern',
    'rand',
    large,
  );
  await must('rbd', 'snap', 'create', '--no-progress', `${large}@snap`);
  const beganAt = performance.now();
  await sign(`rbd:${large}@snap`, 'ed');
  const [base] = await siphonJson<Base[]>('warm', `rbd:${large}@snap`);
  assert.equal(base?.verification.kind, 'verified');
  assert.ok(performance.now() - beganAt < 30_000, 'within half a minute');
  await must('siphon', 'evict', base?.id ?? '');
});

test('siphond or the command that is killed while it signs leaves the old manifest or the new one', async () => {
  const { source } = await image(0, 160, [...Array(160).keys()]);
  const seen = new Set<string>();
  await sign(source, 'ed', '--version', '0');
  const versionOf = async () => {
    const { manifest } = await siphonJson<SourceAnswer>('describe', source);
    assert.equal(manifest?.keyId, ed.id, manifest?.problem ?? 'there is none');
    return manifest.facts?.version ?? '';
  };
  for (let kill = 1; kill <= KILLS; kill++) {
    const before = await versionOf();
    const signing = siphon('sign', source, '--key', `${scratch}/ed.key`, '--version', `${kill}`);
    await setTimeout(200 + kill * 150);
    if (kill % 2 === 0) await run('pkill', ['-KILL', '-f', `siphon.mjs sign ${source}`]);
    else process.kill(await siphondPid(), 'SIGKILL');
    const { code } = await signing;
    await answering();
    const now = await versionOf();
    assert.ok(now === before || now === `${kill}`, `${now} after ${before} and ${kill}`);
    assert.ok(code !== 0 || now === `${kill}`);
    seen.add(code === 0 ? 'signed' : 'killed');
  }
  assert.ok(seen.has('killed'));
  // What was begun ends: by itself, or at the next start.
  await until('all jobs ended', async () => {
    const jobs = await siphonJson<JobsAnswer['jobs']>('jobs', '--limit', '100');
    return jobs.some(({ kind, state }) => kind === 'sign' && state === 'open') ? undefined : true;
  });
  assert.equal((await sign(source, 'ed', '--version', 'last')).version, 'last');
});
