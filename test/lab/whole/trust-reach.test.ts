// Revoked after the fill: what it reaches, on the installed siphond, with domains that run and domains that are only defined; and back again
// without a fill.

import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { before, beforeEach, describe, test } from 'node:test';
import type { StatusAnswer } from '../../../src/wire/api.ts';
import type { SourceAnswer } from '../../../src/wire/manifest-api.ts';
import type { ImpactAnswer, TrustAnswer } from '../../../src/wire/trust-api.ts';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { CA, type Holder, makeCrl, makeHolder, SIGNER } from '../../support/authorities.ts';
import { opensslKey } from '../../support/manifests.ts';
import { signedProperties, signFile } from '../../support/signers.ts';
import { defineDomain, domainState, installHook, overlayOn } from '../support/domains.ts';
import { becomes, must, run, sh, until } from '../support/host.ts';
import {
  bigSource,
  fileCleanup,
  freshPool,
  importSource,
  rawFile,
  scratchFolder,
} from '../support/images.ts';
import {
  answering,
  filesOfBases,
  fillWorkers,
  siphon,
  siphondPid,
  siphonJson,
} from '../support/siphon.ts';

const TRUST = '/etc/siphon/trust';
const UUID = '5b4fbcee-4fd5-4a31-9a5a-1a1d4b4e5f0a';
const cleanup = fileCleanup();
const owner = opensslKey('ed25519');
let pool = '';
let scratch = '';
let root: Holder;
let signer: Holder;
let count = 0;

before(async () => {
  await answering();
  await installHook();
  pool = await freshPool(cleanup);
  scratch = await scratchFolder(cleanup);
  cleanup.after(async () => {
    await sh(
      `rm -rf ${TRUST}/anchors ${TRUST}/crls ${TRUST}/revoked ${TRUST}/manifest-keys ${TRUST}/*.pem`,
    );
    await must('siphon', 'reload');
  });
  root = await makeHolder(scratch, 'root', { extensions: CA(0) });
  signer = await makeHolder(scratch, 'signer', { issuer: root, extensions: SIGNER, serial: 7 });
  await must('siphon', 'trust', 'add', root.certificate, '--anchor');
  await must('siphon', 'trust', 'add', signer.certificate, '--uuid', UUID);
  await must('install', '-d', '-m', '755', `${TRUST}/manifest-keys`);
  const pem = owner.publicKey.export({ type: 'spki', format: 'pem' });
  await writeFile(`${TRUST}/manifest-keys/owner.pem`, pem, { mode: 0o644 });
  await writeFile(`${scratch}/owner.key`, owner.pem, { mode: 0o600 });
});
beforeEach(() => sh(`rm -rf ${TRUST}/revoked ${TRUST}/crls`));

/** An image with a signature in the record beside it, filled. */
async function signed(): Promise<string> {
  count += 1;
  const file = await rawFile(`${scratch}/i${count}`, 6, [0, count % 6], 512);
  const source = await importSource(file, `${pool}/i${count}`);
  const signature = await signFile({ ...signer, type: 'ECC_SECP384R1' }, 'SHA-256', file);
  const said = signedProperties('ECC_SECP384R1', 'SHA-256', signature, UUID);
  await writeFile(`${scratch}/said.json`, JSON.stringify(said));
  await siphonJson('describe', source, '--properties', `${scratch}/said.json`);
  const [base] = await siphonJson<Base[]>('warm', source);
  assert.equal(base?.verification.kind, 'verified');
  return source;
}

async function domainOn(source: string, name: string): Promise<string> {
  const path = await overlayOn(source, `${scratch}/${name}.qcow2`, '7M');
  return defineDomain(cleanup, { name, disks: [{ kind: 'file', path }] });
}

const baseOf = (source: string) => siphonJson<Base>('get', source);
const stateOf = async (source: string) => (await baseOf(source)).state;
/** By which a file is known again: no fill has made another. */
async function fileOf(source: string): Promise<readonly unknown[]> {
  const { ino, mtimeMs } = await stat(await must('siphon', 'path', source));
  return [ino, mtimeMs, (await baseOf(source)).createdAtMs];
}
const revoke = (key: string) => must('siphon', 'trust', 'revoke', key);
const metric = (name: string) =>
  sh(`curl -s --unix-socket /run/siphon/read.sock http://x/metrics | grep '^${name}' || true`);

async function refusedStart(name: string, words: RegExp): Promise<void> {
  const ran = await run('virsh', ['-q', 'start', name]);
  assert.deepEqual([ran.code, words.test(ran.stderr)], [1, true], ran.stderr);
  assert.equal(await domainState(name), 'shut off');
}

