import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  blocklistClient,
  breakLock,
  errno,
  Image,
  listBlocklist,
  listWatchers,
  lockOwners,
  unblocklistClient,
} from '../src/index.ts';
import { connect, failed, makeImage, makePool, type TestPool } from './support.ts';

let at: TestPool;
before(async () => {
  at = await makePool();
});
after(() => at[Symbol.asyncDispose]());

const writable = { writable: true };

test('a blocklisted client is refused, and others are not', async () => {
  await using victim = await connect();
  await using pool = await victim.openPool(at.name);
  await using image = await makeImage(pool, 'fenced', 1 << 20);
  await image.write(Buffer.from('before'), 0);
  const address = await victim.address();
  const start = Date.now();
  await blocklistClient(at.cluster, address, 600);
  await victim.waitForLatestOsdMap();
  const write = image.write(Buffer.from('after'), 0);
  await assert.rejects(write, failed('rbd_write', errno.ESHUTDOWN));
  const entry = (await listBlocklist(at.cluster)).find((one) => one.address === address);
  assert(entry);
  const ahead = entry.until.getTime() - start;
  assert(ahead > 590_000 && ahead < 660_000, String(ahead));
  await unblocklistClient(at.cluster, address);
  assert(!(await listBlocklist(at.cluster)).some((one) => one.address === address));
  await using other = await Image.open(at.pool, { name: 'fenced' }, writable);
  await other.write(Buffer.from('other'), 0);
  const nonsense = blocklistClient(at.cluster, 'nonsense');
  await assert.rejects(nonsense, failed('rados_blocklist_add', errno.EINVAL));
});

test('breaking a lock blocklists who owned it', async () => {
  await using victim = await connect();
  await using pool = await victim.openPool(at.name);
  await using image = await makeImage(pool, 'owned', 1 << 20);
  await image.write(Buffer.from('mine'), 0);
  await using mine = await Image.open(at.pool, { name: 'owned' }, writable);
  const { owners: [owner = ''] = [] } = (await lockOwners(mine)) ?? {};
  assert.equal(owner, await victim.address());
  assert((await listWatchers(mine)).some((watcher) => watcher.address === owner));
  await assert.rejects(breakLock(mine, '10.0.0.1:0/1'), failed('rbd_lock_break', errno.EBUSY));
  await breakLock(mine, owner);
  assert((await listBlocklist(at.cluster)).some((one) => one.address === owner));
  await mine.write(Buffer.from('taken'), 0);
  await victim.waitForLatestOsdMap();
  await assert.rejects(image.write(Buffer.from('x'), 0), failed('rbd_write', errno.ESHUTDOWN));
  await unblocklistClient(at.cluster, owner);
  await assert.rejects(breakLock(mine, owner), failed('rbd_lock_break', errno.EBUSY));
});
