// The memory of the fill worker as it is installed, on an image as large as they come.

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import type { ExpectedSignature } from '../../../src/wire/verification-plan.ts';
import type { FillMethods, FillProgress } from '../../../src/wire/worker-protocol.ts';
import { startWorker } from '../../../src/worker/supervisor/index.ts';
import { must } from '../support/host.ts';
import { bigSource, fileCleanup, freshPool, scratchFolder } from '../support/images.ts';
import { specOf } from './sources.ts';

const WORKER = path.join(import.meta.dirname, '../../../dist/worker.mjs');
const MIB_MAX = 200;
const cleanup = fileCleanup();

/** A signature of something else: what it says does not matter here, that it is computed does. */
function someSignature(): ExpectedSignature {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
  const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' });
  const signature = sign('sha384', Buffer.from('x'), privateKey).toString('base64');
  return { keyType: 'ECC_SECP384R1', hash: 'sha384', signature, publicKeyPem, certificate: 'c' };
}

async function peakMebibytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}

test(`a fill of 8 TiB, with three hashes at once, takes less than ${MIB_MAX} MiB`, async () => {
  const pool = await freshPool(cleanup);
  const folder = await scratchFolder(cleanup);
  await bigSource(`${pool}/image`, 512);
  await must('rbd', 'resize', '--no-progress', '--size', '8T', `${pool}/image`);
  await must('rbd', 'snap', 'create', '--no-progress', `${pool}/image@large`);
  const digests = [
    { algorithm: 'sha256', hex: '0'.repeat(64), from: 'operator' },
    { algorithm: 'sha512', hex: '0'.repeat(128), from: 'operator' },
  ] as const;
  const plan = { digests, signature: someSignature() };
  const spec = await specOf(`${pool}/image@large`, folder, { plan });
  const worker = startWorker<FillMethods>({
    role: 'fill',
    kind: 'one-shot',
    settings: null,
    program: { execPath: process.execPath, args: [WORKER] },
    log: { info: () => {}, warn: (_, text) => console.error(text) },
  });
  // The data is through; the zeros after it would take hours, in memory that is there already.
  const abort = new AbortController();
  let isThrough = false;
  const onProgress = ({ readBytes, allocatedBytes }: FillProgress) => {
    if (isThrough || readBytes < allocatedBytes) return;
    isThrough = true;
    setTimeout(() => void measure(), 500);
  };
  let peak = Number.NaN;
  const measure = async () => {
    peak = await peakMebibytes(worker.stats.pid ?? 0);
    abort.abort();
  };
  const filling = worker.call('fill', spec, {
    deadlineMs: 120_000,
    signal: abort.signal,
    onProgress,
  });
  await assert.rejects(filling, { code: 'cancelled' });
  await worker[Symbol.asyncDispose](); // which waits until the worker has cleaned up
  assert.deepEqual(await readdir(folder), []);
  console.log(`peak: ${peak.toFixed(0)} MiB`);
  assert(peak < MIB_MAX, `${peak.toFixed(0)} MiB`);
});
