// Chunks that pass through slots, and holes beside them: in any order, in threads, they make the one table, or agree with a manifest's.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChunkHashing } from '../../../src/rbd-export/chunk-hashing.ts';
import { segmentsOf } from '../../../src/rbd-export/segments.ts';
import { CHUNK_BYTES, SLOTS, SlotMemory } from '../../../src/rbd-export/slots.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { KIB, tableOf } from '../../support/manifests.ts';

const memory = new SlotMemory();
const MIB = KIB * KIB;

/** Units of a slot each, by their numbers, of a source of so many bytes: with a byte of data in some. */
function contentOf(sizeBytes: number, units: readonly number[]): Buffer {
  const content = Buffer.alloc(sizeBytes);
  for (const unit of units)
    content[Math.min(unit * CHUNK_BYTES + unit * 4099, sizeBytes - 1)] = 1 + unit;
  return content;
}

/** Passes what is allocated through, as the pipeline does. `at`: in the order of offsets, or from the end. */
async function pass(
  content: Buffer,
  allocated: readonly number[],
  {
    chunkBytes,
    expected,
    isReversed,
  }: { chunkBytes: number; expected?: Buffer; isReversed?: boolean },
) {
  const sizeBytes = content.length;
  const table = expected && tableOf(expected, chunkBytes);
  const manifest = table && {
    keyId: 'the-key',
    dataBytes: 0,
    table: { sha256: table.sha256, chunkBytes, base64: table.bytes.toString('base64') },
  };
  const more = manifest === undefined ? {} : { expected: manifest };
  await using hashing = new ChunkHashing({
    subject: 'rbd:p/i@s',
    sizeBytes,
    chunkBytes,
    memory,
    ...more,
  });
  const extents = allocated.map((unit) => {
    return [unit * CHUNK_BYTES, Math.min((unit + 1) * CHUNK_BYTES, sizeBytes)] as const;
  });
  const segments = [...segmentsOf(extents, sizeBytes, CHUNK_BYTES)];
  const running: Promise<void>[] = [];
  for (const [index, segment] of (isReversed ? segments.toReversed() : segments).entries()) {
    const { kind, offset, length } = segment;
    if (kind === 'hole') {
      hashing.hole(segment);
      continue;
    }
    const slot = index % SLOTS;
    await running[slot];
    content.copy(memory.bytes(slot, length), 0, offset, offset + length);
    running[slot] = hashing.data(slot, segment);
    running[slot].catch(() => undefined); // it is told when its slot is needed, or at the end
  }
  await Promise.all(running);
  return await hashing.finish();
}

const SIZES = [1, 4097, CHUNK_BYTES, 9 * CHUNK_BYTES + 513];
const CHUNKS = [64 * KIB, 4 * MIB, 16 * MIB];

test('of every size of image and of chunks the one table is made', async () => {
  for (const sizeBytes of SIZES) {
    const last = Math.ceil(sizeBytes / CHUNK_BYTES) - 1;
    const units = [0, 3, 6, last].filter((unit, i, all) => unit <= last && all.indexOf(unit) === i);
    const content = contentOf(sizeBytes, units);
    for (const chunkBytes of CHUNKS) {
      const wanted = tableOf(content, chunkBytes).sha256;
      const what = `${sizeBytes} bytes, chunks of ${chunkBytes}`;
      assert.equal((await pass(content, units, { chunkBytes })).sha256, wanted, what);
      // What is allocated and of zeros is a hole all the same.
      const all = Array.from({ length: last + 1 }, (_, unit) => unit);
      assert.equal((await pass(content, all, { chunkBytes })).sha256, wanted, what);
    }
  }
});

test('small chunks come in any order', async () => {
  const content = contentOf(9 * CHUNK_BYTES + 5, [1, 2, 9]);
  const chunkBytes = MIB;
  const made = await pass(content, [1, 2, 9], { chunkBytes, isReversed: true });
  assert.equal(made.sha256, tableOf(content, chunkBytes).sha256);
});

test('a manifest that is right agrees; one flipped bit anywhere is told by its chunk', async () => {
  const sizeBytes = 10 * CHUNK_BYTES + 700;
  const good = contentOf(sizeBytes, [0, 5, 10]);
  const units = [0, 3, 5, 10];
  for (const chunkBytes of [64 * KIB, 4 * MIB, 16 * MIB]) {
    const table = await pass(good, units, { chunkBytes, expected: good });
    assert.equal(table.sha256, tableOf(good, chunkBytes).sha256);
    // The first byte, the middle of data, what is allocated and should be a hole, the last byte.
    for (const at of [0, 5 * CHUNK_BYTES + 70_000, 3 * CHUNK_BYTES + 9, sizeBytes - 1]) {
      const bad = Buffer.from(good);
      bad[at]! ^= 1;
      const chunk = Math.floor(at / chunkBytes);
      await assert.rejects(pass(bad, units, { chunkBytes, expected: good }), (error) => {
        assert.ok(error instanceof OperatingError, String(error));
        assert.deepEqual([error.code, error.op, error.subject], ['corrupt', 'verify', 'rbd:p/i@s']);
        const where = `manifest \\(key the-key\\).* of chunk ${chunk}, at byte ${chunk * chunkBytes}: `;
        assert.match(error.why, new RegExp(where));
        return true;
      });
    }
  }
});

test('a hole where there should be data is told before anything is read of it', async () => {
  const sizeBytes = 20 * CHUNK_BYTES;
  const good = contentOf(sizeBytes, [0, 9]);
  for (const chunkBytes of [64 * KIB, 4 * MIB, 16 * MIB]) {
    const bad = contentOf(sizeBytes, [0]);
    const run = pass(bad, [0], { chunkBytes, expected: good });
    await assert.rejects(run, { code: 'corrupt', message: /all zeros, and should have data/ });
    const more = pass(good, [0, 9], { chunkBytes, expected: bad });
    await assert.rejects(more, { code: 'corrupt', message: /has data, and should be a hole/ });
  }
});