describe('a certificate that is revoked after the fill', () => {
  test('its bases are suspect, what runs on them runs on, nothing starts; taken back, all is as it was', async () => {
    const source = await signed();
    const [runs, lies] = [
      await domainOn(source, 'reach-runs'),
      await domainOn(source, 'reach-lies'),
    ];
    await must('virsh', '-q', 'start', runs);
    const file = await fileOf(source);
    await until('both domains lease it', async () => {
      const { leases } = await baseOf(source);
      return leases.filter(({ kind }) => kind === 'defined').length === 2 || undefined;
    });
    const before = await siphonJson<ImpactAnswer>('trust', 'impact', UUID);
    const its = (answer: ImpactAnswer) => answer.bases.find(({ path }) => path.includes(imageId));
    const { ids } = await siphonJson<SourceAnswer>('describe', source);
    const imageId = `/${ids.imageId}@${ids.snapId}.`;
    assert.deepEqual([before.isRevoked, its(before)?.outcome], [false, 'suspect']);
    const listed = before.domains.filter(({ bases }) => bases.includes(its(before)?.id ?? ''));
    assert.deepEqual(new Set(listed.map(plain)), new Set(await toldByVirsh([runs, lies])));
    const told = await revoke(UUID);
    assert.match(told, /it reaches [1-9]\d* bases?, and 2 domains, of which 1 run/);
    await becomes(() => stateOf(source), 'suspect');
    const { suspicion } = await baseOf(source);
    assert.deepEqual([suspicion?.of, suspicion?.why.includes(UUID)], ['revoked', true]);
    await refusedStart(lies, new RegExp(`is not trusted any more .*${UUID}.* was revoked here`));
    assert.equal(await domainState(runs), 'running');
    assert.deepEqual(await fileOf(source), file);
    await shouts();
    const warm = await siphon('warm', source);
    assert.deepEqual([warm.code, /was revoked here/.test(warm.stderr)], [5, true], warm.stderr);
    const after = await siphonJson<ImpactAnswer>('trust', 'impact', `${UUID}.pem`);
    assert.deepEqual([after.isRevoked, its(after)?.state], [true, 'suspect']);
    await must('rm', `${TRUST}/revoked/${UUID}`);
    await becomes(() => stateOf(source), 'ready');
    assert.deepEqual(await fileOf(source), file);
    await must('virsh', '-q', 'start', lies);
    assert.deepEqual([await domainState(lies), await domainState(runs)], ['running', 'running']);
  });

  test('what was changed while siphond hung, and was then killed, counts from its first answer on', async () => {
    const source = await signed();
    const file = await fileOf(source);
    const pid = await siphondPid();
    process.kill(pid, 'SIGSTOP');
    assert.match(await revoke(UUID), /siphond does not tell now/);
    process.kill(pid, 'SIGKILL');
    await answering();
    assert.equal(await stateOf(source), 'suspect');
    await sh(
      `systemctl stop siphond.service; rm ${TRUST}/revoked/${UUID}; systemctl start siphond.service`,
    );
    await answering();
    assert.equal(await stateOf(source), 'ready');
    assert.deepEqual(await fileOf(source), file);
  });

  test('a base that a manifest holds stays ready, until that key goes, too', async () => {
    const [alone, held] = [await signed(), await signed()];
    await siphonJson('sign', held, '--key', `${scratch}/owner.key`);
    await siphonJson('warm', held);
    const both = (await baseOf(held)).verification;
    assert.equal(both.kind === 'verified' && both.by.length, 2);
    await revoke(UUID);
    await becomes(() => stateOf(alone), 'suspect');
    assert.equal(await stateOf(held), 'ready');
    const answer = await siphonJson<ImpactAnswer>('trust', 'impact', 'owner');
    const { id } = await baseOf(held);
    assert.deepEqual(
      answer.bases.filter((base) => base.id === id).map(({ outcome }) => outcome),
      ['suspect'],
    );
    await revoke('owner.pem');
    await becomes(() => stateOf(held), 'suspect');
    assert.match((await baseOf(held)).suspicion?.why ?? '', new RegExp(owner.id));
  });
});

test('a key that is revoked while its image is read: no base comes of it, and nothing is left', async () => {
  const source = await bigSource(`${pool}/big`, 256);
  await siphonJson('sign', source, '--key', `${scratch}/owner.key`);
  const before = await filesOfBases();
  const warming = siphon('warm', source);
  const pid = await until('a worker fills', async () => (await fillWorkers())[0]);
  process.kill(pid, 'SIGSTOP');
  await revoke('owner');
  process.kill(pid, 'SIGCONT');
  const { code, stderr } = await warming;
  assert.deepEqual([code, /its key was revoked here/.test(stderr)], [5, true], stderr);
  assert.deepEqual(await filesOfBases(), before);
  assert.equal((await siphon('get', source)).code, 4);
});

type Told = readonly [string, boolean, boolean];

const plain = ({ name, isRunning, isDefined }: ImpactAnswer['domains'][number]): Told => [
  name,
  isRunning,
  isDefined,
];

async function toldByVirsh(names: readonly string[]): Promise<Told[]> {
  const all = (await must('virsh', 'list', '--name', '--all', '--persistent')).split('\n');
  const running = (await must('virsh', 'list', '--name')).split('\n');
  return names.map((name) => [name, running.includes(name), all.includes(name)]);
}

