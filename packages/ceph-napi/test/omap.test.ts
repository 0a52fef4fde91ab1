import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  createObject,
  errno,
  omapCompareAndSet,
  omapGet,
  omapGetAll,
  omapRemove,
  omapSet,
  readObject,
  removeObject,
  statObject,
  writeObject,
} from '../src/index.ts';
import { command, connect, failed, makePool, type TestPool } from './support.ts';

let at: TestPool;
before(async () => {
  at = await makePool();
});
after(() => at[Symbol.asyncDispose]());

const read = 'rados_read_op_operate';
const write = 'rados_write_op_operate2';

test('an object is created once, described, removed once', async () => {
  assert.equal(await statObject(at.pool, 'thing'), null);
  await createObject(at.pool, 'thing');
  await assert.rejects(createObject(at.pool, 'thing'), failed(write, errno.EEXIST));
  const stat = await statObject(at.pool, 'thing');
  assert.equal(stat?.sizeBytes, 0);
  assert(Math.abs(stat.modifiedAt.getTime() - Date.now()) < 60_000);
  await removeObject(at.pool, 'thing');
  await assert.rejects(removeObject(at.pool, 'thing'), failed('rados_remove', errno.ENOENT));
});

test('an object is written whole, and again; rados sees the same', async () => {
  const bytes = Buffer.from(Array.from({ length: 3 * (1 << 16) }, (_, index) => index % 251));
  await writeObject(at.pool, 'bytes', bytes);
  assert.equal((await statObject(at.pool, 'bytes'))?.sizeBytes, bytes.length);
  assert.deepEqual(await command('rados', '-p', at.name, 'get', 'bytes', '-'), bytes);
  assert.deepEqual(await readObject(at.pool, 'bytes', 1 << 20), bytes);
  assert.deepEqual(await readObject(at.pool, 'bytes', 1000), bytes.subarray(0, 1000));
  await assert.rejects(readObject(at.pool, 'absent', 1), failed('rados_read', errno.ENOENT));
  await writeObject(at.pool, 'bytes', Buffer.from('short'));
  assert.equal((await statObject(at.pool, 'bytes'))?.sizeBytes, 5);
});

test('entries are set, got, removed, and rados sees the same', async () => {
  const value = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  await omapSet(at.pool, 'table', { plain: 'text', schlüssel: value, empty: '' });
  assert.deepEqual(
    await omapGet(at.pool, 'table', ['schlüssel', 'empty', 'absent']),
    new Map([
      ['schlüssel', value],
      ['empty', Buffer.alloc(0)],
    ]),
  );
  const seen = await command('rados', '-p', at.name, 'listomapkeys', 'table');
  assert.deepEqual(seen.toString().trim().split('\n').length, 3);
  await command('rados', '-p', at.name, 'setomapval', 'table', 'theirs', 'value');
  await omapRemove(at.pool, 'table', ['plain', 'empty', 'never set']);
  const all = await omapGetAll(at.pool, 'table');
  assert.deepEqual(
    all,
    new Map([
      ['schlüssel', value],
      ['theirs', Buffer.from('value')],
    ]),
  );
});

test('an object that does not exist is ENOENT', async () => {
  await assert.rejects(omapGetAll(at.pool, 'absent'), failed(read, errno.ENOENT));
  await assert.rejects(omapGet(at.pool, 'absent', ['key']), failed(read, errno.ENOENT));
  await assert.rejects(omapRemove(at.pool, 'absent', ['key']), failed(write, errno.ENOENT));
});

test('all pages of a large table are got, or those of a prefix, or a RangeError', async () => {
  const entries = new Map(
    Array.from(
      { length: 1500 },
      (_, index) => [`${index % 3}-${index}`, `value ${index}`] as const,
    ),
  );
  await omapSet(at.pool, 'large', entries);
  const all = await omapGetAll(at.pool, 'large');
  assert.equal(all.size, 1500);
  for (const [key, value] of entries) assert.equal(all.get(key)?.toString(), value);
  const some = await omapGetAll(at.pool, 'large', { prefix: '1-' });
  assert.equal(some.size, 500);
  assert([...some.keys()].every((key) => key.startsWith('1-')));
  await assert.rejects(omapGetAll(at.pool, 'large', { limit: 1499 }), RangeError);
});

test('compare and set changes all or nothing', async () => {
  await omapSet(at.pool, 'guarded', { state: 'new', note: 'x' });
  const change = { expect: { state: 'new', owner: null }, set: { state: 'taken', owner: 'me' } };
  assert.equal(await omapCompareAndSet(at.pool, 'guarded', { ...change, remove: ['note'] }), true);
  assert.equal(await omapCompareAndSet(at.pool, 'guarded', change), false);
  const half = { expect: { state: 'taken', owner: 'other' }, set: { state: 'stolen' } };
  assert.equal(await omapCompareAndSet(at.pool, 'guarded', half), false);
  const left = await omapGetAll(at.pool, 'guarded');
  assert.deepEqual(
    left,
    new Map([
      ['owner', Buffer.from('me')],
      ['state', Buffer.from('taken')],
    ]),
  );
});

test('compare and set makes the object only if it holds', async () => {
  const expected = { expect: { key: 'something' }, set: { key: 'other' } };
  assert.equal(await omapCompareAndSet(at.pool, 'unborn', expected), false);
  assert.equal(await statObject(at.pool, 'unborn'), null);
  const absent = { expect: { key: null }, set: { key: 'first' } };
  assert.equal(await omapCompareAndSet(at.pool, 'unborn', absent), true);
});

test('writers that race count every increment', async () => {
  await using other = await connect();
  await using theirs = await other.openPool(at.name);
  const increment = async (pool: typeof theirs) => {
    for (let attempt = 0; attempt < 500; attempt += 1) {
      const held = (await omapGetAll(pool, 'counter')).get('n')?.toString() ?? null;
      const set = { n: String(Number(held) + 1) };
      if (await omapCompareAndSet(pool, 'counter', { expect: { n: held }, set })) return attempt;
    }
    throw new Error('never won');
  };
  await createObject(at.pool, 'counter');
  const writers = Array.from({ length: 24 }, (_, index) => increment(index % 2 ? at.pool : theirs));
  const lost = (await Promise.all(writers)).reduce((sum, attempts) => sum + attempts, 0);
  assert.equal((await omapGet(at.pool, 'counter', ['n'])).get('n')?.toString(), '24');
  assert(lost > 0, 'nobody raced');
});
