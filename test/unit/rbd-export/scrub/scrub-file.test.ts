// A scrub finds whatever is not as it was filled, by its chunk, and nothing else.

import assert from 'node:assert/strict';
import { open, stat, truncate } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { scrubBase } from '../../../../src/rbd-export/scrub/index.ts';
import type { ScrubSpec } from '../../../../src/wire/scrub-protocol.ts';
import type { FillProgress } from '../../../../src/wire/worker-protocol.ts';
import { fileCalls } from '../../../../src/worker/file-calls.ts';
import { contentOf, KIB, MIB, makeBase, scratch } from './support.ts';

const calls = await fileCalls();
const scrub = (spec: ScrubSpec) => scrubBase(spec, { calls });

/** Of 22 MiB and a bit: two chunks of data, a hole of two, one with data in its last cluster alone, and the last one. */
const SIZE = 22 * MIB + 1536;
const DATA_AT = [0, 5 * MIB, 20 * MIB - 64 * KIB, 22 * MIB];
const content = contentOf(SIZE, DATA_AT);
const DATA_OFFSET = 4 * MIB;

async function flip(file: string, at: number): Promise<void> {
  await using handle = await open(file, 'r+');
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ 0x10;
  await handle.write(byte, 0, 1, at);
}

for (const isVerbatim of [false, true]) {
  const kind = isVerbatim ? 'verbatim' : 'qcow2 of a raw source';
  for (const chunkBytes of [64 * KIB, 4 * MIB, 8 * MIB]) {
    test(`${kind}, chunks of ${chunkBytes / KIB} KiB: as it was filled it is good, and holes are not read`, async () => {
      await using at = await scratch();
      const spec = await makeBase(at.folder, content, { isVerbatim, chunkBytes });
      const progress: FillProgress[] = [];
      const found = await scrubBase(spec, { calls, onProgress: (one) => progress.push(one) });
      assert.equal(found.damage, undefined);
      const { damage, readBytes } = await scrub({ ...spec, rateBytes: 2 ** 40 });
      assert.equal(damage, undefined);
      assert.ok(readBytes < SIZE + DATA_OFFSET, `${readBytes} were read`);
      const last = progress.at(-1);
      assert.equal(last?.doneBytes, SIZE + (isVerbatim ? 0 : DATA_OFFSET));
      assert.equal(last?.doneBytes, last?.totalBytes);
    });

    test(`${kind}, chunks of ${chunkBytes / KIB} KiB: one flipped bit anywhere is found where it is`, async () => {
      await using at = await scratch();
      const spec = await makeBase(at.folder, content, { isVerbatim, chunkBytes });
      const { size } = await stat(spec.path);
      const start = isVerbatim ? 0 : DATA_OFFSET;
      await fc.assert(
        fc.asyncProperty(fc.nat(size - 1), async (offset) => {
          await flip(spec.path, offset);
          const { damage } = await scrub(spec);
          await flip(spec.path, offset);
          assert.ok(damage !== undefined);
          const inData = offset >= start && offset < start + SIZE;
          const chunk = Math.floor((offset - start) / chunkBytes);
          assert.deepEqual(damage.chunks, inData ? [[chunk, 1]] : []);
          assert.deepEqual(
            [damage.isHead, damage.isTail, damage.unreadBytes],
            [offset < start, offset >= start + SIZE, 0],
          );
        }),
        {
          numRuns: 8,
          examples: [[0], [start], [start + 12 * MIB], [start + SIZE - 1], [size - 1]],
        },
      );
      assert.equal((await scrub(spec)).damage, undefined);
    });
  }

  test(`${kind}: a file that is cut off, or goes on, is damaged`, async () => {
    await using at = await scratch();
    const spec = await makeBase(at.folder, content, { isVerbatim });
    const { size } = await stat(spec.path);
    await truncate(spec.path, size + 1);
    assert.deepEqual((await scrub(spec)).damage, {
      chunks: [],
      chunkCount: 0,
      chunkBytes: 0,
      isHead: false,
      isTail: true,
      unreadBytes: 0,
    });
    await truncate(spec.path, size - 3 * MIB);
    const { damage } = await scrub(spec);
    assert.deepEqual(damage?.chunks, [[4, 2]]);
    assert.ok(damage.isTail && damage.unreadBytes > 0);
    assert.equal(damage.chunkBytes, SIZE - 16 * MIB);
    await truncate(spec.path, 0);
    assert.equal((await scrub(spec)).damage?.chunkCount, 4);
  });
}

test('tables whose digest was not recorded are compared with what the data says', async () => {
  await using at = await scratch();
  const { head, ...spec } = await makeBase(at.folder, content);
  assert.ok(head !== undefined);
  assert.equal((await scrub(spec)).damage, undefined);
  await flip(spec.path, 65_536);
  assert.equal((await scrub(spec)).damage?.isHead, true);
});

test('a scrub that is cancelled ends', async () => {
  await using at = await scratch();
  const spec = await makeBase(at.folder, content);
  const stop = new AbortController();
  const slow = { ...spec, rateBytes: 1 };
  const running = scrubBase(slow, {
    calls,
    signal: stop.signal,
    onProgress: () => stop.abort(),
  });
  await assert.rejects(running, { code: 'cancelled' });
});
