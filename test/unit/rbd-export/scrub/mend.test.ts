// A mend takes over what is good, asks the source for what is not, and no more; the old file stays as it is.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { open, readFile, rm, truncate } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { scrubBase } from '../../../../src/rbd-export/scrub/index.ts';
import { type MendSource, mendFrom } from '../../../../src/rbd-export/scrub/mend.ts';
import { OperatingError } from '../../../../src/wire/errors.ts';
import type { MendSpec, ScrubSpec } from '../../../../src/wire/scrub-protocol.ts';
import { fileCalls } from '../../../../src/worker/file-calls.ts';
import { contentOf, KIB, MIB, makeBase, scratch, tableOf } from './support.ts';

const calls = await fileCalls();
const SIZE = 41 * MIB + 512;
const DATA_AT = [0, 4 * MIB, 9 * MIB, 13 * MIB, 17 * MIB, 21 * MIB, 30 * MIB, 41 * MIB];
const content = contentOf(SIZE, DATA_AT);
const user = { name: 'u' };

interface Asked extends MendSource {
  readBytes: number;
}

function sourceOf(bytes: Buffer, isGone = false): Asked {
  const source: Asked = {
    sizeBytes: bytes.length,
    readBytes: 0,
    async read(into, offset) {
      bytes.copy(into, 0, offset, offset + into.length);
      source.readBytes += into.length;
    },
    async lookAgain() {
      if (isGone) throw new OperatingError({ code: 'not-found', op: 'look again', subject: 'x' });
    },
  };
  return source;
}

function mendSpecOf(spec: ScrubSpec): MendSpec {
  return {
    ...spec,
    ceph: { conf: '', users: { fill: user, snapshot: user, publish: user }, timeoutMs: 1 },
    ids: { fsid: 'f', poolId: 1, namespace: '', imageId: 'i', snapId: 1 },
    name: { pool: 'p', namespace: '', image: 'i', snap: 's' },
    partialPath: `${spec.path}.partial`,
  };
}

async function write(file: string, at: number, bytes: Buffer): Promise<void> {
  await using handle = await open(file, 'r+');
  await handle.write(bytes, 0, bytes.length, at);
}

const rot = fc.record({ at: fc.nat(46 * MIB), bytes: fc.integer({ min: 1, max: 200 * KIB }) });

for (const isVerbatim of [false, true]) {
  test(`${isVerbatim ? 'verbatim' : 'qcow2'}: whatever rots, the new file is as it was filled, and only bad chunks were asked for`, async () => {
    await using at = await scratch();
    await fc.assert(
      fc.asyncProperty(fc.array(rot, { minLength: 1, maxLength: 3 }), async (spots) => {
        const spec = await makeBase(at.folder, content, { isVerbatim });
        const good = await readFile(spec.path);
        for (const spot of spots) {
          const offset = spot.at % good.length;
          const length = Math.min(spot.bytes, good.length - offset);
          await write(spec.path, offset, Buffer.alloc(length, 0xa5));
        }
        const rotten = await readFile(spec.path);
        const { damage } = await scrubBase(spec, { calls });
        assert.ok(damage !== undefined);
        const mend = mendSpecOf(spec);
        const source = sourceOf(content);
        const result = await mendFrom(source, mend, { calls });
        assert.ok(result.kind === 'mended');
        assert.deepEqual(await readFile(spec.path), rotten);
        assert.ok((await readFile(mend.partialPath)).equals(good));
        assert.equal(result.chunks, damage.chunkCount);
        assert.equal(result.isHead, damage.isHead);
        assert.ok(source.readBytes <= damage.chunkBytes, 'more was read than was damaged');
        assert.equal(result.readBytes, source.readBytes);
        assert.deepEqual(result.head, spec.head);
        await rm(mend.partialPath);
      }),
      { numRuns: 4 },
    );
  });
}

test('a file that is cut off, or goes on, is made as long as it was', async () => {
  for (const change of [-3 * MIB, 5 * MIB]) {
    await using at = await scratch();
    const spec = await makeBase(at.folder, content);
    const good = await readFile(spec.path);
    await truncate(spec.path, good.length + change);
    const result = await mendFrom(sourceOf(content), mendSpecOf(spec), { calls });
    assert.equal(result.kind, 'mended');
    assert.ok((await readFile(`${spec.path}.partial`)).equals(good));
  }
});

test('where more than half is damaged a fill is the way, and nothing is left', async () => {
  await using at = await scratch();
  const spec = await makeBase(at.folder, content);
  for (const offset of DATA_AT.slice(0, 6))
    await write(spec.path, 4 * MIB + offset, Buffer.of(1, 2));
  const result = await mendFrom(sourceOf(content), mendSpecOf(spec), { calls });
  assert.equal(result.kind, 'refill');
  assert.equal(existsSync(`${spec.path}.partial`), false);
});

test('tables that cannot be made again are a matter for a fill', async () => {
  await using at = await scratch();
  const spec = await makeBase(at.folder, content);
  const head = { lengthBytes: 4 * MIB, sha256: '0'.repeat(64) };
  const result = await mendFrom(sourceOf(content), mendSpecOf({ ...spec, head }), { calls });
  assert.equal(result.kind, 'refill');
});

test('a source that is not what it was is corrupt, and what was put together is kept', async () => {
  await using at = await scratch();
  const spec = await makeBase(at.folder, content);
  await write(spec.path, 4 * MIB + 9 * MIB, Buffer.of(0xff));
  const other = Buffer.from(content);
  other[9 * MIB + 5] = 0;
  await assert.rejects(mendFrom(sourceOf(other), mendSpecOf(spec), { calls }), {
    code: 'corrupt',
    message: /chunk 2, byte 8388608/,
  });
  assert.equal(existsSync(`${spec.path}.partial`), true);
  const shorter = sourceOf(content.subarray(1));
  await assert.rejects(mendFrom(shorter, mendSpecOf(spec), { calls }), { code: 'corrupt' });
});

test('a source that went while it was read counts for nothing', async () => {
  await using at = await scratch();
  const spec = await makeBase(at.folder, content);
  await write(spec.path, 4 * MIB, Buffer.of(0xff));
  const mending = mendFrom(sourceOf(content, true), mendSpecOf(spec), { calls });
  await assert.rejects(mending, { code: 'not-found' });
  assert.equal(existsSync(`${spec.path}.partial`), false);
});

test('an old record without a digest of its tables is mended, and gets one', async () => {
  await using at = await scratch();
  const made = await makeBase(at.folder, content);
  const { head, ...spec } = made;
  const good = await readFile(spec.path);
  await write(spec.path, 65_536, Buffer.of(0xff));
  await write(spec.path, 4 * MIB, Buffer.of(0xff));
  const result = await mendFrom(sourceOf(content), mendSpecOf(spec), { calls });
  assert.ok(result.kind === 'mended' && result.isHead);
  assert.deepEqual(result.head, head);
  assert.ok((await readFile(`${spec.path}.partial`)).equals(good));
  assert.equal(spec.table.sha256, tableOf(content).sha256);
});
