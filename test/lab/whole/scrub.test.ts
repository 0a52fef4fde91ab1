// Scrubs on the installed siphond: whatever a disk does to a base is found and mended, of RBD only what is damaged is read, guests that run see
// none of it, and a kill in the middle leaves the old file or the new.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { JobsAnswer, StatusAnswer } from '../../../src/wire/api.ts';
import type { ScrubAnswer, ScrubbedBase } from '../../../src/wire/scrub-api.ts';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { parseExposition, valueOf } from '../../support/exposition.ts';
import { defineDomain, domainState, installHook, overlayOn } from '../support/domains.ts';
import { becomes, must, run, sh, until } from '../support/host.ts';
import {
  bigSource,
  fileCleanup,
  freshPool,
  importSource,
  rawFile,
  removeImage,
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

const MIB = 2 ** 20;
const CHUNK = 4 * MIB;
const context = fileCleanup();
let pool = '';
let scratch = '';

before(async () => {
  await answering();
  await installHook();
  pool = await freshPool(context);
  scratch = await scratchFolder(context);
});

/** The file, and not what guests see of it. */
const fileOf = async (source: string) =>
  (await must('siphon', 'path', source)).replace('/bases/', '/bases-rw/');
const inodeOf = (file: string) => must('stat', '-c', '%i', file);
const get = (source: string) => siphonJson<Base>('get', source);

/** A bit at a byte; bytes cut off (or, negative, added) at the end; so many random bytes at the start. */
type Rot = { readonly flip: number } | { readonly cut: number } | { readonly noise: number };

const ROT = `import json, os, sys
path, edits = sys.argv[1], json.loads(sys.argv[2])
noise = {e["noise"]: os.urandom(e["noise"]) for e in edits if "noise" in e}
was = os.stat(path)
with open(path, "r+b", buffering=0) as f:
    for e in edits:
        if "flip" in e:
            byte = os.pread(f.fileno(), 1, e["flip"])[0]
            os.pwrite(f.fileno(), bytes([byte ^ 1]), e["flip"])
        elif "cut" in e and e["cut"] > 0:
            os.truncate(path, was.st_size - e["cut"])
        elif "cut" in e:
            os.pwrite(f.fileno(), b"x" * -e["cut"], was.st_size)
        else:
            os.pwrite(f.fileno(), noise[e["noise"]], 0)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    os.fsync(f.fileno())`;

/** Changes a file as a disk would: in no time that siphond could see, and its own stays. */
const rot = (file: string, ...edits: readonly Rot[]): Promise<string> =>
  must('python3', '-c', ROT, file, JSON.stringify(edits));

const flip = (offset: number): Rot => ({ flip: offset });

async function scrubOne(source: string): Promise<ScrubbedBase> {
  const { code, stdout, stderr } = await siphon('scrub', source, '--json');
  assert.ok(code === 0 || code === 9, `${code} ${stderr}`);
  const { bases } = JSON.parse(stdout) as ScrubAnswer;
  assert.equal(bases.length, 1);
  return bases[0] ?? assert.fail('no base');
}

const DATA_OFFSET = CHUNK;
/** Where siphon's qcow2 of a small disk has what; how many chunks of the source are bad then. */
const PLACES: readonly (readonly [name: string, edits: readonly Rot[], chunks: number])[] = [
  ['the header', [flip(27)], 0],
  ['the refcount table', [flip(65_536 + 7)], 0],
  ['the L1 table', [flip(2 * 65_536 + 6)], 0],
  ['a refcount block', [flip(3 * 65_536 + 1)], 0],
  ['an L2 table', [flip(4 * 65_536 + 6)], 0],
  ['what is between tables and data', [flip(DATA_OFFSET - 9)], 0],
  ['the first byte of the data', [flip(DATA_OFFSET)], 1],
  ['the middle', [flip(DATA_OFFSET + 21 * MIB + 77)], 1],
  ['a hole', [flip(DATA_OFFSET + 12 * MIB)], 1],
  ['the last byte', [flip(DATA_OFFSET + 41 * MIB - 1)], 1],
  ['two places', [flip(DATA_OFFSET + 100), flip(70)], 1],
];

test('qcow2 of a raw source: one bit anywhere is found, and mended by its chunk alone', async () => {
  const raw = await rawFile(`${scratch}/raw`, 41, [0, 5, 21, 33, 40]);
  const source = await importSource(raw, `${pool}/raw`);
  await siphonJson('warm', source);
  const file = await fileOf(source);
  await sh(`cp --sparse=always ${file} ${scratch}/good`);
  assert.equal((await scrubOne(source)).outcome, 'good');
  for (const [name, edits, chunks] of PLACES) {
    const inode = await inodeOf(file);
    await rot(file, ...edits);
    const { outcome, why, damage, mend } = await scrubOne(source);
    assert.equal(outcome, 'mended', `${name}: ${why}`);
    assert.equal(damage?.chunkCount, chunks, `${name}: ${why}`);
    assert.equal(mend?.way, 'mend', name);
    const isHole = name === 'a hole';
    const most = isHole ? 0 : chunks * CHUNK;
    assert.ok(mend.readBytes <= most && (isHole || chunks === 0 || mend.readBytes > 0), name);
    await must('cmp', file, `${scratch}/good`);
    await must('qemu-img', 'check', '-q', '-f', 'qcow2', file);
    await must('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', raw, file);
    assert.notEqual(await inodeOf(file), inode, 'it is a new file');
  }
  const { state, suspicion, scrubbedAtMs } = await get(source);
  assert.deepEqual([state, suspicion], ['ready', undefined]);
  assert.ok((scrubbedAtMs ?? 0) > 0);
});

test('a verbatim copy: likewise, and where too much is damaged it is filled anew', async () => {
  const raw = await rawFile(`${scratch}/v.raw`, 40, [0, 9, 17, 25, 33]);
  await must('qemu-img', 'convert', '-O', 'qcow2', raw, `${scratch}/v.qcow2`);
  const source = await importSource(`${scratch}/v.qcow2`, `${pool}/verbatim`);
  await siphonJson('warm', source);
  const file = await fileOf(source);
  const size = Number(await must('stat', '-c', '%s', file));
  for (const offset of [0, Math.floor(size / 2), size - 1]) {
    await rot(file, flip(offset));
    const { outcome, damage, mend } = await scrubOne(source);
    assert.deepEqual([outcome, mend?.way], ['mended', 'mend']);
    assert.deepEqual(damage?.chunks, [[Math.floor(offset / CHUNK), 1]]);
    assert.ok((mend?.readBytes ?? CHUNK + 1) <= CHUNK);
    await must('cmp', file, `${scratch}/v.qcow2`);
  }
  await rot(file, { noise: size });
  const { outcome, mend } = await scrubOne(source);
  assert.deepEqual([outcome, mend?.way], ['mended', 'refill']);
  await must('cmp', file, `${scratch}/v.qcow2`);
});

test('what is only to be told stays, and is suspect; exit code 9', async () => {
  const source = await importSource(await rawFile(`${scratch}/told`, 16, [1, 9]), `${pool}/told`);
  await siphonJson('warm', source);
  const file = await fileOf(source);
  await rot(file, flip(DATA_OFFSET + MIB));
  await must('cp', file, `${scratch}/rotten`);
  const { code, stdout } = await siphon('scrub', '--no-mend', source);
  assert.equal(code, 9);
  assert.match(stdout, /damaged .*1 chunk: 0 \(bytes 0 to 4194303\)/);
  assert.equal((await get(source)).state, 'suspect');
  await must('cmp', file, `${scratch}/rotten`);
  assert.match((await siphon('check')).stdout, /suspect: .*its file is not what was read/);
  assert.equal((await siphon('scrub', source)).code, 0);
  assert.equal((await get(source)).state, 'ready');
});

const jobsOf = async (kind: string) =>
  (await siphonJson<JobsAnswer['jobs']>('jobs', '--limit', '500')).filter(
    (job) => job.kind === kind,
  ).length;

test('a file that somebody touched or replaced is read, and served again without a byte of RBD', async () => {
  const source = await importSource(await rawFile(`${scratch}/t`, 16, [2, 9]), `${pool}/touched`);
  await siphonJson('warm', source);
  const file = await fileOf(source);
  const fills = await jobsOf('fill');
  for (const script of [`touch ${file}`, `cp -p ${file} ${file}.copy; mv ${file}.copy ${file}`]) {
    const { scrubbedAtMs = 0 } = await get(source);
    await sh(script);
    await until('it was scrubbed', async () => {
      const { state, scrubbedAtMs: at = 0 } = await get(source);
      return state === 'ready' && at > scrubbedAtMs;
    });
  }
  assert.equal(await jobsOf('fill'), fills);
});

test('a file that somebody wrote to is mended by itself, also where siphond was down then', async () => {
  const raw = await rawFile(`${scratch}/w`, 24, [2, 9, 17]);
  const source = await importSource(raw, `${pool}/written`);
  await siphonJson('warm', source);
  const file = await fileOf(source);
  const isWhole = async () =>
    (await get(source)).state === 'ready' &&
    (await run('qemu-img', ['compare', '-q', '-f', 'raw', '-F', 'qcow2', raw, file])).code === 0;
  await sh(`printf x | dd of=${file} bs=1 seek=${DATA_OFFSET + 9 * MIB} conv=notrunc status=none`);
  await until('it is whole again', isWhole);
  for (const cut of [2 * MIB, -4]) {
    await rot(file, { cut });
    await until('it is as long as it was', isWhole);
  }
  await must('systemctl', 'stop', 'siphond.service');
  await sh(`printf x | dd of=${file} bs=1 seek=${DATA_OFFSET + 17 * MIB} conv=notrunc status=none`);
  await must('systemctl', 'start', 'siphond.service');
  await answering();
  await until('it is whole again', isWhole);
});

test('a guest that runs keeps the old file, byte by byte, and the next one gets the new', async () => {
  const raw = await rawFile(`${scratch}/g`, 32, [0, 9, 30]);
  const source = await importSource(raw, `${pool}/guest`);
  await siphonJson('warm', source);
  const overlay = await overlayOn(source, `${scratch}/guest.qcow2`, '32M');
  const name = await defineDomain(context, {
    name: 'scrub-guest',
    disks: [{ kind: 'file', path: overlay }],
  });
  await must('virsh', '-q', 'start', name);
  const file = await fileOf(source);
  const inode = await inodeOf(file);
  await rot(file, flip(DATA_OFFSET + 9 * MIB));
  await must('cp', '--sparse=always', file, `${scratch}/seen`);
  assert.equal((await scrubOne(source)).outcome, 'mended');
  const pid = await must('cat', `/run/libvirt/qemu/${name}.pid`);
  const held = await sh(`for fd in /proc/${pid}/fd/*; do
      if [ "$(stat -Lc %i "$fd" 2>/dev/null)" = ${inode} ]; then echo "$fd"; fi; done`);
  const [opened = assert.fail('the guest has the old file open')] = held
    .split('\n')
    .filter(Boolean);
  await must('cmp', opened, `${scratch}/seen`);
  assert.equal(await domainState(name), 'running');
  await must('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', raw, file);
  await must('virsh', '-q', 'destroy', name);
  await must('virsh', '-q', 'start', name);
  await must('virsh', '-q', 'destroy', name);
});

test('damage whose source is gone: suspect, told everywhere, no start, and nothing is touched', async () => {
  const image = `${pool}/gone`;
  const source = await importSource(await rawFile(`${scratch}/gone`, 16, [1, 9]), image);
  await siphonJson('warm', source);
  const overlay = await overlayOn(source, `${scratch}/gone.qcow2`, '16M');
  const name = await defineDomain(context, {
    name: 'scrub-gone',
    disks: [{ kind: 'file', path: overlay }],
  });
  const { id } = await get(source);
  const file = await fileOf(source);
  await rot(file, flip(DATA_OFFSET + MIB));
  await must('cp', file, `${scratch}/left`);
  await removeImage(image);
  const { code, stderr } = await siphon('scrub', id);
  assert.equal(code, 9, stderr);
  const { state, suspicion } = await get(id);
  assert.deepEqual([state, suspicion?.of], ['suspect', 'bytes']);
  assert.match(suspicion?.why ?? '', /1 chunk: 0 .*could not be mended, since its source is gone/);
  await must('cmp', file, `${scratch}/left`);
  const refused = await run('virsh', ['-q', 'start', name]);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /is damaged and could not be filled again/);
  const check = await siphon('check');
  assert.ok(check.code > 0);
  assert.match(check.stdout, /since its source is gone/);
  const { problems } = await siphonJson<StatusAnswer>('status');
  assert.ok(problems.some(({ what }) => /suspect: .*source is gone/.test(what)));
  const curl = ['-fsS', '--unix-socket', '/run/siphon/read.sock', 'http://siphon/metrics'];
  const families = parseExposition((await run('curl', curl)).stdout);
  assert.ok((valueOf(families, 'siphon_bases', { state: 'suspect' }) ?? 0) >= 1);
  assert.ok((valueOf(families, 'siphon_scrubs_total', { outcome: 'damaged' }) ?? 0) >= 1);
  assert.ok((valueOf(families, 'siphon_scrub_chunks_total', { what: 'mended' }) ?? 0) >= 1);
  await must('virsh', '-q', 'undefine', name);
  await must('rm', overlay);
  await until('it may go', async () => (await siphon('evict', id)).code === 0);
});

