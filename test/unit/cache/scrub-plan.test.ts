// Which bases are scrubbed and in which order, and what is said of damage.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { lookedAtMs, planScrub } from '../../../src/cache/scrub-plan.ts';
import { boundedDamage, damageText } from '../../../src/cache/scrub-words.ts';
import { MIB } from './support.ts';

test('those in doubt first, then those that were looked at the longest ago; each once', () => {
  const row = fc.record({
    id: fc.uuid(),
    state: fc.constantFrom('ready', 'suspect', 'filling', 'evicting'),
    createdAtMs: fc.nat(1000),
    scrubbedAtMs: fc.option(fc.nat(1000), { nil: undefined }),
    isFileInDoubt: fc.constantFrom(true, undefined),
  });
  fc.assert(
    fc.property(fc.uniqueArray(row, { selector: ({ id }) => id }), fc.nat(1000), (all, everyMs) => {
      const rows = all as unknown as Parameters<typeof planScrub>[0];
      const byId = new Map(rows.map((each) => [each.id, each]));
      const ids = planScrub(rows, { everyMs }, 1000);
      const rank = ids.map((id) => {
        const each = byId.get(id) ?? assert.fail(id);
        assert.ok(each.state === 'ready' || each.state === 'suspect');
        assert.ok(each.isFileInDoubt || lookedAtMs(each) + everyMs <= 1000);
        return each.isFileInDoubt ? -1 : lookedAtMs(each);
      });
      assert.deepEqual(
        rank,
        rank.toSorted((a, b) => a - b),
      );
      assert.equal(new Set(ids).size, ids.length);
    }),
  );
});

test('damage is told by its chunks and bytes, and never without end', () => {
  const damage = {
    chunks: [
      [3, 1],
      [7, 2],
    ] as const,
    chunkCount: 3,
    chunkBytes: 12 * MIB,
    isHead: true,
    isTail: false,
    unreadBytes: 4096,
  };
  assert.equal(
    damageText(damage, { chunkBytes: 4 * MIB, sourceSizeBytes: 36 * MIB - 1 }),
    'its file is not what was read of its source: 3 chunks: 3 (bytes 12582912 to 16777215), 7 to 8 (bytes 29360128 to 37748734); its qcow2 tables; 4096 bytes could not be read',
  );
  const runs = Array.from({ length: 5000 }, (_, i) => [2 * i, 1] as const);
  const many = { ...damage, chunks: runs, chunkCount: 5000 };
  assert.equal(boundedDamage(many).chunks.length, 100);
  assert.ok(damageText(many, { chunkBytes: MIB, sourceSizeBytes: 1e12 }).length < 500);
});
