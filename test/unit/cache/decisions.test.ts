// The pure decisions: states, admission, eviction, judging, locks, the mount.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { admit, bytesToFree, type RoomFacts, reservationOf } from '../../../src/cache/admit.ts';
import { type EvictFacts, planEviction, reasonToKeep } from '../../../src/cache/evict.ts';
import { judgeBase, mergeVerification } from '../../../src/cache/judge.ts';
import { isMountedReadOnly, privateFolders } from '../../../src/cache/mount.ts';
import { openStateOf, parseLocks } from '../../../src/cache/open-files.ts';
import { type BaseEvent, TRANSITIONS, transition } from '../../../src/cache/states.ts';
import { signatureId, type VerificationPlan } from '../../../src/wire/verification-plan.ts';

const EVENTS: readonly BaseEvent[] = [
  'reserve',
  'published',
  'failed',
  'refill-failed',
  'adopted',
  'damaged',
  'lost',
  'evict-begun',
  'evicted',
  'kept',
  'kept-suspect',
  'doubted',
  'absolved',
];

test('only a published, adopted or absolved base becomes ready, and only one at rest can begin to go', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...EVENTS), { maxLength: 30 }), (events) => {
      let state = 'absent' as keyof typeof TRANSITIONS;
      for (const event of events) {
        const verdict = transition(state, event);
        if (verdict.kind === 'refused') {
          assert.match(verdict.reason, new RegExp(state));
          continue;
        }
        if (verdict.state === 'ready')
          assert.ok(['published', 'adopted', 'kept', 'absolved'].includes(event));
        if (verdict.state === 'evicting') assert.ok(state === 'ready' || state === 'suspect');
        if (state === 'filling')
          assert.ok(['published', 'failed', 'refill-failed'].includes(event));
        state = verdict.state;
      }
    }),
  );
});

test('from every state there is a way to absent, and from absent to ready', () => {
  for (const from of Object.keys(TRANSITIONS) as (keyof typeof TRANSITIONS)[]) {
    const reached = new Set([from]);
    for (const state of reached)
      for (const event of EVENTS) {
        const verdict = transition(state, event);
        if (verdict.kind === 'to') reached.add(verdict.state);
      }
    assert.ok(reached.has('absent') && reached.has('ready'), from);
  }
});

const ROOM: RoomFacts = {
  freeBytes: 1000,
  reserveBytes: 100,
  limitBytes: 500,
  usedBytes: 300,
  promisedBytes: 0,
  writtenBytes: 0,
};
const GOING = [
  { id: 'old', allocatedBytes: 50 },
  { id: 'newer', allocatedBytes: 200 },
];

const ADMISSIONS: readonly [string, Partial<RoomFacts>, number, string, (readonly string[])?][] = [
  ['it fits exactly', {}, 200, 'admit'],
  ['one byte too many', {}, 201, 'admit-after-evicting', ['old']],
  ['two must go', {}, 260, 'admit-after-evicting', ['old', 'newer']],
  ['all that may go is not enough', {}, 451, 'no-space'],
  ['larger than the cache', {}, 501, 'over-limit'],
  ['the reserve of the file system', { freeBytes: 250 }, 160, 'admit-after-evicting', ['old']],
  ['promised space counts', { promisedBytes: 150 }, 51, 'admit-after-evicting', ['old']],
  [
    'on disk, what is written is not promised twice',
    { freeBytes: 250, promisedBytes: 100, writtenBytes: 100 },
    100,
    'admit',
  ],
  ['nor is it free', { freeBytes: 250, promisedBytes: 100 }, 100, 'admit-after-evicting', ['old']],
  ['over the limit already', { usedBytes: 540 }, 10, 'admit-after-evicting', ['old']],
];
for (const [what, facts, needed, expected, bases] of ADMISSIONS) {
  test(`admission: ${what}`, () => {
    const admission = admit({ ...ROOM, ...facts }, needed, GOING);
    assert.equal(admission.kind === 'refuse' ? admission.reason : admission.kind, expected);
    if (admission.kind === 'admit-after-evicting') assert.deepEqual(admission.bases, bases);
    if (admission.kind === 'refuse') assert.match(admission.why, /\d+ /);
  });
}

