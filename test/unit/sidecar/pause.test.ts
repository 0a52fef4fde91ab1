// Pauses: durable, told, and said to whoever waits for their end.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openCatalogue } from '../../../src/cache/catalogue/open.ts';
import { openPauses } from '../../../src/sidecar/pause.ts';
import { keptLog, temporaryFolder } from './support/quiet.ts';

describe('pauses', () => {
  it('outlive siphond, and keep their first time and name', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'siphon.db');
    let nowMs = 1000;
    const inOneLife = <T>(
      work: (pauses: ReturnType<typeof openPauses>, lines: string[]) => T,
    ): T => {
      using catalogue = openCatalogue(file);
      const { log, lines } = keptLog();
      return work(openPauses({ shelf: catalogue.pauses, log, now: () => nowMs }), lines);
    };
    inOneLife((pauses, lines) => {
      assert.deepEqual([pauses.current(), lines], [[], []]);
      pauses.pause('fills', 'alice');
      nowMs = 2000;
      pauses.pause('all');
    });
    const fills = { work: 'fills', sinceMs: 1000, claimedBy: 'alice' };
    inOneLife((pauses, lines) => {
      assert.deepEqual(pauses.current(), [fills, { work: 'snapshots', sinceMs: 2000 }]);
      assert.match(lines.join(), /paused by an operator/);
      pauses.resume('snapshots');
      assert.deepEqual(pauses.current(), [fills]);
    });
    inOneLife((pauses) => {
      let resumed = 0;
      pauses.onResume(() => (resumed += 1));
      assert.deepEqual(pauses.current(), [fills]);
      pauses.resume('all');
      pauses.resume('all');
      assert.deepEqual(pauses.current(), []);
      assert.equal(resumed, 2);
    });
    inOneLife((pauses) => assert.deepEqual(pauses.current(), []));
  });
});
