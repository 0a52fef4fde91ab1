import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { hasAmbient } from '../../../src/systemd/ambient.ts';
import { signEveryMs, startWatchdog } from '../../../src/systemd/watchdog.ts';

test('a third of the time that systemd states, for the process that it watches', () => {
  assert.equal(signEveryMs({ WATCHDOG_USEC: '30000000' }, 1), 10_000);
  assert.equal(signEveryMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' }, 1), 10_000);
  assert.equal(signEveryMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '2' }, 1), undefined);
  assert.equal(signEveryMs({}, 1), undefined);
});

test('signs are given while all is well, and withheld with the reason while it is not', async () => {
  const told: string[] = [];
  const warned: string[] = [];
  let why: string | undefined;
  using _watchdog = startWatchdog({
    env: { WATCHDOG_USEC: '15000' },
    whyUnwell: () => why,
    tell: async (state) => void told.push(state),
    warn: (text) => void warned.push(text),
  });
  const signal = AbortSignal.timeout(10_000);
  while (told.length < 3) await delay(5, undefined, { signal });
  assert.deepEqual([...new Set(told)], ['WATCHDOG=1']);
  why = 'a worker should have been seen to';
  const before = told.length;
  while (warned.length < 2) await delay(5, undefined, { signal });
  assert.equal(told.length, before);
  assert.match(warned[0] ?? '', /not told that all is well: a worker/);
});

test('capabilities that children would have are seen', () => {
  assert.equal(hasAmbient('CapBnd:\t0000000000000004\nCapAmb:\t0000000000000004\n'), true);
  assert.equal(hasAmbient('CapBnd:\t0000000000000004\nCapAmb:\t0000000000000000\n'), false);
});
