// Scrub and mend on real file systems: where blocks can be shared, the new file shares what was good (filefrag says so); and what a disk does not
// give back, since its checksum is wrong, is mended like any other damage.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { BaseFileSpec } from '../../../src/wire/scrub-protocol.ts';
import type { CephSettings, FillMethods } from '../../../src/wire/worker-protocol.ts';
import { startWorker } from '../../../src/worker/supervisor/index.ts';
import { specOf } from '../export/sources.ts';
import { must, run, sh } from '../support/host.ts';
import { fileCleanup, freshPool, importSource, rawFile, scratchFolder } from '../support/images.ts';
import { CONF, log, makeUsers, PROGRAM } from './ceph-worker.ts';

const MIB = 2 ** 20;
const soon = { deadlineMs: 60_000 };
const cleanup = fileCleanup();
let pool = '';
let folder = '';
let count = 0;
let ceph: CephSettings;

before(async () => {
  pool = await freshPool(cleanup);
  ceph = { conf: CONF, users: await makeUsers(cleanup, pool), timeoutMs: 5000 };
  folder = await scratchFolder(cleanup);
});

const fillWorker = () =>
  startWorker<FillMethods>({
    role: 'fill',
    settings: null,
    kind: 'one-shot',
    program: PROGRAM,
    log,
  });

type Kind = 'xfs' | 'btrfs' | 'ext4';

/** A new file system of a kind, mounted. */
async function mounted(kind: Kind): Promise<string> {
  const at = `${folder}/${kind}-${count}`;
  await sh(
    `truncate -s 512M ${at}.img; mkfs.${kind} -q ${at}.img; mkdir ${at}; mount -o loop ${at}.img ${at}`,
  );
  cleanup.after(() => run('umount', [at]));
  return at;
}

/** A base on a new file system, of a raw disk with data here and there. */
async function filledOn(kind: Kind) {
  const raw = await rawFile(`${folder}/${kind}.raw`, 64, [0, 9, 21, 40, 63]);
  const source = await importSource(raw, `${pool}/${kind}-${(count += 1)}`);
  const at = await mounted(kind);
  await using worker = fillWorker();
  const spec = { ...(await specOf(source, at)), ceph };
  const filled = await worker.call('fill', spec, soon);
  const path = `${at}/base`;
  await must('mv', spec.partialPath, path);
  const { table = assert.fail('no table'), head = assert.fail('no head') } = filled;
  const { sourceSizeBytes, format, sourceFormat } = filled;
  const of = { format, sourceFormat, sourceSizeBytes };
  const file: BaseFileSpec = { subject: kind, path, ...of, table, head };
  return { at, raw, spec, file };
}

for (const [kind, isShared] of [
  ['xfs', true],
  ['btrfs', true],
  ['ext4', false],
] as const) {
  test(`${kind}: ${isShared ? 'what was good is shared' : 'what was good is copied'}`, async () => {
    const { raw, spec, file } = await filledOn(kind);
    const { path } = file;
    await using worker = fillWorker();
    await sh(`cp --sparse=always ${path} ${folder}/good; chmod 600 ${path}
      printf rot | dd of=${path} bs=1 seek=${25 * MIB} conv=notrunc status=none; sync -f ${path}`);
    const found = await worker.call('scrub', { ...file, rateBytes: 0 }, soon);
    assert.deepEqual(found.damage?.chunks, [[5, 1]]);
    const mended = await worker.call('mend', { ...file, ...spec }, soon);
    assert.ok(mended.kind === 'mended');
    assert.equal(mended.isReflinked, isShared);
    assert.deepEqual([mended.chunks, mended.readBytes], [1, 4 * MIB]);
    await must('cmp', spec.partialPath, `${folder}/good`);
    await must('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', raw, spec.partialPath);
    const shared = await must('filefrag', '-v', spec.partialPath);
    assert.equal(/\bshared\b/.test(shared), isShared, shared);
  });
}

/** Spoils a block of a file below its file system: finds it by its bytes. */
const SPOIL = `import mmap, os, sys
path, image, offset = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(path, "rb") as f:
    block = os.pread(f.fileno(), 4096, offset)
with open(image, "r+b") as f:
    at = mmap.mmap(f.fileno(), 0).find(block)
    assert at >= 0, "the block is not there"
    os.pwrite(f.fileno(), os.urandom(4096), at)
    os.fsync(f.fileno())`;

test('what the disk does not give back is damaged, is said to be unread, and is mended', async () => {
  const { at, raw, spec, file } = await filledOn('btrfs');
  await sh(`sync -f ${at}; cp --sparse=always ${file.path} ${folder}/good`);
  const offset = 4 * MIB + 21 * MIB + 8192;
  await must('umount', at);
  await sh(`mount -o loop ${at}.img ${at}`);
  await must('cp', file.path, `${folder}/copy`);
  await must('umount', at);
  await must('python3', '-c', SPOIL, `${folder}/copy`, `${at}.img`, String(offset));
  await sh(`mount -o loop ${at}.img ${at}`);
  assert.notEqual((await run('cmp', [file.path, `${folder}/good`])).code, 0, 'it can be read');
  await using worker = fillWorker();
  const found = await worker.call('scrub', { ...file, rateBytes: 0 }, soon);
  assert.deepEqual(found.damage?.chunks, [[5, 1]]);
  assert.equal(found.damage.unreadBytes, 4 * MIB);
  const mended = await worker.call('mend', { ...file, ...spec }, soon);
  assert.ok(mended.kind === 'mended');
  assert.deepEqual([mended.chunks, mended.readBytes, mended.isReflinked], [1, 4 * MIB, true]);
  await must('cmp', spec.partialPath, `${folder}/good`);
  await must('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', raw, spec.partialPath);
});
