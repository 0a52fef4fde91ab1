// The manifest beside a source becomes what a fill has to keep to, or the reason for which it may not begin.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signManifest } from '../../../src/trust/manifest/manifest.ts';
import { planVerification } from '../../../src/trust/plan.ts';
import { CHUNK, keysOf, opensslKey, sparse, tableOf } from '../../support/manifests.ts';

const key = opensslKey('ed25519');
const content = sparse(5 * CHUNK + 3, [0, 5]);
const envelope = signManifest(tableOf(content), {}, key.privateKey);
const plan = (keys = keysOf([key.publicKey]), sizeBytes = content.length) =>
  planVerification({
    manifest: { envelope, subject: 'rbd:p/i@s', sizeBytes, findKeys: async () => keys },
    findCertificate: async () => undefined,
    now: 0,
  });

test('a good one is planned, with its table and how much of it is data', async () => {
  const { sha256, bytes } = tableOf(content);
  const table = { sha256, chunkBytes: CHUNK, base64: bytes.toString('base64') };
  const manifest = { keyId: key.id, dataBytes: 2 * CHUNK, table };
  assert.deepEqual(await plan(), { digests: [], manifest });
});

test('one that is not good is refused, by its source', async () => {
  const message = /rbd:p\/i@s: its manifest/;
  await assert.rejects(plan(keysOf([])), { code: 'refused', message });
  await assert.rejects(plan(keysOf([key.publicKey], [key.id])), { code: 'refused', message });
  await assert.rejects(plan(undefined, content.length + 1), { code: 'mismatch', message });
});
