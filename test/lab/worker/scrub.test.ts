// A mend on file systems that share blocks: the new file shares what was good, and differs where it was mended; filefrag says so.

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

/** A new file system of a kind, mounted. */
async function mounted(kind: 'xfs' | 'btrfs' | 'ext4'): Promise<string> {
  const at = `${folder}/${kind}`;
  await sh(
    `truncate -s 512M ${at}.img; mkfs.${kind} -q ${at}.img; mkdir ${at}; mount -o loop ${at}.img ${at}`,
  );
  cleanup.after(() => run('umount', [at]));
  return at;
}

for (const [kind, isShared] of [
  ['xfs', true],
  ['btrfs', true],
  ['ext4', false],
] as const) {
  test(`${kind}: ${isShared ? 'what was good is shared' : 'what was good is copied'}`, async () => {
    const raw = await rawFile(`${folder}/${kind}.raw`, 64, [0, 9, 21, 40, 63]);
    const source = await importSource(raw, `${pool}/${kind}`);
    const at = await mounted(kind);
    await using worker = fillWorker();
    const spec = { ...(await specOf(source, at)), ceph };
    const filled = await worker.call('fill', spec, soon);
    const path = `${at}/base`;
    await must('mv', spec.partialPath, path);
    const { table = assert.fail('no table'), head = assert.fail('no head') } = filled;
    const { sourceSizeBytes, format, sourceFormat } = filled;
    const file: BaseFileSpec = {
      subject: kind,
      path,
      format,
      sourceFormat,
      sourceSizeBytes,
      table,
      head,
    };
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