test('kill -9 in the middle of a mend: the old file or the new, and then it is whole', async () => {
  const source = await bigSource(`${pool}/killed`, 192);
  const want = await sh(`rbd export --no-progress ${source.slice(4)} - | sha256sum`);
  await siphonJson('warm', source);
  const file = await fileOf(source);
  await sh(`cp --sparse=always ${file} ${scratch}/whole`);
  for (const victim of ['siphond', 'worker', 'siphond'] as const) {
    await rot(file, flip(DATA_OFFSET + 100 * MIB));
    await sh(`cp --sparse=always ${file} ${scratch}/old`);
    const scrubbing = siphon('scrub', source);
    await until('it is being mended', async () =>
      (await filesOfBases()).some((each) => each.startsWith('.partial/')),
    );
    const pids = victim === 'siphond' ? [await siphondPid()] : await fillWorkers();
    for (const pid of pids) await run('kill', ['-9', String(pid)]);
    const isOld = (await run('cmp', ['-s', file, `${scratch}/old`])).code === 0;
    if (!isOld) await must('cmp', file, `${scratch}/whole`);
    await scrubbing;
    await answering();
    if (victim === 'worker') await siphon('scrub', source);
    await until('it is ready', async () => (await get(source)).state === 'ready');
    await must('cmp', file, `${scratch}/whole`);
    await becomes(async () => (await filesOfBases()).filter((each) => each.startsWith('.')), []);
  }
  const have = await sh(
    `qemu-img convert -f qcow2 -O raw ${file} ${scratch}/out; sha256sum <${scratch}/out`,
  );
  assert.equal(have, want);
});

test('all bases are scrubbed, and the timer’s way only those that are due', async () => {
  // What other files' tests left may be anything.
  for (const { id, name } of await siphonJson<Base[]>('list'))
    if (name.pool !== pool) await siphon('evict', id);
  const { bases } = await siphonJson<ScrubAnswer>('scrub');
  const own = bases.filter(({ name }) => name.includes(`${pool}/`));
  assert.ok(own.length > 3);
  const found = own.map(({ outcome, why }) => [outcome, why]);
  assert.deepEqual([...new Set(own.map(({ outcome }) => outcome))], ['good'], String(found));
  const due = await siphonJson<ScrubAnswer>('scrub', '--due');
  assert.deepEqual(
    due.bases.filter(({ name }) => name.includes(`${pool}/`)),
    [],
  );
  await must('systemctl', 'start', 'siphon-scrub.service');
  assert.equal(await must('systemctl', 'show', '-P', 'Result', 'siphon-scrub.service'), 'success');
});
