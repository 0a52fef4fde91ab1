// The commands of docs/trust.md, run as they stand by this machine's openssl.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { readPropertiesFile } from '../../../src/cli/properties-file.ts';
import { certificateFolder, planVerification, readTrust } from '../../../src/trust/index.ts';
import { verifyIn } from '../../support/signature-matrix.ts';

const ROOT = path.join(import.meta.dirname, '../../..');
const run = promisify(execFile);

test('what docs/trust.md says to type signs, trusts, and revokes', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'siphon-trust-page-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const page = await readFile(path.join(ROOT, 'docs/trust.md'), 'utf8');
  const trust = path.join(folder, 'trust');
  const image = randomBytes(3000);
  await writeFile(path.join(folder, 'image.raw'), image);
  await writeFile(path.join(folder, 'siphon.toml'), `trust.folder = "${trust}"\n`);
  const main = path.join(ROOT, 'src/cli/main.ts');
  // siphond is asked nothing here: describe and warm are for a host with Ceph.
  const stand = `siphon() { [ "$1" != trust ] || '${process.execPath}' '${main}' "$@" --config siphon.toml; }`;
  const type = async (heading: string) => {
    const section = page.split(/^## /m).find((each) => each.startsWith(heading)) ?? '';
    const blocks = [...section.matchAll(/^```bash\n([^]*?)^```$/gm)].map(([, text]) => text);
    assert.notEqual(blocks.length, 0);
    // An answer to "Sign the certificate?" is for `ca -revoke` none: it does not ask.
    const script = ['set -e', stand, ...blocks].join('\n');
    await run('bash', ['-c', script], { cwd: folder, timeout: 120_000 });
  };
  await type('Sign');
  const properties = await readPropertiesFile(path.join(folder, 'image.json'));
  const { verification } = await verifyIn(trust, properties, image);
  assert.equal(verification.kind, 'verified');
  const settings = { folder: trust, isChainNeeded: true, isPathLengthNeeded: true };
  const plan = () =>
    planVerification({
      properties,
      findCertificate: certificateFolder(trust),
      readTrust: () => readTrust(settings),
      now: Date.now() + 2000,
    });
  assert.equal((await plan()).signature?.keyType, 'RSA-PSS');
  await type('Revoke');
  await assert.rejects(plan(), /the certificate was revoked here/);
  await rm(path.join(trust, 'revoked'), { recursive: true });
  await assert.rejects(plan(), /was revoked by its issuer \(O=Example, CN=Image authority\)/);
});
