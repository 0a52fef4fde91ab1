// siphon trust impact: what stands on a key, of ten thousand bases in a catalogue and a trust folder made by openssl; asked over a socket,
// and by the command.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { createClient } from '../../../src/cli/client.ts';
import { impactOf } from '../../../src/sidecar/trust/impact.ts';
import { applyReach } from '../../../src/sidecar/trust/reach.ts';
import { revokeTrust } from '../../../src/sidecar/trust/revoke.ts';
import { surveyTrust } from '../../../src/trust/index.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { ImpactAnswer } from '../../../src/wire/trust-api.ts';
import type { VerifiedBy } from '../../../src/wire/vocabulary.ts';
import { CA, type Holder, makeHolder, SIGNER } from '../../support/authorities.ts';
import { opensslKey } from '../../support/manifests.ts';
import { type ManyBase, manyBaseId, writeManyBases } from '../../support/many-bases.ts';
import { bySignature, keptSignature } from '../../support/signed-bases.ts';
import { openWorld, type World } from '../cache/support.ts';
import { keptLog } from './support/quiet.ts';
import { serveFakes } from './support/served.ts';

const MAIN = path.join(import.meta.dirname, '../../../src/cli/main.ts');
const [UUID, OTHER] = [
  '5b4fbcee-4fd5-4a31-9a5a-1a1d4b4e5f0a',
  '5b4fbcee-4fd5-4a31-9a5a-1a1d4b4e5f0b',
];
const COUNT = 10_000;
const MANIFEST: VerifiedBy = { what: 'manifest', keyId: 'ab'.repeat(32) };
let scratch = '';
let root: Holder;
let between: Holder;
let signer: Holder;
let other: Holder;
let world: World & AsyncDisposable;
let config: { readonly trust: Parameters<typeof impactOf>[0]['config']['trust'] };

before(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'siphon-impact-'));
  root = await makeHolder(scratch, 'root', { extensions: CA() });
  between = await makeHolder(scratch, 'between', { issuer: root, extensions: CA() });
  signer = await makeHolder(scratch, 'signer', { issuer: between, extensions: SIGNER });
  other = await makeHolder(scratch, 'other', { issuer: root, extensions: SIGNER });
  const folder = path.join(scratch, 'trust');
  for (const name of ['anchors', 'manifest-keys'])
    await mkdir(path.join(folder, name), { recursive: true });
  await copyFile(root.certificate, path.join(folder, 'anchors', 'root-1.pem'));
  await copyFile(between.certificate, path.join(folder, 'between.pem'));
  await copyFile(signer.certificate, path.join(folder, `${UUID}.pem`));
  await copyFile(other.certificate, path.join(folder, `${OTHER}.pem`));
  await writeFile(
    path.join(folder, 'manifest-keys', 'owner.pem'),
    opensslKey('ed25519').publicKey.export({ type: 'spki', format: 'pem' }),
  );
  config = { trust: { folder, isChainNeeded: false, isPathLengthNeeded: false, rules: [] } };
  writeManyBases(scratch, manyBases());
  world = await openWorld(scratch);
});
after(async () => {
  await world[Symbol.asyncDispose]();
  await rm(scratch, { recursive: true, force: true });
});

/** 4000 by a signature, 2000 by that and a manifest, 2000 by another's, the rest by a manifest or nothing; on each tenth a domain runs. */
function manyBases(): ManyBase[] {
  return Array.from({ length: COUNT }, (_, at) => {
    const uuid = at < 6000 ? UUID : OTHER;
    const isSigned = at < 8000;
    const by: VerifiedBy[] = [
      ...(isSigned ? [bySignature(uuid)] : []),
      ...((at >= 4000 && at < 6000) || at >= 9000 ? [MANIFEST] : []),
    ];
    const which = Buffer.from(`signature ${at}`).toString('base64');
    const whose = at < 6000 ? signer : other;
    const domain = { uuid: `u${at}`, name: `d${at}` };
    return {
      verification: by.length === 0 ? { kind: 'unverified' } : { kind: 'verified', by },
      signatures: isSigned ? [keptSignature(whose, uuid, which)] : [],
      holders: [
        ...(at % 10 === 0 ? [{ ...domain, kind: 'running' as const }] : []),
        ...(at % 10 < 2 ? [{ ...domain, kind: 'defined' as const }] : []),
        ...([0, 5999].includes(at) ? [{ uuid: 'two', name: 'two', kind: 'defined' as const }] : []),
      ],
    };
  });
}

const ask = (key: string) =>
  impactOf({ config, cache: world.cache, catalogue: world.catalogue }, key);
const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => manyBaseId(from + at));
const byOutcome = ({ bases }: ImpactAnswer, outcome: string) =>
  bases.filter((base) => base.outcome === outcome).map(({ id }) => id);
const survey = () => surveyTrust(config.trust, Date.now());