test('an admitted fill fits once what was named is gone', () => {
  const size = fc.nat({ max: 2000 });
  const facts = fc.record({
    freeBytes: size,
    reserveBytes: size,
    limitBytes: size,
    usedBytes: size,
    promisedBytes: size,
    writtenBytes: size,
  });
  fc.assert(
    fc.property(facts, size, fc.array(size), (room, needed, sizes) => {
      const going = sizes.map((allocatedBytes, i) => ({ id: String(i), allocatedBytes }));
      const admission = admit(room, needed, going);
      if (admission.kind === 'refuse') return;
      const named = admission.kind === 'admit' ? [] : admission.bases;
      const freed = going
        .filter(({ id }) => named.includes(id))
        .reduce((sum, each) => sum + each.allocatedBytes, 0);
      const then = {
        ...room,
        usedBytes: room.usedBytes - freed,
        freeBytes: room.freeBytes + freed,
      };
      assert.ok(bytesToFree(then, needed) <= 0);
    }),
  );
});

test('a reservation covers the tables of a qcow2 of that much data', () => {
  const data = 8 * 1024 ** 3;
  assert.ok(reservationOf(data) >= data + (data / 65_536) * 10);
  assert.ok(reservationOf(0) > 0);
});

const BASE: EvictFacts = {
  id: 'x',
  state: 'ready',
  isPinned: false,
  leases: [],
  allocatedBytes: 100,
  lastUsedAtMs: 5,
  open: 'closed',
  overlay: { kind: 'none' },
};
const LEASE = { domainUuid: 'u', domainName: 'web1', kind: 'defined' as const };

const KEPT: readonly [Partial<EvictFacts>, RegExp][] = [
  [{ isPinned: true }, /pinned/],
  [{ leases: [LEASE] }, /defined domain web1/],
  [{ leases: [{ ...LEASE, kind: 'running' }, LEASE] }, /running domain web1 needs it and 1 more/],
  [{ open: 'open' }, /open/],
  [{ open: 'unknown' }, /could not be told/],
  [{ overlay: { kind: 'refers', path: '/o' } }, /the overlay \/o refers to it/],
  [
    { overlay: { kind: 'unknown', why: 'x is odd' } },
    /could not be told whether an overlay .*: x is odd/,
  ],
  [{ state: 'filling' }, /being filled/],
  [{ state: 'evicting' }, /already/],
];
for (const [facts, reason] of KEPT) {
  test(`kept, also by name: ${reason.source}`, () => {
    const base = { ...BASE, ...facts };
    assert.match(reasonToKeep(base) ?? '', reason);
    const [decision] = planEviction([base], { kind: 'named', ids: new Set(['x']) });
    assert.equal(decision?.decision, 'keep');
    assert.match(decision.reason, reason);
  });
}

test('the suspect and the least recently used go first, and no more than it takes', () => {
  const bases: EvictFacts[] = [
    { ...BASE, id: 'new', lastUsedAtMs: 9 },
    { ...BASE, id: 'old', lastUsedAtMs: 1 },
    { ...BASE, id: 'bad', state: 'suspect', lastUsedAtMs: 8 },
    { ...BASE, id: 'oldest', lastUsedAtMs: 0, isPinned: true },
  ];
  const plan = planEviction(bases, { kind: 'regain', bytes: 150 });
  const going = plan.filter(({ decision }) => decision === 'evict').map(({ id }) => id);
  assert.deepEqual(going, ['bad', 'old']);
  assert.equal(plan.find(({ id }) => id === 'new')?.reason, 'there is room for it');
  const none = planEviction(bases, { kind: 'regain', bytes: 0 });
  assert.ok(none.every(({ decision }) => decision === 'keep'));
  assert.equal(planEviction(bases, { kind: 'named', ids: new Set(['new']) }).length, 1);
});