/** Where an operator looks. */
async function shouts(): Promise<void> {
  const check = await siphon('check');
  assert.deepEqual(
    [check.code, /bases? (is|are) suspect: .*revoked here/.test(check.stdout)],
    [1, true],
    check.stdout,
  );
  const { problems } = await siphonJson<StatusAnswer>('status');
  assert.ok(problems.some(({ where, what }) => where === 'trust' && what.includes(UUID)));
  assert.match(await metric('siphon_suspect_bases{of="revoked"}'), / [1-9]\d*$/);
  const journal = await must('journalctl', '--no-pager', '-o', 'cat', '-u', 'siphond');
  assert.match(journal, new RegExp(`"audit":true.*"what":"doubt".*${UUID}`));
}

describe('an authority', () => {
  test('that revokes by a CRL, and takes that back by the next one', async () => {
    const source = await signed();
    const file = await fileOf(source);
    const list = async (revoked: readonly number[]) => {
      await writeFile(`${scratch}/list.crl`, await makeCrl(scratch, root, { revoked }));
      await must('siphon', 'trust', 'add', `${scratch}/list.crl`, '--crl', '--replace');
    };
    await list([7]);
    await becomes(() => stateOf(source), 'suspect');
    assert.match((await baseOf(source)).suspicion?.why ?? '', /revoked by its issuer .*CRL/);
    await list([8]);
    await becomes(() => stateOf(source), 'ready');
    assert.deepEqual(await fileOf(source), file);
  });

  test('that is revoked itself, by the name of its file, and whose file is removed then', async () => {
    const source = await signed();
    const { anchors } = await siphonJson<TrustAnswer>('trust', 'list');
    const [anchor] = anchors;
    assert(anchor !== undefined);
    await revoke(anchor.file.replace(/.*\//, ''));
    const other = await ofManifest();
    await becomes(() => stateOf(source), 'suspect');
    assert.match((await baseOf(source)).suspicion?.why ?? '', /its issuer .*CN=root.*revoked here/);
    await must('rm', anchor.file);
    await revoke('owner.pem');
    await becomes(() => stateOf(other), 'suspect'); // the folder was looked at since
    assert.equal(await stateOf(source), 'suspect');
    await must('siphon', 'trust', 'add', root.certificate, '--anchor');
    await sh(`rm -rf ${TRUST}/revoked`);
    await becomes(() => stateOf(source), 'ready');
  });
});

/** Held by a manifest alone. */
async function ofManifest(): Promise<string> {
  count += 1;
  const file = await rawFile(`${scratch}/i${count}`, 4, [1]);
  const source = await importSource(file, `${pool}/i${count}`);
  await siphonJson('sign', source, '--key', `${scratch}/owner.key`);
  await siphonJson('warm', source);
  return source;
}

describe('an image that is deactivated', () => {
  test('is not filled, its bases are suspect at once, and ready again once it is active', async () => {
    const source = await signed();
    const lies = await domainOn(source, 'reach-off');
    const file = await fileOf(source);
    await must('siphon', 'describe', source, '--property', 'status=deactivated');
    assert.deepEqual(
      [(await baseOf(source)).state, (await baseOf(source)).suspicion?.of],
      ['suspect', 'deactivated'],
    );
    await refusedStart(lies, /is not trusted any more \(its image is deactivated/);
    const warm = await siphon('warm', source);
    assert.deepEqual([warm.code, /is deactivated/.test(warm.stderr)], [5, true], warm.stderr);
    assert.match(await metric('siphon_suspect_bases{of="deactivated"}'), / 1$/);
    const { properties } = await siphonJson<SourceAnswer>('describe', source);
    assert.equal(properties?.img_signature_certificate_uuid, UUID, 'the rest of the record stays');
    await must('siphon', 'describe', source, '--property', 'status=active');
    assert.equal(await stateOf(source), 'ready');
    assert.deepEqual(await fileOf(source), file);
    const wrong = await siphon('describe', source, '--property', 'status=Deactivated');
    assert.equal(wrong.code, 2, wrong.stderr);
  });

  test('by another host is found by the next look', async () => {
    const source = await signed();
    const file = await fileOf(source);
    const { ids } = await siphonJson<SourceAnswer>('describe', source);
    const set = (status: string) => {
      const record = JSON.stringify({ schema: 1, properties: { status } });
      const key = `${ids.imageId}@${ids.snapId}`;
      return must('rados', '-p', pool, 'setomapval', 'siphon.sources', key, record);
    };
    // A look is due at each start.
    for (const [status, state] of [
      ['deactivated', 'suspect'],
      ['active', 'ready'],
    ] as const) {
      await set(status);
      await must('systemctl', 'restart', 'siphond.service');
      await answering();
      await becomes(() => stateOf(source), state);
    }
    assert.deepEqual(await fileOf(source), file);
  });
});
