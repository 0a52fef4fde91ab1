import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPulse } from '../../../src/worker/supervisor/pulse.ts';

test('what answers at least one of so many questions lives; then it is lost', ({ mock }) => {
  mock.timers.enable({ apis: ['setInterval'] });
  const said: string[] = [];
  const ask = () => void said.push('ask');
  using pulse = startPulse({ everyMs: 10, missesMax: 3, ask, onLost: () => said.push('lost') });
  for (let round = 0; round < 5; round += 1) {
    mock.timers.tick(30);
    pulse.heard();
  }
  assert.deepEqual(
    said,
    Array.from({ length: 15 }, () => 'ask'),
  );
  mock.timers.tick(40);
  assert.deepEqual(said.slice(15), ['ask', 'ask', 'ask', 'lost']);
});

test('after its end it asks nothing', ({ mock }) => {
  mock.timers.enable({ apis: ['setInterval'] });
  const ask = () => assert.fail('asked');
  startPulse({ everyMs: 10, missesMax: 3, ask, onLost: ask })[Symbol.dispose]();
  mock.timers.tick(100);
});
