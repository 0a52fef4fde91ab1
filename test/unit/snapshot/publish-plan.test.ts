// What is made of a set that is published, and whether: pure.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PublishPlan } from '../../../src/snapshot/publish/data.ts';
import {
  assertRoom,
  DEPTH_HARD,
  DEPTH_SOFT,
  decideNext,
  decidePublish,
  planPublish,
} from '../../../src/snapshot/publish/plan.ts';
import { type ErrorCode, OperatingError } from '../../../src/wire/errors.ts';
import type { PublishAsk } from '../../../src/wire/publish-api.ts';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { setOf } from './publish-sets.ts';

const TO = { pool: 'images', namespace: '' };
const ASK: PublishAsk = { to: TO, flatten: 'here', fallback: 'none' };
const plan = (ask: Partial<PublishAsk> = {}, set: SnapshotSet = setOf(['vda', 'vdb'])) =>
  planPublish(set, { ...ASK, ...ask }, 'p1');
const namesOf = ({ images }: PublishPlan) =>
  images.map(({ target, image, marked }) => [target, image, marked]);

test('one image is named as it is asked for, of several each by its target; else by domain and set', () => {
  const several = [
    ['vda', 'gold-vda', 'siphon.p1.vda'],
    ['vdb', 'gold-vdb', 'siphon.p1.vdb'],
  ];
  assert.deepEqual(namesOf(plan({ name: 'gold' })), several);
  assert.deepEqual(namesOf(plan({ name: 'gold', devices: ['vdb'] })), [
    ['vdb', 'gold', 'siphon.p1.vdb'],
  ]);
  assert.deepEqual(namesOf(plan({ devices: 'root' })), [['vda', 'web-1-s1', 'siphon.p1.vda']]);
  const odd = { ...setOf(['vda']), domainName: 'a/b @c' };
  assert.deepEqual(namesOf(plan({}, odd)), [['vda', 'a-b--c-s1', 'siphon.p1.vda']]);
});

test('no name carries siphon’s mark in disguise, nor what Ceph reads as more than a name', () => {
  for (const name of ['a@b', 'a/b', '', '.hidden', 'x'.repeat(201)]) {
    assert.throws(() => plan({ name }), { code: 'usage' }, name);
  }
  assert.throws(
    () => plan({ devices: ['vdz'] }),
    (error) => {
      return (
        error instanceof OperatingError && error.code === 'not-found' && error.why.includes('vdz')
      );
    },
  );
});

const FACTS = {
  isNameTaken: false,
  isFull: false,
  isEncrypted: false,
  ancestors: 0,
  mayClone: true,
  format: 2,
} as const;
type Facts = Parameters<typeof decidePublish>[2];

function decide(facts: Partial<Facts>, ask: Partial<PublishAsk> = {}) {
  const planned = plan({ devices: 'root', ...ask });
  const [image = assert.fail()] = planned.images;
  return decidePublish(planned, image, { ...FACTS, ...facts });
}

test('what is in the way is refused before anything is made, with what to do', () => {
  const refused = (facts: Partial<Facts>, ask: Partial<PublishAsk>, why: RegExp) => {
    const decision = decide(facts, ask);
    assert.ok(decision.kind === 'refuse');
    assert.equal(decision.error.code, 'refused');
    assert.match(decision.error.why ?? '', why);
    assert.ok(decision.error.hint);
  };
  assert.deepEqual(decide({}), { kind: 'go', depth: 1 });
  refused({ isNameTaken: true }, {}, /is there already/);
  refused({ isEncrypted: true }, {}, /LUKS/);
  assert.equal(decide({ isEncrypted: true }, { isEncryptedTaken: true }).kind, 'go');
  const elsewhere = { to: { ...TO, namespace: 'tenant' } };
  refused({ format: 1 }, elsewhere, /format 1/);
  assert.equal(decide({ format: 2 }, elsewhere).kind, 'go');
});

