import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  areBaseIds,
  baseId,
  basePath,
  parseBaseId,
  parseBasePath,
} from '../../../src/domain/base-path.ts';
import type { SourceIds } from '../../../src/wire/vocabulary.ts';

const FSID = '7b7e4c4e-6c1a-4b7e-9a55-0d7c5e0a9b11';
const IDS: SourceIds = { fsid: FSID, poolId: 3, namespace: '', imageId: 'ab12', snapId: 4 };
const ROOT = '/var/lib/siphon/bases';

const PATHS: readonly { ids: Partial<SourceIds>; tail: string }[] = [
  { ids: {}, tail: '3/ab12@4' },
  { ids: { namespace: 'ns1' }, tail: '3.ns1/ab12@4' },
  { ids: { namespace: 'a.b' }, tail: '3.a.b/ab12@4' },
  { ids: { namespace: '.' }, tail: '3../ab12@4' },
  { ids: { namespace: '..' }, tail: '3.../ab12@4' },
  { ids: { namespace: '../../etc' }, tail: '3...%2F..%2Fetc/ab12@4' },
  { ids: { namespace: '/' }, tail: '3.%2F/ab12@4' },
  { ids: { namespace: 'a@b' }, tail: '3.a%40b/ab12@4' },
  { ids: { namespace: '%2F' }, tail: '3.%252F/ab12@4' },
  { ids: { namespace: 'ü \n' }, tail: '3.%C3%BC%20%0A/ab12@4' },
  { ids: { imageId: 'a@4.qcow2' }, tail: '3/a%404.qcow2@4' },
  { ids: { poolId: 0, snapId: Number.MAX_SAFE_INTEGER }, tail: '0/ab12@9007199254740991' },
];

for (const { ids, tail } of PATHS) {
  test(`the path ${tail}`, () => {
    const whole = { ...IDS, ...ids };
    const path = basePath(ROOT, whole, 'qcow2');
    assert.equal(path, `${ROOT}/${FSID}/${tail}.qcow2`);
    assert.deepEqual(parseBasePath(ROOT, path), { ids: whole, format: 'qcow2' });
  });
}

const NO_PATHS = [
  `${FSID}/3/ab12@4`,
  `${FSID}/3/ab12@4.vmdk`,
  `${FSID}/3/ab12@4.qcow2.partial`,
  `${FSID}/3./ab12@4.qcow2`,
  `${FSID}/03/ab12@4.qcow2`,
  `${FSID}/3/ab12@04.qcow2`,
  `${FSID}/3/ab12@-4.qcow2`,
  `${FSID}/3/ab12@4@5.qcow2`,
  `${FSID}/3/@4.qcow2`,
  `${FSID}/-3/ab12@4.qcow2`,
  `${FSID}/3//ab12@4.qcow2`,
  `${FSID}/3/./ab12@4.qcow2`,
  `${FSID}/3.a%2fb/ab12@4.qcow2`,
  `${FSID}/3.a%41/ab12@4.qcow2`,
  `${FSID}/3.a%FF/ab12@4.qcow2`,
  `${FSID}/3.a%/ab12@4.qcow2`,
  `${FSID}/3.a b/ab12@4.qcow2`,
  `${FSID}/3/ab12@9007199254740993.qcow2`,
  `${FSID}/3/ab12@4e2.qcow2`,
  `${FSID.toUpperCase()}/3/ab12@4.qcow2`,
  `not-an-fsid/3/ab12@4.qcow2`,
  `../3/ab12@4.qcow2`,
  `x/${FSID}/3/ab12@4.qcow2`,
  '',
];

for (const tail of NO_PATHS) {
  test(`no base has the path '${tail}'`, () => {
    assert.equal(parseBasePath(ROOT, `${ROOT}/${tail}`), null);
  });
}

test('a path is looked for under its own root only', () => {
  const path = basePath(ROOT, IDS, 'raw');
  assert.equal(parseBasePath('/var/lib/siphon/base', path), null);
  assert.equal(parseBasePath('/var/lib/siphon/bases/x', path), null);
  assert.deepEqual(parseBasePath(`${ROOT}/`, path), { ids: IDS, format: 'raw' });
});

const NO_IDS: readonly Partial<SourceIds>[] = [
  { imageId: '' },
  { poolId: -1 },
  { poolId: 1.5 },
  { snapId: 2 ** 60 },
  { fsid: '' },
  { fsid: `${FSID}/..` },
  { namespace: 'n'.repeat(300) },
  { namespace: '\ud800' },
];

for (const ids of NO_IDS) {
  test(`no base has the ids ${JSON.stringify(ids).slice(0, 60)}`, () => {
    assert.equal(areBaseIds({ ...IDS, ...ids }), false);
    assert.throws(() => baseId({ ...IDS, ...ids }), { name: 'AssertionError' });
  });
}

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.string({
    unit: fc.constantFrom('.', '/', '@', '%', '2', 'F', 'a', '\0', '\\'),
    maxLength: 12,
  }),
);
const anyIds = fc.record(
  {
    fsid: fc.uuid(),
    poolId: fc.maxSafeNat(),
    namespace: text.filter((each) => each.isWellFormed()),
    imageId: text.filter((each) => each !== '' && each.isWellFormed()),
    snapId: fc.maxSafeNat(),
  },
  { noNullPrototype: true },
);

test('every identity has one path, which leads back to it', () => {
  fc.assert(
    fc.property(anyIds, fc.constantFrom('qcow2', 'raw'), (ids, format) => {
      const path = basePath(ROOT, ids, format);
      assert.deepEqual(parseBasePath(ROOT, path), { ids, format });
      const parts = path.slice(ROOT.length + 1).split('/');
      assert.equal(parts.length, 3);
      assert(parts.every((part) => part !== '.' && part !== '..' && !part.includes('\0')));
    }),
  );
});

test('two identities have two paths', () => {
  fc.assert(
    fc.property(anyIds, anyIds, (a, b) => {
      fc.pre(JSON.stringify(a) !== JSON.stringify(b));
      assert.notEqual(baseId(a), baseId(b));
    }),
  );
});

test('whatever is read as an id writes the same text', () => {
  const id = fc
    .tuple(fc.uuid(), fc.string({ maxLength: 9 }), fc.string({ maxLength: 9 }))
    .map(([fsid, pool, file]) => `${fsid}/${pool}/${file}`);
  fc.assert(
    fc.property(id, (each) => {
      const ids = parseBaseId(each);
      if (ids !== null) assert.equal(baseId(ids), each);
    }),
  );
});
