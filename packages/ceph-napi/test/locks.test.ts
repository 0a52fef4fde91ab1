import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { createImage, errno, Image, listLockers, listWatchers, lockOwners } from '../src/index.ts';
import { command, conf, failed, json, makePool, type TestPool, until } from './support.ts';

let at: TestPool;
before(async () => {
  at = await makePool();
});
after(() => at[Symbol.asyncDispose]());

test('nobody holds an image that nobody wrote to', async () => {
  await createImage(at.pool, 'free', 1 << 20);
  await using reader = await Image.open(at.pool, { name: 'free' });
  assert.deepEqual(await listWatchers(reader), []);
  assert.equal(await listLockers(reader), null);
  await using image = await Image.open(at.pool, { name: 'free' }, { writable: true });
  assert.equal(await lockOwners(image), null);
  assert.equal((await listWatchers(reader)).length, 1);
});

test('the owner of a written image is among its watchers, as rbd sees it', async (t) => {
  await createImage(at.pool, 'busy', 64 << 20);
  const bench = ['bench', '--io-type', 'write', '--io-pattern', 'rand', '--io-total', '100G'];
  const writer = spawn('rbd', ['-c', conf, ...bench, `${at.name}/busy`], { stdio: 'ignore' });
  const ended = once(writer, 'exit');
  t.after(async () => {
    writer.kill('SIGKILL');
    await ended;
  });
  await using image = await Image.open(at.pool, { name: 'busy' }, { writable: true });
  const held = await until(() => lockOwners(image));
  assert.equal(held.mode, 'exclusive');
  const { watchers } = await json<{
    watchers: { address: string; client: number; cookie: number }[];
  }>('rbd', 'status', `${at.name}/busy`);
  const got = (await listWatchers(image)).map((watcher) => ({
    ...watcher,
    cookie: Number(watcher.cookie),
  }));
  const byClient = (a: { client: number }, b: { client: number }) => a.client - b.client;
  assert.deepEqual(got.toSorted(byClient), watchers.toSorted(byClient));
  assert.equal(got.length, 2);
  assert.deepEqual(
    got.map((watcher) => watcher.address).filter((one) => held.owners.includes(one)),
    held.owners,
  );
  await using fresh = await Image.open(at.pool, { name: 'busy' });
  const [locker] = await json<{ id: string; locker: string; address: string }[]>(
    'rbd',
    'lock',
    'ls',
    `${at.name}/busy`,
  );
  const lockers = await listLockers(fresh);
  assert.equal(lockers?.exclusive, true);
  assert.deepEqual(lockers.lockers, [
    { client: locker?.locker, cookie: locker?.id, address: locker?.address },
  ]);
});

test('advisory locks are listed with their tag', async () => {
  await createImage(at.pool, 'advised', 1 << 20, { features: 1 });
  for (const id of ['first', 'sécond']) {
    await command('rbd', 'lock', 'add', '--shared', 'a tag', `${at.name}/advised`, id);
  }
  await using image = await Image.open(at.pool, { name: 'advised' });
  const lockers = await listLockers(image);
  assert.deepEqual([lockers?.exclusive, lockers?.tag], [false, 'a tag']);
  assert.deepEqual(lockers?.lockers.map((one) => one.cookie).toSorted(byText), ['first', 'sécond']);
  for (const one of lockers.lockers) assert.match(one.client, /^client\.\d+$/);
});

test('owners cannot be asked of a read-only handle', async () => {
  await createImage(at.pool, 'asked', 1 << 20);
  await using image = await Image.open(at.pool, { name: 'asked' });
  await assert.rejects(lockOwners(image), failed('rbd_lock_get_owners', errno.EINVAL));
});

function byText(a: string, b: string): number {
  return a < b ? -1 : 1;
}