const LOCKS = `1: OFDLCK ADVISORY  READ -1 fe:00:1483279 100 100
2: POSIX  ADVISORY  WRITE 14129 00:44:189 0 EOF
2: -> POSIX  ADVISORY  WRITE 14130 00:44:190 0 0
3: FLOCK  ADVISORY  WRITE 17373 fe:00:7 0 EOF
4: LEASE  ACTIVE    READ 5 fe:00:8 0 EOF
`;
const DEV = (major: number, minor: number) => BigInt((major << 8) | minor);

test('a lock on the inode is use, on the same device or where devices cannot be compared', () => {
  const locks = parseLocks(LOCKS);
  assert.equal(openStateOf({ dev: DEV(0xfe, 0), ino: 1483279n }, locks), 'open');
  assert.equal(openStateOf({ dev: DEV(0xfe, 1), ino: 1483279n }, locks), 'closed');
  assert.equal(openStateOf({ dev: DEV(0, 0x31), ino: 1483279n }, locks), 'open');
  assert.equal(openStateOf({ dev: DEV(0xfe, 0), ino: 189n }, locks), 'open');
  assert.equal(openStateOf({ dev: DEV(0, 0x44), ino: 190n }, locks), 'open');
  assert.equal(openStateOf({ dev: DEV(0xfe, 0), ino: 8n }, locks), 'open');
  assert.equal(openStateOf({ dev: DEV(0xfe, 0), ino: 9n }, locks), 'closed');
});

test('locks that are not understood, or cannot be read, make every use unknown', () => {
  assert.equal(parseLocks(`${LOCKS}something new\n`), null);
  assert.equal(openStateOf({ dev: DEV(0xfe, 0), ino: 9n }, null), 'unknown');
});

const TABLE = { sha256: 'cc', chunkBytes: 4096 };
const manifestOf = (table: object) => ({
  manifest: { keyId: 'k', dataBytes: 0, table: { ...TABLE, base64: '', ...table } },
});
const ADOPTED = { digests: {} as never, chunkTable: undefined as never };
const SIGNATURE = {
  keyType: 'RSA-PSS' as const,
  hash: 'sha256' as const,
  signature: 'sig',
  publicKeyPem: '',
  certificate: 'c',
};
const RECORD = {
  chunkTable: TABLE,
  digests: { sha256: 'aa' },
  signatures: [signatureId(SIGNATURE)],
  sourceFormat: 'raw' as const,
};
const digest = (algorithm: 'sha256' | 'sha512', hex: string) =>
  ({ algorithm, hex, from: 'operator' }) as const;

const JUDGEMENTS: readonly [string, Partial<typeof RECORD>, Partial<VerificationPlan>, string][] = [
  ['nothing demanded', {}, {}, 'satisfied'],
  ['the recorded digest', {}, { digests: [digest('sha256', 'aa')] }, 'satisfied'],
  ['another digest', {}, { digests: [digest('sha256', 'bb')] }, 'contradicted'],
  ['the recorded table', {}, manifestOf({}), 'satisfied'],
  ['another table', {}, manifestOf({ sha256: 'dd' }), 'contradicted'],
  ['a table of other chunks', {}, manifestOf({ sha256: 'dd', chunkBytes: 1 }), 'unknown'],
  ['a table, where none was made', { chunkTable: undefined as never }, manifestOf({}), 'unknown'],
  ['a table that was made alone', { digests: {} as never }, manifestOf({}), 'satisfied'],
  [
    'a digest, where a table was made alone',
    { digests: {} as never },
    { digests: [digest('sha256', 'a')] },
    'unknown',
  ],
  ['a digest that nobody computed', {}, { digests: [digest('sha512', 'aa')] }, 'unknown'],
  [
    'a wrong one beside it',
    {},
    { digests: [digest('sha512', 'a'), digest('sha256', 'b')] },
    'contradicted',
  ],
  ['the signature that was good', {}, { signature: SIGNATURE }, 'satisfied'],
  ['another signature', {}, { signature: { ...SIGNATURE, signature: 'x' } }, 'unknown'],
  ['it, of another certificate', {}, { signature: { ...SIGNATURE, certificate: 'x' } }, 'unknown'],
  ['it, by another key', {}, { signature: { ...SIGNATURE, publicKeyPem: 'x' } }, 'unknown'],
  ['its format', {}, { declaredFormat: 'raw' }, 'satisfied'],
  ['another format', {}, { declaredFormat: 'qcow2' }, 'contradicted'],
  ['an adopted base, a table', ADOPTED, manifestOf({}), 'unfounded'],
  ['an adopted base', ADOPTED, { declaredFormat: 'qcow2' }, 'satisfied'],
  ['an adopted base, a digest', ADOPTED, { digests: [digest('sha256', 'aa')] }, 'unfounded'],
];
for (const [what, record, plan, expected] of JUDGEMENTS) {
  test(`judging a base: ${what}`, () => {
    assert.equal(judgeBase({ ...RECORD, ...record }, { digests: [], ...plan }).kind, expected);
  });
}

