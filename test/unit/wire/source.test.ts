// Sources: both spellings, and what each refusal names.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OperatingError } from '../../../src/wire/errors.ts';
import { formatSource, parseSource } from '../../../src/wire/source.ts';
import { bounded, changedFrom, RUNS, RUNS_NAME } from '../../support/mutations.ts';

const FSID = '6f1f9a3c-0d1e-4a53-9f5e-2f0f8f3d7a11';

test('the two spellings', () => {
  assert.deepEqual(parseSource('rbd:images/debian@snap'), {
    pool: 'images',
    namespace: '',
    image: 'debian',
    snap: 'snap',
  });
  assert.deepEqual(parseSource('rbd:images/tenant/debian@snap'), {
    pool: 'images',
    namespace: 'tenant',
    image: 'debian',
    snap: 'snap',
  });
  assert.deepEqual(parseSource(`rbd://${FSID}/images/a%2Fb%40c/snap%20%C3%A9`), {
    fsid: FSID,
    pool: 'images',
    namespace: '',
    image: 'a/b@c',
    snap: 'snap é',
  });
});

const REFUSED: readonly (readonly [string, RegExp])[] = [
  ['', /does not begin with rbd:/],
  ['http://x/y', /does not begin with rbd:/],
  ['images/debian@snap', /does not begin with rbd:/],
  ['rbd:debian@snap', /POOL\/IMAGE/],
  ['rbd:a/b/c/d@snap', /POOL\/IMAGE/],
  ['rbd:images/debian', /no snapshot/],
  ['rbd:images/debian@', /empty/],
  ['rbd:images/@snap', /empty/],
  ['rbd:images/de@bian@snap', /more than one @/],
  ['rbd:images/deb\nian@snap', /control character/],
  ['rbd:images/deb\u0000ian@snap', /control character/],
  [`rbd:images/${'x'.repeat(1025)}@snap`, /longer than 1024 bytes/],
  ['rbd://image', /has 1 parts/],
  [`rbd://${FSID}/images/x`, /has 3 parts/],
  [`rbd://${FSID}/images/x/snap/`, /empty/],
  ['rbd://///', /empty/],
  ['rbd://not-an-fsid/images/x/snap', /not an fsid/],
  [`rbd://${FSID}/images/%zz/snap`, /URL-escaped/],
  [`rbd://${FSID}/images/%ff/snap`, /URL-escaped/],
];

for (const [text, why] of REFUSED) {
  test(`refused: ${JSON.stringify(text.slice(0, 60))}`, () => {
    assert.throws(
      () => parseSource(text),
      (error: unknown) =>
        error instanceof OperatingError &&
        error.code === 'usage' &&
        why.test(error.why) &&
        error.hint !== undefined,
    );
  });
}

test('whatever the text, it parses or is refused in words', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('rbd:', 'rbd://', ''),
      (text, head) => {
        try {
          const name = parseSource(head + text);
          if (name.fsid === undefined) assert.equal(formatSource(name), head + text);
        } catch (error) {
          assert.ok(error instanceof OperatingError && error.code === 'usage');
        }
      },
    ),
  );
});

test(`names of sources: ${RUNS_NAME}`, () => {
  const fsid = '7b7e4c4e-6c1a-4b7e-9a55-0d7c5e0a9b11';
  const right = ['rbd:p/i@s', 'rbd:p/n/i@s', `rbd://${fsid}/p%2Fq/%e2%82%ac/s`];
  const made = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 3000 }),
    changedFrom(right.map((text) => Buffer.from(text))).map((bytes) => bytes.toString()),
    fc
      .array(
        fc.constantFrom('rbd:', '//', '/', '@', '%', '%2F', '%00', '%ff', fsid, 'a', '\u20ac'),
        {
          maxLength: 30,
        },
      )
      .map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(made, (text) => {
      try {
        const name = bounded(() => parseSource(text));
        const { pool, image, snap } = name;
        for (const part of [pool, image, snap]) {
          assert.ok(part !== '' && Buffer.byteLength(part) <= 1024 && !/\p{Cc}/u.test(part));
        }
        if (name.fsid === undefined) assert.equal(formatSource(name), text);
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        assert.equal(error.code, 'usage');
        assert.ok(error.message.length < 4000);
      }
    }),
    RUNS,
  );
});
