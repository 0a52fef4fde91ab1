// Specs of exports for sources that tests made with `rbd`, and what independent tools say of the outcome.

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import type { ErrorCode } from '../../../src/wire/errors.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { parseSource } from '../../../src/wire/source.ts';
import type { SourceIds } from '../../../src/wire/vocabulary.ts';
import type { CephSettings, FillSpec } from '../../../src/wire/worker-protocol.ts';
import { must, sh } from '../support/host.ts';

const admin = { name: 'admin' };
export const CEPH: CephSettings = {
  conf: '/etc/ceph/ceph.conf',
  timeoutMs: 10_000,
  users: { fill: admin, snapshot: admin, publish: admin },
};

/** The ids of POOL/[NAMESPACE/]IMAGE@SNAP, as `rbd` and `ceph` tell them. */
export async function idsOf(source: string): Promise<SourceIds> {
  const [image = '', snap = ''] = source.replace(/^rbd:/, '').split('@');
  const parts = image.split('/');
  const json = async (...args: [string, ...string[]]) =>
    JSON.parse(await must(...args, '--format', 'json'));
  const [cluster, pools, info, snaps] = await Promise.all([
    json('ceph', 'fsid') as Promise<{ fsid: string }>,
    json('ceph', 'osd', 'pool', 'ls', 'detail') as Promise<
      { pool_id: number; pool_name: string }[]
    >,
    json('rbd', 'info', image) as Promise<{ id: string }>,
    json('rbd', 'snap', 'ls', image) as Promise<{ id: number; name: string }[]>,
  ]);
  return {
    fsid: cluster.fsid,
    poolId: pools.find((pool) => pool.pool_name === parts[0])?.pool_id ?? assert.fail('no pool'),
    namespace: parts.length === 3 ? (parts[1] ?? '') : '',
    imageId: info.id,
    snapId: snaps.find((one) => one.name === snap)?.id ?? assert.fail('no snapshot'),
  };
}

/** The fill of a source into `folder`, with nothing to check, unless `more` says otherwise. */
export async function specOf(
  source: string,
  folder: string,
  more: Partial<FillSpec> = {},
): Promise<FillSpec> {
  const ids = more.ids ?? (await idsOf(source));
  return {
    ceph: CEPH,
    ids,
    name: parseSource(source.startsWith('rbd:') ? source : `rbd:${source}`),
    plan: { digests: [] },
    partialPath: `${folder}/partial`,
    rawBecomes: 'qcow2',
    ...more,
  };
}

/** What `rbd export` makes of it, as a file. */
export async function reference(source: string, folder: string): Promise<string> {
  const file = `${folder}/reference`;
  await must('rm', '-f', file);
  await must('rbd', 'export', '--no-progress', source.replace(/^rbd:/, ''), file);
  return file;
}

export async function opensslDigest(algorithm: 'sha256' | 'sha512', file: string): Promise<string> {
  return (await must('openssl', 'dgst', `-${algorithm}`, '-r', file)).slice(
    0,
    algorithm === 'sha256' ? 64 : 128,
  );
}

/** Whether qemu-img finds the file sound and equal to the reference. */
export async function assertSameDisk(
  file: string,
  reference: string,
  referenceFormat = 'raw',
): Promise<void> {
  await must('qemu-img', 'check', '-q', '-f', 'qcow2', file);
  await must('qemu-img', 'compare', '-q', '-f', referenceFormat, '-F', 'qcow2', reference, file);
}

/** Fails unless `exporting` rejects with this code, in these words, and the folder is as empty as `left` says. */
export async function assertRefused(
  exporting: Promise<unknown>,
  code: ErrorCode,
  words: RegExp,
  folder: string,
  left: readonly string[] = [],
): Promise<void> {
  await assert.rejects(exporting, (error) => {
    assert(error instanceof OperatingError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, words);
    return true;
  });
  // What is not what it must be stays, for whoever wants to look at it.
  const kept = code === 'corrupt' ? ['partial'] : left;
  assert.deepEqual(await readdir(folder), kept);
}

/** Changes one byte in the middle of a file. */
export const flipBit = (file: string): Promise<string> =>
  sh(`at=$(( $(stat -c %s '${file}') / 2 )); byte=$(od -An -tu1 -j$at -N1 '${file}');
      printf "\\\\x$(printf %02x $(( byte ^ 1 )))" | dd of='${file}' bs=1 seek=$at conv=notrunc status=none`);
