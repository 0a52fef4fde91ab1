// What systemd-analyze prints of a calendar expression, as systemd 252, 257 and 262 print it; the lab asks the real one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCheck, nextRuns, parseNext } from '../../../src/sidecar/calendar.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { Calendar } from '../../../src/wire/schedule.ts';
import { policyOf } from '../snapshot/world.ts';

const printed = (...lines: readonly string[]) =>
  ['  Original form: daily', 'Normalized form: *-*-* 00:00:00', ...lines, ''].join('\n');

test('the next elapse, in UTC wherever the host is; never; and what is neither', () => {
  const utc = printed('    Next elapse: Sun 2026-11-22 00:00:00 UTC', '       From now: 10h left');
  assert.equal(parseNext(utc), Date.UTC(2026, 10, 22));
  const elsewhere = printed(
    '    Next elapse: Tue 2026-09-22 00:00:00 EDT',
    '       (in UTC): Tue 2026-09-22 04:00:00 UTC',
    '       From now: 1 month 29 days ago',
  );
  assert.equal(parseNext(elsewhere), Date.UTC(2026, 8, 22, 4));
  assert.equal(parseNext(printed('    Next elapse: never')), null);
  assert.equal(parseNext(printed()), undefined);
});

/** Knows `daily`; does not answer `slow`. */
function calendar(asked: string[]): Calendar {
  return {
    async next(expression, afterMs) {
      asked.push(expression);
      if (expression === 'daily') return afterMs + 1;
      const code = expression === 'slow' ? 'unavailable' : 'usage';
      throw new OperatingError({ code, op: 'read schedule', subject: expression, why: 'x' });
    },
  };
}

test('what is no expression is refused, what cannot be told is not, and what was told is not asked again', async () => {
  const asked: string[] = [];
  const check = createCheck(calendar(asked));
  const all = new Set(['daily', 'dayly', 'slow']);
  for (let each = 0; each < 2; each += 1)
    assert.deepEqual([...(await check(all))], [['dayly', 'x']]);
  assert.deepEqual(asked, ['daily', 'dayly', 'slow', 'slow']);
});

test('the next runs of policies: none of those without a schedule, or of which it cannot be told', async () => {
  const policies = [undefined, 'daily', 'slow'].map((each, index) => {
    const schedule = each && { calendar: each, isCaughtUp: true, jitterMs: 0 };
    return policyOf({ name: `p${index}`, ...(schedule && { schedule }) });
  });
  assert.deepEqual(await nextRuns(calendar([]), policies, 5), [{ policy: 'p1', atMs: 6 }]);
});
