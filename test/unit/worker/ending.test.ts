import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeEnding, type EndingFacts } from '../../../src/worker/supervisor/ending.ts';

const cases: readonly { facts: EndingFacts; want: string }[] = [
  {
    facts: { killedFor: 'it hung', signal: 'SIGKILL', channelError: 'EPIPE' },
    want: 'worker was killed: it hung',
  },
  {
    facts: { spawnError: 'spawn /no ENOENT' },
    want: 'worker could not be started: spawn /no ENOENT',
  },
  {
    facts: { initError: 'no conf', exitCode: 0 },
    want: 'worker could not start its work: no conf',
  },
  {
    facts: { signal: 'SIGABRT', lastLine: 'ceph_assert', channelError: 'EPIPE' },
    want: 'worker ended by SIGABRT; its last words: ceph_assert',
  },
  { facts: { exitCode: 7, signal: null }, want: 'worker ended with code 7' },
  {
    facts: { channelError: 'a frame of 9 bytes' },
    want: "worker's channel broke: a frame of 9 bytes",
  },
];

for (const { facts, want } of cases) {
  test(`the better of several errors: ${want}`, () => assert.equal(describeEnding(facts), want));
}
