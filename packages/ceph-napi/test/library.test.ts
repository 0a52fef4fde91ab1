import assert from 'node:assert/strict';
import { test } from 'node:test';
import { abilities, bindings, CephError, errno, errnoName, isErrno } from '../src/index.ts';
import { librbd } from '../src/library.ts';
import { safeInteger, textsOf, withRoom } from '../src/memory.ts';
import { release } from './support.ts';

test('every binding is in the installed library, but for the abilities of a newer one', () => {
  const absent = [...bindings().values()].filter((each) => !each.available);
  const missing = abilities().filter((ability) => !ability.present);
  assert.deepEqual(
    absent.map((each) => each.symbol).filter((symbol) => !symbol.endsWith('_cleanup')),
    missing.map((ability) => ability.symbol).toSorted(),
  );
});

test('abilities are those of the release', async () => {
  const major = await release();
  assert(major >= 16);
  for (const { symbol, present, since, gives, without } of abilities()) {
    assert.equal(present, major >= since, symbol);
    assert(gives.length > 10 && without.length > 10);
  }
});

test('a symbol that the library lacks is known to be absent, and calling it is ENOSYS', async () => {
  const f = librbd('int rbd_not_invented_yet(rbd_image_t image, const char *name)');
  assert.equal(f.available, false);
  const error = { name: 'CephError', code: 'ENOSYS', errno: 38, call: 'rbd_not_invented_yet' };
  assert.throws(() => f.call(0n, ''), error);
  await assert.rejects(f.later(0n, ''), error);
});

test('a prototype that is not understood, or declared twice, is a programmer`s error', () => {
  assert.throws(() => librbd('int rbd_bad(struct timespec when)'), { message: /unknown type/ });
  assert.throws(() => librbd('nothing'), { message: /not a prototype/ });
  const [known] = bindings().values();
  assert.throws(() => librbd(known?.prototype ?? ''), { message: /declared twice/ });
});

test('an error names its number, call and detail', () => {
  const error = new CephError(errno.ENOENT, 'rbd_open', 'an-image');
  assert.equal(error.message, 'rbd_open: ENOENT: no such file or directory (an-image)');
  assert.deepEqual([error.errno, error.code, error.call], [2, 'ENOENT', 'rbd_open']);
  assert.equal(isErrno(error, errno.ENOENT), true);
  assert.equal(isErrno(new Error('ENOENT'), errno.ENOENT), false);
  const blocked = new CephError(errno.ESHUTDOWN, 'rbd_aio_read2').message;
  assert.equal(blocked, 'rbd_aio_read2: ESHUTDOWN: this client is blocklisted');
  for (const [name, number] of Object.entries(errno)) assert.equal(errnoName(number), name);
  assert.equal(errnoName(4321), 'errno 4321');
});

test('a number that JavaScript cannot hold exactly is refused', () => {
  assert.equal(safeInteger(2n ** 53n - 1n, 'id'), Number.MAX_SAFE_INTEGER);
  assert.throws(() => safeInteger(2n ** 53n, 'id'), RangeError);
});

test('room grows to what is wanted, or doubles, up to its limit', async () => {
  const rooms: number[] = [];
  const attempt = (needed: number, told: boolean) => async (room: number) => {
    rooms.push(room);
    return { result: room < needed ? -errno.ERANGE : 0, wanted: told ? needed : room };
  };
  await withRoom('call', 4, attempt(100, true));
  await withRoom('call', 4, attempt(20, false));
  assert.deepEqual(rooms, [4, 100, 4, 8, 16, 32]);
  const endless = withRoom('call', 4, attempt(Infinity, true), 64);
  await assert.rejects(endless, { code: 'ERANGE', call: 'call' });
});

test('texts that NUL ends are split, the empty ones too', () => {
  assert.deepEqual(textsOf(Buffer.from('a\0\0b\0')), ['a', '', 'b']);
  assert.deepEqual(textsOf(Buffer.alloc(0)), []);
});