describe('before a revocation', () => {
  test('a certificate: the bases that would be suspect, those that something else holds, and the domains of both', async () => {
    const answer = await ask(UUID);
    assert.deepEqual(
      [answer.key, answer.isRevoked, answer.of.map(({ what }) => what)],
      [UUID, false, ['CN=signer']],
    );
    assert.deepEqual(byOutcome(answer, 'suspect'), range(0, 4000));
    assert.deepEqual(byOutcome(answer, 'stands'), range(4000, 6000));
    const [first] = answer.bases;
    assert.deepEqual(
      [first?.state, first?.verifiedBy, first?.lost],
      ['ready', [bySignature(UUID)], [bySignature(UUID)]],
    );
    assert.match(first?.path ?? '', /^\/srv\/bases\/.*\.qcow2$/);
    // 600 that run, 600 that are only defined, and one on two bases.
    assert.equal(answer.domains.length, 1201);
    const domains = answer.domains.map(({ name, isRunning, isDefined, isReached, bases }) => {
      return [name, [isRunning, isDefined, isReached, bases.length]] as const;
    });
    const of = new Map(domains);
    assert.deepEqual(of.get('d10'), [true, true, true, 1]);
    assert.deepEqual(of.get('d11'), [false, true, true, 1]);
    assert.deepEqual(of.get('d4000'), [true, true, false, 1]);
    assert.deepEqual(of.get('two'), [false, true, true, 2]);
  });

  test('an authority: all below it, by its key, or the name of its file', async () => {
    const { anchors, certificates } = await survey();
    const rootKey = anchors[0]?.keyId ?? '';
    const betweenKey = certificates.find(({ subject }) => subject === 'CN=between')?.keyId ?? '';
    for (const name of [rootKey, 'root-1', 'root-1.pem', anchors[0]?.file ?? '']) {
      const answer = await ask(name);
      assert.equal(answer.key, rootKey);
      assert.deepEqual(byOutcome(answer, 'suspect'), [...range(0, 4000), ...range(6000, 8000)]);
    }
    assert.deepEqual(byOutcome(await ask(betweenKey), 'suspect'), range(0, 4000));
  });

  test('a key that only bases know of; one that nothing stands on; and one that nobody knows', async () => {
    const answer = await ask('AB'.repeat(32));
    assert.deepEqual(answer.of, []);
    assert.deepEqual(byOutcome(answer, 'suspect'), range(9000, 10_000));
    assert.deepEqual(byOutcome(answer, 'stands'), range(4000, 6000));
    const { manifestKeys } = await survey();
    const owner = await ask('owner.pem');
    assert.deepEqual([owner.key, owner.bases, owner.domains], [manifestKeys[0]?.keyId, [], []]);
    for (const nobody of ['nobody', 'cd'.repeat(32), UUID.replace(/.$/, 'c')])
      await assert.rejects(ask(nobody), (error) => {
        assert(error instanceof OperatingError);
        assert.match(`${error.code} ${error.hint}`, /^not-found siphon trust list/);
        return true;
      });
  });
});

test('over the socket for reading, and by the command', async () => {
  await using served = await serveFakes(() => ({ impact: ask }));
  const { socket, readSocket } = served.sockets;
  const answer = await createClient({ all: readSocket }).get<ImpactAnswer>('/v1/trust/impact', {
    key: 'between',
  });
  assert.equal(answer.bases.length, 6000);
  const run = async (at: string, ...args: readonly string[]) => {
    const env = { ...process.env, SIPHON_SOCKET: at };
    const child = spawn(process.execPath, [MAIN, 'trust', ...args], { env, timeout: 60_000 });
    const read = Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
    const [stdout, stderr, [code]] = await read;
    return { stdout, stderr, code: code as number | null };
  };
  const told = (await run(socket, 'impact', UUID)).stdout.split('\n');
  const line = (words: string) => told.find((each) => each.startsWith(words)) ?? '';
  assert.match(line('revoked'), /no: this is what would be reached$/);
  const reaches = '4000 bases of 6000 that were verified by it, and 801 domains, of which 400 run';
  assert.equal(line('reaches').replace(/^reaches +/, ''), reaches);
  assert.match(line('rbd:images/i4000@s'), / ready +stays: something else vouches /);
  assert.match(line('d11 '), /^d11 +u11 +no +yes +1 +yes$/);
  const { bases } = JSON.parse(
    (await run(socket, 'impact', 'owner', '--json')).stdout,
  ) as ImpactAnswer;
  assert.deepEqual(bases, []);
  const unknown = await run(socket, 'impact', 'nobody');
  assert.deepEqual([unknown.code, /siphon trust list shows/.test(unknown.stderr)], [4, true]);
  const down = await run(`${socket}.none`, 'impact', UUID);
  assert.notEqual(down.code, 0);
  assert.match(down.stderr, /siphond/);
});

test('once it is revoked, what it was said to reach is suspect, and that is told once', async () => {
  const { log, lines } = keptLog();
  const reaching = { config, cache: world.cache, log };
  const revoked = await revokeTrust(config.trust, `${UUID}.pem`, Date.now());
  assert.equal(path.basename(revoked.file), UUID);
  await applyReach(reaching);
  const answer = await ask(UUID);
  assert.equal(answer.isRevoked, true);
  const suspects = answer.bases.filter(({ state }) => state === 'suspect').map(({ id }) => id);
  assert.deepEqual(suspects, range(0, 4000));
  const told = lines.map(
    (each) => JSON.parse(each.replace(/^<\d>/, '')) as Record<string, unknown>,
  );
  const line = told.find(({ msg }) => /was revoked/.test(String(msg)));
  assert.equal(line?.['count'], 4000);
  assert.match(String(line?.['why']), new RegExp(UUID));
  assert.ok(told.some(({ audit, what }) => audit === true && what === 'doubt'));
  const before = lines.length;
  await applyReach(reaching);
  assert.equal(lines.length, before, 'it is told once');
  assert.match(await readFile(revoked.file, 'utf8'), /revoked at/);
});