test('the depth of a chain is warned of where it stays, and has an end', () => {
  const warningAt = (ancestors: number, flatten: PublishAsk['flatten']) => {
    const decision = decide({ ancestors }, { flatten });
    return decision.kind === 'go' ? decision.warning !== undefined : 'refused';
  };
  assert.equal(warningAt(DEPTH_SOFT - 1, 'never'), false);
  assert.equal(warningAt(DEPTH_SOFT, 'never'), true);
  assert.equal(warningAt(DEPTH_SOFT, 'here'), false);
  assert.equal(warningAt(DEPTH_HARD - 1, 'here'), false);
  assert.equal(warningAt(DEPTH_HARD, 'here'), 'refused');
  assert.equal(warningAt(DEPTH_HARD, 'never'), 'refused');
});

const FILES = { folder: '/snapshots', format: 'qcow2', reserveBytes: 10 } as const;
const failed = (code: ErrorCode, way: 'native' | 'copied' | 'file' = 'native', isFinal = false) => {
  return { way, error: { code }, isFinal };
};

test('the same pool comes first, unless it is full; then a file, where there may be files', () => {
  const [copy, none] = [{ fallback: 'copy' }, { fallback: 'none' }] as const;
  const withFiles = { ...copy, files: FILES };
  for (const code of ['busy', 'usage', 'refused', 'denied', 'mismatch'] as const) {
    assert.deepEqual(decideNext(copy, failed(code)), { kind: 'copied' }, code);
    assert.deepEqual(decideNext(withFiles, failed(code)), { kind: 'copied' }, code);
    assert.deepEqual(decideNext(withFiles, failed(code, 'copied')), { kind: 'file' }, code);
    assert.deepEqual(decideNext({ fallback: 'file', files: FILES }, failed(code)), {
      kind: 'file',
    });
    assert.equal(decideNext({ ...none, files: FILES }, failed(code)).kind, 'none');
    const told = decideNext(copy, failed(code, 'copied'));
    assert.match((told.kind === 'none' && told.hint) || '', /snapshots_directory/);
    assert.deepEqual(decideNext(withFiles, failed(code, 'file')), { kind: 'none' });
  }
  assert.deepEqual(decideNext(withFiles, failed('exhausted')), { kind: 'file' });
  assert.equal(decideNext(copy, failed('exhausted')).kind, 'none');
  for (const code of ['cancelled', 'not-found', 'unavailable'] as const) {
    assert.deepEqual(decideNext(withFiles, failed(code)), { kind: 'none' }, code);
  }
  assert.deepEqual(decideNext(withFiles, failed('refused', 'native', true)), { kind: 'none' });
});

test('a full pool may be gone round, a name that is taken and an encrypted disk may not', () => {
  const full = decide({ isFull: true });
  assert.ok(full.kind === 'refuse' && !full.isFinal && full.error.code === 'exhausted');
  const denied = decide({ mayClone: false });
  assert.ok(denied.kind === 'refuse' && !denied.isFinal && denied.error.code === 'denied');
  assert.equal(decide({ mayClone: false, format: 1 }).kind, 'go');
  const deep = decide({ ancestors: DEPTH_HARD });
  assert.ok(deep.kind === 'refuse' && !deep.isFinal);
  for (const facts of [{ isNameTaken: true }, { isEncrypted: true }]) {
    const final = decide(facts);
    assert.ok(final.kind === 'refuse' && final.isFinal);
  }
});

test('files are named by domain, set and target, or as it is asked for; they need a folder, and room', () => {
  const filesOf = (ask: Partial<PublishAsk>) => {
    const planned = planPublish(setOf(['vda']), { ...ASK, ...ask }, 'p1', FILES);
    return [planned.images[0]?.file, planned.files?.format];
  };
  assert.deepEqual(filesOf({ to: 'file' }), ['web-1-s1-vda', 'qcow2']);
  assert.deepEqual(filesOf({ to: 'file', name: 'gold', format: 'raw' }), ['gold', 'raw']);
  assert.throws(() => plan({ to: 'file' }), { code: 'refused' });
  assertRoom(FILES, 90, 100);
  assert.throws(() => assertRoom(FILES, 91, 100), { code: 'exhausted', why: /91 B may be needed/ });
});
