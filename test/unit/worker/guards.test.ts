// Which of PID 1's units are stopped and started for a guard, and when that is known without asking.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FIRES_MS, unitGuards } from '../../../src/worker/roles/libvirt/guards.ts';

const ROOT = new URL('../../../', import.meta.url);

function guardsWithCalls() {
  const calls: string[] = [];
  const control = async (verb: string, domain: string, type: string) => {
    calls.push(`${verb} ${domain}.${type}`);
    if (domain === 'refused') throw new Error('refused');
  };
  return { guards: unitGuards(control), calls, since: () => calls.splice(0) };
}

test('what a former worker may have left of a guard is stopped; what is known to be off is not asked for again', async () => {
  const { guards, since } = guardsWithCalls();
  await guards.stop('a');
  assert.deepEqual(since(), ['stop a.timer', 'stop a.service']);
  await guards.stop('a');
  assert.deepEqual(since(), []);
  await guards.start('a');
  await guards.stop('a');
  assert.deepEqual(since(), ['start a.timer', 'stop a.timer']);
});

test('a timer that may have fired has its service stopped, too', async (t) => {
  const { guards, since } = guardsWithCalls();
  let nowMs = 1_000_000;
  t.mock.method(process.hrtime, 'bigint', () => BigInt(nowMs) * 1_000_000n);
  await guards.start('a');
  nowMs += FIRES_MS - 1;
  await guards.stop('a');
  assert.deepEqual(since(), ['start a.timer', 'stop a.timer']);
  await guards.start('a');
  nowMs += FIRES_MS;
  await guards.stop('a');
  assert.deepEqual(since(), ['start a.timer', 'stop a.timer', 'stop a.service']);
});

test('after a call that failed nothing is known', async () => {
  const { guards, since } = guardsWithCalls();
  await assert.rejects(guards.start('refused'), /refused/);
  await assert.rejects(guards.stop('refused'), /refused/);
  since();
  await assert.rejects(guards.stop('refused'), /refused/);
  assert.deepEqual(since(), ['stop refused.timer']);
});

test('the timer starts its service no sooner than the guards take it to', () => {
  const unit = readFileSync(new URL('systemd/siphon-guard@.timer', ROOT), 'utf8');
  assert.equal(/^OnActiveSec=(\d+)s$/m.exec(unit)?.[1], String(FIRES_MS / 1000));
});
