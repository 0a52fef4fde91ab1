// The fill worker: a verified file, or none; compared with `rbd` and `openssl`.

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { before, test } from 'node:test';
import type { SourceFacts, SourceName } from '../../../src/wire/vocabulary.ts';
import type { CephSettings, FillMethods, FillProgress } from '../../../src/wire/worker-protocol.ts';
import { startWorker } from '../../../src/worker/supervisor/index.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup, freshPool } from '../support/images.ts';
import {
  CONF,
  cephWorker,
  failing,
  isAlive,
  log,
  makeUsers,
  PROGRAM,
  soon,
} from './ceph-worker.ts';

const cleanup = fileCleanup();
const MIB = 2 ** 20;
/** What messages call the source, whatever it is. */
const NAME: SourceName = { pool: 'images', namespace: '', image: 'deb', snap: 's' };
let ceph: CephSettings;
let pool: string;
let folder: string;

before(async () => {
  pool = await freshPool(cleanup);
  const users = await makeUsers(cleanup, pool);
  ceph = { conf: CONF, users, timeoutMs: 5000 };
  folder = await must('mktemp', '-d', '/tmp/fill-XXXXXX');
  cleanup.after(() => run('rm', ['-rf', folder]));
});

/** An image of random data in its first `dataMib`, and its ids. */
async function source(
  image: string,
  sizeMib: number,
  dataMib: number,
): Promise<SourceFacts['ids']> {
  const spec = `${pool}/${image}`;
  const file = `${folder}.raw`;
  await must('truncate', '-s', `${sizeMib}M`, file);
  await must(
    'dd',
    'if=/dev/urandom',
    `of=${file}`,
    'bs=1M',
    `count=${dataMib}`,
    'conv=notrunc',
    'status=none',
  );
  await must('rbd', 'import', '--no-progress', file, spec);
  await must('rm', file);
  await must('rbd', 'snap', 'create', '--no-progress', `${spec}@snap`);
  await using worker = cephWorker(ceph.users);
  const name = { pool, namespace: '', image, snap: 'snap' };
  return (await worker.call('resolveSource', name, soon)).ids;
}

const fillWorker = () =>
  startWorker<FillMethods>({
    role: 'fill',
    settings: null,
    kind: 'one-shot',
    program: PROGRAM,
    log,
  });

const sha256Of = (image: string) =>
  must(
    'bash',
    '-c',
    `rbd export --no-progress ${pool}/${image}@snap - | openssl dgst -sha256 -r | cut -d' ' -f1`,
  );

test('a fill gives a file equal to the source, with its digest and progress', async () => {
  const ids = await source('whole', 64, 16);
  const hex = await sha256Of('whole');
  const plan = { digests: [{ algorithm: 'sha256', hex, from: 'operator' }] } as const;
  const partialPath = `${folder}/whole.partial`;
  const progress: FillProgress[] = [];
  await using worker = fillWorker();
  const spec = { ceph, ids, name: NAME, plan, partialPath, rawBecomes: 'qcow2' } as const;
  const onProgress = (each: FillProgress) => progress.push(each);
  const result = await worker.call('fill', spec, { deadlineMs: 60_000, onProgress });
  assert.deepEqual(
    [result.format, result.virtualSizeBytes, result.digests.sha256],
    ['qcow2', 64 * MIB, hex],
  );
  const { remainingMs: _, ...last } = progress.at(-1) ?? assert.fail('nothing was told');
  const [doneBytes, readBytes] = [64 * MIB, 16 * MIB];
  assert.deepEqual(last, {
    doneBytes,
    totalBytes: doneBytes,
    readBytes,
    allocatedBytes: readBytes,
  });
  await must(
    'qemu-img',
    'compare',
    '-f',
    'qcow2',
    '-F',
    'raw',
    partialPath,
    `rbd:${pool}/whole@snap`,
  );
  const digested = await worker.call(
    'digest',
    { ceph, ids, name: NAME, plan },
    { deadlineMs: 60_000 },
  );
  assert.equal(digested.digests.sha256, hex);
});

test('a digest that differs is corrupt, and what was read is left to be looked at', async () => {
  const ids = await source('wrong', 8, 4);
  const plan = {
    digests: [{ algorithm: 'sha256', hex: '0'.repeat(64), from: 'operator' }],
  } as const;
  await using worker = fillWorker();
  const spec = {
    ceph,
    ids,
    name: NAME,
    plan,
    partialPath: `${folder}/wrong`,
    rawBecomes: 'raw',
  } as const;
  await failing(
    worker.call('fill', spec, soon),
    'corrupt',
    /verify: rbd:images\/deb@s: sha256 is /,
  );
  await sh(`rbd export --no-progress ${pool}/wrong - | cmp - ${spec.partialPath}`);
});

for (const way of ['cancel', 'dispose', 'kill -9'] as const) {
  test(`a fill that is ended by ${way} ends at once${way === 'kill -9' ? '' : ', and leaves nothing'}`, async () => {
    const name = way.replaceAll(' ', '');
    const ids = await source(name, 512, 256);
    const worker = fillWorker();
    const controller = new AbortController();
    const begun = Promise.withResolvers<void>();
    const plan = {
      digests: [{ algorithm: 'sha512', hex: '0'.repeat(128), from: 'operator' }],
    } as const;
    const spec = {
      ceph,
      ids,
      name: NAME,
      plan,
      partialPath: `${folder}/${name}`,
      rawBecomes: 'raw',
    } as const;
    const call = worker.call('fill', spec, {
      deadlineMs: 240_000,
      signal: controller.signal,
      onProgress: () => begun.resolve(),
    });
    const code = way === 'cancel' ? 'cancelled' : 'unavailable';
    const failed = failing(call, code, /fill/);
    await Promise.race([begun.promise, call]);
    const pid = worker.stats.pid!;
    if (way === 'cancel') controller.abort();
    if (way === 'kill -9') process.kill(pid, 'SIGKILL');
    if (way === 'dispose') await worker[Symbol.asyncDispose]();
    await failed;
    await worker[Symbol.asyncDispose]();
    await until('the process is gone', () => !isAlive(pid));
    if (way !== 'kill -9') assert.ok(!(await readdir(folder)).includes(name));
  });
}
