// Turns: how many work at once, also when that number changes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Turns } from '../../../src/cache/turns.ts';
import type { Job } from '../../../src/wire/journal.ts';

const jobOf = (id: string) => ({ id, signal: new AbortController().signal }) as Job;

test('more slots count from the next that comes or ends, fewer as soon as those that work have ended', async () => {
  let slots = 1;
  const turns = new Turns(() => slots);
  const working = new Map<string, Disposable>();
  const take = (id: string) =>
    void turns.take(jobOf(id), 'operator').then((turn) => working.set(id, turn));
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const end = async (id: string) => {
    working.get(id)?.[Symbol.dispose]();
    working.delete(id);
    await settled();
  };
  for (const id of ['a', 'b', 'c']) take(id);
  await settled();
  assert.deepEqual([...working.keys()], ['a']);
  slots = 3;
  take('d');
  await settled();
  assert.deepEqual([...working.keys()], ['a', 'b', 'c']);
  slots = 1;
  await end('a');
  await end('b');
  assert.deepEqual([...working.keys()], ['c']);
  await end('c');
  assert.deepEqual([...working.keys()], ['d']);
});
