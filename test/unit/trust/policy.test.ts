// What rules of trust ask of a source: by pool, namespace and image, the first that is about it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { planVerification } from '../../../src/trust/plan.ts';
import {
  type Carried,
  decideTrust,
  REQUIREMENTS,
  standingOf,
  type TrustRule,
} from '../../../src/trust/policy.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { SourceProperties, Verification } from '../../../src/wire/vocabulary.ts';

const NOTHING: Carried = { signature: false, manifest: false, digest: false };
const SHA256 = 'ab'.repeat(32);

function rule(more: Partial<TrustRule>): TrustRule {
  const any = { pools: [], images: [], formats: ['raw', 'qcow2'], allowForeignRaw: false } as const;
  return { ...any, require: ['none'], ...more };
}
const at = (pool: string, image: string, namespace = '') => ({ pool, namespace, image });
const wants = (...require: TrustRule['require']) => ({ require });

test('without a rule all is admitted, and nobody said so', () => {
  const decision = decideTrust([], at('images', 'x'), NOTHING);
  assert(decision.kind === 'admit');
  assert.deepEqual([decision.isStated, decision.rule.allowForeignRaw], [false, false]);
});

test('the first rule that is about a source decides', () => {
  const rules = [
    rule({ pools: ['images'], images: ['rocky-*'], ...wants('none') }),
    rule({ pools: ['images*', 'gold/t?'], ...wants('signature') }),
    rule({ images: ['.hidden'], ...wants('digest') }),
  ];
  const PLACES: readonly [ReturnType<typeof at>, number | undefined][] = [
    [at('images', 'rocky-9'), undefined],
    [at('images', 'rocky'), 2],
    [at('images', 'rocky-9', 'tenant'), undefined],
    [at('images-old', 'rocky-9'), 2],
    [at('gold', 'x'), undefined],
    [at('gold', 'x', 't1'), 2],
    [at('gold', 'x', 'other'), undefined],
    [at('vms', '.hidden'), 3],
    [at('vms', 'x.hidden'), undefined],
  ];
  for (const [place, refusing] of PLACES) {
    const decision = decideTrust(rules, place, NOTHING);
    const found = decision.kind === 'refuse' ? decision.rule : undefined;
    assert.equal(found, refusing, JSON.stringify(place));
  }
});

test('any one of what a rule names will do, and nothing else', () => {
  const some = fc.subarray([...REQUIREMENTS], { minLength: 1 });
  const carried = fc.record({
    signature: fc.boolean(),
    manifest: fc.boolean(),
    digest: fc.boolean(),
  });
  fc.assert(
    fc.property(some, carried, (require, has) => {
      const isMet = require.some((each) => each === 'none' || has[each]);
      const decision = decideTrust([rule({ require })], at('p', 'i'), has);
      assert.equal(decision.kind, isMet ? 'admit' : 'refuse');
    }),
  );
});

test('a refusal says which rule, what it wants, and what there is', () => {
  const whyOf = (require: TrustRule['require'], carried: Partial<Carried>) => {
    const decision = decideTrust([rule({ require })], at('p', 'i'), { ...NOTHING, ...carried });
    return decision.kind === 'refuse' ? decision.why : decision.kind;
  };
  assert.equal(
    whyOf(['signature', 'manifest'], { digest: true }),
    'trust rule 1 wants a signature or a manifest, and it carries only a digest',
  );
  assert.equal(whyOf(['digest'], {}), 'trust rule 1 wants a digest, and it carries none of these');
});

async function planned(properties: SourceProperties, more: Partial<TrustRule>, operator = {}) {
  const asked: string[] = [];
  const findCertificate = async (uuid: string) => {
    asked.push(uuid);
    return undefined;
  };
  const source = { pool: 'images', namespace: '', image: 'x', snap: 's' };
  const request = { properties, operator, source, findCertificate, now: 0 };
  return await planVerification({ ...request, rules: [rule(more)] });
}

const refused = (code: string, words: RegExp) => (error: unknown) => {
  assert(error instanceof OperatingError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, words);
  return true;
};

test('planning refuses what is missing, or is there by half', async () => {
  const words = /images\/x@s: trust rule 1 wants a signature, and it carries/;
  await assert.rejects(planned({}, wants('signature')), refused('refused', words));
  const digest = { os_hash_algo: 'sha256', os_hash_value: SHA256 };
  await assert.rejects(planned(digest, wants('signature')), refused('refused', words));
  const half = { img_signature: 'YQ==' };
  for (const require of ['signature', 'none'] as const) {
    await assert.rejects(planned(half, wants(require)), refused('usage', /hash_method.* missing/));
  }
  const weak = { checksum: 'ab'.repeat(16), os_hash_algo: 'sha1', os_hash_value: 'a'.repeat(40) };
  await assert.rejects(planned(weak, wants('digest')), refused('refused', /none of these/));
  assert.equal((await planned(digest, wants('digest'))).digests.length, 1);
  assert.equal((await planned({}, wants('digest'), { sha256: SHA256 })).digests.length, 1);
  const raw = { disk_format: 'raw' };
  const only = { formats: ['qcow2'] as const };
  await assert.rejects(planned(raw, only), refused('refused', /takes qcow2, and it is raw/));
});

test('a plan says what its rule takes', async () => {
  const accepts = { formats: ['raw', 'qcow2'], foreignRaw: true };
  assert.deepEqual((await planned({}, { allowForeignRaw: true })).accepts, accepts);
});

test('how bases stand to the rules', () => {
  const verified: Verification = {
    kind: 'verified',
    by: [{ what: 'digest', algorithm: 'sha256', from: 'operator' }],
  };
  const base = (pool: string, verification: Verification) => ({
    name: { pool, namespace: '', image: 'x', snap: 's' },
    verification,
    sourceFormat: 'raw' as const,
  });
  const nothing: Verification = { kind: 'unverified' };
  const bases = [
    ...['free', 'gold', 'other'].flatMap((pool) => [base(pool, nothing), base(pool, verified)]),
    base('qcow2', verified),
  ];
  const rules = [
    rule({ pools: ['free'], ...wants('none') }),
    rule({ pools: ['gold'], ...wants('signature') }),
    rule({ pools: ['qcow2'], formats: ['qcow2'] }),
  ];
  assert.deepEqual(standingOf(rules, bases), {
    unverified: 3,
    unstated: 1,
    refused: [
      { rule: 2, bases: 2 },
      { rule: 3, bases: 1 },
    ],
  });
});