test('a digest that proves nothing has to be right, and verifies nothing', () => {
  const record = { ...RECORD, digests: { ...RECORD.digests, md5: 'm' } };
  const right = { digests: [{ ...digest('sha256', 'm'), algorithm: 'md5' }] } as const;
  assert.deepEqual(judgeBase(record, right), { kind: 'satisfied', by: [] });
  const wrong = { digests: [{ ...right.digests[0], hex: 'n' }] } as const;
  assert.equal(judgeBase(record, wrong).kind, 'contradicted');
  assert.equal(judgeBase(RECORD, right).kind, 'unknown');
});

test('a contradiction says what was read, what was said, and who said it', () => {
  const whyOf = (plan: Partial<VerificationPlan>) => {
    const judgement = judgeBase(RECORD, { digests: [], ...plan });
    return judgement.kind === 'contradicted' ? judgement.why : judgement.kind;
  };
  const wrong = (from: 'operator' | 'properties') => [{ ...digest('sha256', 'b'), from }];
  const read = `its sha256 is ${RECORD.digests.sha256} as read, but`;
  assert.equal(whyOf({ digests: wrong('operator') }), `${read} the operator says b`);
  assert.equal(
    whyOf({ digests: wrong('properties') }),
    `${read} the record beside the image says b`,
  );
  const given = { digests: wrong('properties'), propertiesFrom: 'file' } as const;
  assert.equal(whyOf(given), `${read} the properties file says b`);
  const format =
    'its bytes are raw as read, but the record beside the image says disk_format qcow2';
  assert.equal(whyOf({ declaredFormat: 'qcow2' }), format);
});

test('verifications add up, each once', () => {
  const by = { what: 'digest', algorithm: 'sha256', from: 'operator' } as const;
  assert.deepEqual(mergeVerification({ kind: 'unverified' }, []), { kind: 'unverified' });
  const once = mergeVerification({ kind: 'unverified' }, [by]);
  assert.deepEqual(mergeVerification(once, [by, by]), { kind: 'verified', by: [by] });
});

test('the topmost mount at the path decides', () => {
  const info = [
    '22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
    '30 22 254:0 /b /srv/a\\040b rw,relatime - ext4 /dev/vda rw',
    '31 30 254:0 /b /srv/a\\040b ro,relatime - ext4 /dev/vda rw',
  ].join('\n');
  assert.equal(isMountedReadOnly(info, '/srv/a b'), true);
  assert.equal(isMountedReadOnly(info, '/'), false);
  assert.equal(isMountedReadOnly(info, '/srv/x'), false);
});

test('folders that systemd gave this process alone are told from the host’s', () => {
  const info = [
    '22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
    '90 22 0:40 / /tmp rw,nosuid - tmpfs tmpfs rw',
    '91 90 0:40 /systemd-private-0a1-siphond.service-x7/tmp /tmp rw,nosuid - tmpfs tmpfs rw',
    '92 22 254:0 /var/tmp/systemd-private-0a1-siphond.service-y8/tmp /var/tmp rw - ext4 /dev/vda rw',
  ];
  assert.deepEqual(privateFolders(info.join('\n')), ['/tmp', '/var/tmp']);
  assert.deepEqual(privateFolders(info.slice(0, 2).join('\n')), []);
});
