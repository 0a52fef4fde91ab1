import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  type BaseFact,
  type BaseState,
  decideStart,
  type StartFacts,
} from '../../../src/hook/decide.ts';

const GIB = 2 ** 30;

function base(state: BaseState, target = 'vda', name = 'rbd:images/debian-12@snap'): BaseFact {
  return { id: `id-${target}`, target, name, ...state };
}

function facts(bases: readonly BaseFact[], rest: Partial<StartFacts> = {}): StartFacts {
  return { operation: 'prepare', domainName: 'vm', bases, nowMs: 5000, deadlineMs: 5000, ...rest };
}

const FILLING: BaseState = {
  state: 'filling',
  progress: { doneBytes: 0.37 * 1.2 * GIB, totalBytes: 1.2 * GIB, remainingMs: 8100 },
};
const FAILED: BaseState = {
  state: 'failed',
  isSuspect: false,
  error: {
    code: 'corrupt',
    op: 'verify',
    subject: 'x',
    why: 'its signature is bad',
    hint: 'Publish it again.',
  },
};

test('nothing missing is allowed, and so is a domain without bases', () => {
  assert.equal(decideStart(facts([])).kind, 'allow');
  assert.equal(decideStart(facts([base({ state: 'present' })])).kind, 'allow');
});

test('within the budget it waits for all that is being filled', () => {
  const bases = [base(FILLING), base({ state: 'present' }, 'vdb'), base(FILLING, 'vdc')];
  assert.deepEqual(decideStart(facts(bases, { deadlineMs: 5001 })), {
    kind: 'wait',
    for: ['id-vda', 'id-vdc'],
    untilMs: 5001,
  });
});

test('after it, prepare is refused with the progress and when to try again', () => {
  assert.deepEqual(decideStart(facts([base(FILLING)])), {
    kind: 'refuse',
    message:
      'siphon: base for disk vda (rbd:images/debian-12@snap) is being filled: 37 % of 1.2 GiB; ' +
      'try again in about 10 s, or: siphon start vm',
  });
});

test('without a rate yet, and with several, the text says what it knows', () => {
  const waiting: BaseState = { state: 'filling' };
  const decision = decideStart(
    facts([base(waiting), base(waiting, 'vdb')], { domainName: "it's a vm" }),
  );
  assert.deepEqual(decision, {
    kind: 'refuse',
    message:
      'siphon: base for disk vda (rbd:images/debian-12@snap) (and 1 more) is being filled; ' +
      "try again in a minute, or: siphon start 'it'\\''s a vm'",
  });
});

test('a base that nothing trusted vouches for any more is refused by what was revoked, whatever came of its fill', () => {
  const doubt = 'its key was revoked here (ab12)';
  const message = (state: BaseState): string => {
    const decision = decideStart(facts([base(state)]));
    return decision.kind === 'refuse' ? decision.message : decision.kind;
  };
  const failed = { ...FAILED, isSuspect: true, doubt } as const;
  assert.match(
    message(failed),
    /\) is not trusted any more \(its key was revoked here \(ab12\)\) and could not be filled again: its signature is bad/,
  );
  const away = { ...failed.error, code: 'unavailable' } as const;
  assert.match(
    message({ ...failed, error: away }),
    /ab12\)\) and cannot be filled again now: .*try again later/,
  );
  assert.match(message({ state: 'unanswered', doubt }), /ab12\)\), and cannot be filled now/);
});

test('a fill that failed refuses at once, with its reason and what to do', () => {
  const decision = decideStart(facts([base(FILLING), base(FAILED, 'vdb')], { deadlineMs: 9000 }));
  assert.deepEqual(decision, {
    kind: 'refuse',
    message:
      'siphon: base for disk vdb (rbd:images/debian-12@snap) is not here: its signature is bad. Publish it again.',
  });
});

test('a damaged base that could not be filled again is refused as such', () => {
  const decision = decideStart(facts([base({ ...FAILED, isSuspect: true })]));
  assert.match(
    decision.kind === 'refuse' ? decision.message : '',
    /is damaged and could not be filled again: its signature is bad/,
  );
});

test('migrate and restore leave a fill that goes on to the prepare after them', () => {
  for (const operation of ['migrate', 'restore'] as const) {
    assert.equal(decideStart(facts([base(FILLING)], { operation })).kind, 'allow');
    assert.equal(decideStart(facts([base(FAILED)], { operation })).kind, 'refuse');
  }
});

const anyState: fc.Arbitrary<BaseState> = fc.oneof(
  fc.constantFrom<BaseState[]>({ state: 'present' }, { state: 'unanswered' }),
  fc.record({
    state: fc.constant('filling' as const),
    progress: fc.record({ doneBytes: fc.nat(), totalBytes: fc.nat() }),
  }),
  fc.record({
    state: fc.constant('failed' as const),
    isSuspect: fc.boolean(),
    error: fc.record({
      code: fc.constant('unavailable' as const),
      op: fc.string(),
      subject: fc.string(),
      why: fc.string({ unit: 'binary' }),
    }),
  }),
);

test('a refusal is one line without controls, and only for what is missing', () => {
  const name = fc.string({ unit: 'binary' });
  fc.assert(
    fc.property(fc.array(anyState, { maxLength: 4 }), name, fc.nat(10_000), (states, text, now) => {
      const bases = states.map((state) => base(state, 'vda', text));
      const decision = decideStart(facts(bases, { domainName: text, nowMs: now }));
      if (decision.kind === 'wait') assert.ok(now < decision.untilMs);
      if (decision.kind !== 'refuse') return;
      assert.ok(states.some(({ state }) => state !== 'present'));
      assert.match(decision.message, /^siphon: [^\p{Cc}\p{Zl}\p{Zp}]+$/u);
    }),
  );
});

test('while its cluster does not answer nothing is being filled, and the text says so', () => {
  const unanswered = base({ state: 'unanswered' });
  assert.equal(decideStart(facts([unanswered], { deadlineMs: 9000 })).kind, 'wait');
  assert.equal(decideStart(facts([unanswered], { operation: 'restore' })).kind, 'allow');
  assert.deepEqual(decideStart(facts([base(FILLING, 'vdb'), unanswered])), {
    kind: 'refuse',
    message:
      'siphon: base for disk vda (rbd:images/debian-12@snap) cannot be filled now: no monitor or OSD of its ' +
      'Ceph cluster has answered yet; nothing was changed; try again when it answers (siphon status tells)',
  });
});

test('a cluster that could not be reached is named', () => {
  const error = {
    code: 'unavailable',
    op: 'connect',
    subject: 'client.siphon-fill by /etc/ceph/ceph.conf',
    why: 'ETIMEDOUT',
  } as const;
  assert.deepEqual(decideStart(facts([base({ state: 'failed', isSuspect: false, error })])), {
    kind: 'refuse',
    message:
      'siphon: base for disk vda (rbd:images/debian-12@snap) cannot be filled now: connect: ' +
      'client.siphon-fill by /etc/ceph/ceph.conf: ETIMEDOUT; ' +
      'nothing was changed; try again later (siphon status tells what is down)',
  });
});
