import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorCode, OperatingError } from '../../../src/wire/errors.ts';
import { during, translateError } from '../../../src/worker/translate-error.ts';

const step = { op: 'open image', subject: 'images/base' };
const ceph = (errno: number) =>
  Object.assign(new Error('rbd_open'), { name: 'CephError', errno, call: 'rbd_open' });
const libvirt = (code: number) => Object.assign(new Error('virX'), { name: 'LibvirtError', code });
const file = (errno: number) => Object.assign(new Error('open'), { errno, syscall: 'open' });

const cases: readonly [string, Error, ErrorCode][] = [
  ['ENOENT of Ceph', ceph(2), 'not-found'],
  ['EPERM of Ceph', ceph(1), 'denied'],
  ['a timeout of Ceph', ceph(110), 'unavailable'],
  ['an errno that nobody knows', ceph(9999), 'unavailable'],
  ['no such domain', libvirt(42), 'not-found'],
  ['a veto of the hook', libvirt(70), 'refused'],
  ['an internal error of libvirt', libvirt(1), 'unavailable'],
  ['a full disk', file(-28), 'exhausted'],
  ['an abort', new DOMException('aborted', 'AbortError'), 'cancelled'],
  ['a missing library', Object.assign(new Error('x'), { name: 'LibraryError' }), 'unavailable'],
];

for (const [name, error, code] of cases) {
  test(`${name} is ${code}, with its step`, () => {
    const translated = translateError(error, step);
    assert.deepEqual([translated.code, translated.op, translated.cause], [code, step.op, error]);
    assert.ok(translated.message.startsWith('open image: images/base: '));
  });
}

test('the step says why and what to do, by code; the cause keeps its words', () => {
  const why = { 'not-found': "there is no image 'base'" };
  const translated = translateError(ceph(2), { ...step, why, hint: { 'not-found': 'Look.' } });
  assert.equal(translated.why, "there is no image 'base' (rbd_open)");
  assert.equal(translated.hint, 'Look.');
});

test('a blocklisted client is told so', () => {
  assert.match(translateError(ceph(108), step).hint ?? '', /blocklist/);
});

test('an operating error passes unchanged through outer steps', async () => {
  const error = new OperatingError({ code: 'busy', ...step });
  await assert.rejects(
    during({ op: 'outer', subject: 'x' }, () => Promise.reject(error)),
    (thrown) => thrown === error,
  );
});

test('where closing failed too, the first error is told', () => {
  const both = new SuppressedError(ceph(110), ceph(2));
  assert.equal(translateError(both, step).code, 'not-found');
});

for (const defect of [new TypeError('x'), new Error('x'), 'text', undefined]) {
  test(`a defect is thrown on: ${String(defect)}`, () => {
    assert.throws(
      () => translateError(defect, step),
      (thrown) => thrown === defect,
    );
  });
}
