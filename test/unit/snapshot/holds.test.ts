// Holding guests for their snapshots, with a Ceph and a libvirt of which any call may fail, and whose commit may come at any time:
// no guest stays held, what was opened is closed, and what is said to be taken is there.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HoldLeads, planHold } from '../../../src/snapshot/hold-plan.ts';
import { type Failed, type Got, type Member, takeHeld } from '../../../src/snapshot/holds.ts';
import { holdTogether } from '../../../src/snapshot/together.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { CephPort, LibvirtPort } from '../../../src/wire/ports.ts';

/** Which calls fail, by their number; and at which call of all the armed commit comes. */
interface Script {
  readonly failing: ReadonlySet<number>;
  readonly commitAfter: number;
  /** The snapshots come long after the commit. */
  readonly isLate: boolean;
  readonly isUnforeseen: boolean;
  /** No tick comes back. */
  readonly isUnwell: boolean;
}

class Site {
  readonly calls: string[] = [];
  readonly held = new Set<string>();
  readonly guarded = new Set<string>();
  readonly open = new Set<string>();
  readonly snaps = new Set<string>();
  readonly warnings: string[] = [];
  readonly holdsMs: number[] = [];
  missed = 0;
  readonly #script: Script;
  #commit = Promise.withResolvers<void>();

  constructor(script: Partial<Script> = {}) {
    this.#script = {
      failing: new Set(),
      commitAfter: Number.POSITIVE_INFINITY,
      isLate: false,
      isUnforeseen: false,
      isUnwell: false,
      ...script,
    };
  }

  async #call(name: string): Promise<void> {
    this.calls.push(name);
    const number = this.calls.length;
    if (number >= this.#script.commitAfter) this.#commit.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#script.failing.has(number)) {
      throw new OperatingError({ code: 'unavailable', op: name, subject: `call ${number}` });
    }
  }

  readonly ceph = {
    call: async (method: string, params: never) => {
      const { disks, prepared } = params as { disks?: { snap: string }[]; prepared: string };
      if (method === 'armEnd') return this.#commit.promise;
      if (method === 'arm') this.#commit = Promise.withResolvers();
      await this.#call(method);
      if (method === 'board' && this.#script.isUnwell)
        throw new OperatingError({ code: 'unavailable', op: method, subject: 'the monitors' });
      if (method === 'board') return { board: 'b' };
      if (method === 'prepareSnapshots') {
        const name = disks?.map(({ snap }) => snap).join() ?? '';
        this.open.add(name);
        return { prepared: name };
      }
      const isComing = this.calls.length + 1 < this.#script.commitAfter;
      const leftMs = isComing ? 60_000 : 0;
      if (method === 'arm' && this.#script.isUnforeseen) return { unforeseen: 'restless' };
      if (method === 'arm') return { arm: 'a', intervalMs: 1000, rounds: 1, leftMs };
      if (method === 'dropPrepared') return void this.open.delete(prepared);
      const names = prepared.split(',');
      if (method === 'createPrepared') {
        if (this.#script.isLate) {
          this.#commit.resolve();
          await new Promise((resolve) => setTimeout(resolve, 15));
          const isLast = this.calls.filter((call) => call === 'arm').length === 4;
          if (!isLast && !this.#script.isUnforeseen)
            assert.deepEqual([...this.held], [], 'held beyond the commit');
        }
        for (const name of names) this.snaps.add(name);
        return names.map(() => ({ kind: 'made', tookMs: 30 }));
      }
      return names.map((snap, index) => {
        return { poolId: 1, namespace: '', imageId: snap, snapId: index + 1, snap, sizeBytes: 1 };
      });
    },
  } as unknown as CephPort;

  readonly libvirt = {
    call: async (method: string, { domain }: { domain: string }) => {
      // Who is told to let go does it, or PID 1 does.
      if (method === 'release') {
        this.guarded.delete(domain);
        this.held.delete(domain);
      }
      if (method === 'guard') this.guarded.add(domain);
      await this.#call(method);
      if (method === 'release')
        return { holdMs: 50, suspendedMs: 50, frozenMs: 0, wasHeldThroughout: true };
      if (method === 'hold') {
        assert.ok(this.guarded.has(domain), 'held without a guard');
        this.held.add(domain);
        return { isSuspended: true, tookMs: 5 };
      }
      return null;
    },
  } as unknown as LibvirtPort;

  member(domainUuid: string): Member {
    const at = { pool: 'vms', namespace: '', image: domainUuid };
    const disks = [1, 2].map((each) => ({ ...at, snap: `${domainUuid}.${each}` }));
    const plan = { kind: 'hold', quiesce: 'none', suspends: true } as const;
    const discard = async () => {
      for (const { snap } of disks) this.snaps.delete(snap);
    };
    return { domainUuid, disks, plan, discard };
  }

  parts() {
    const wait = (ms: number, signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        signal.addEventListener('abort', () => {
          clearTimeout(timer);
          resolve();
        });
      });
    const warn = (_: object, text: string) => void this.warnings.push(text);
    const counts = {
      commitMissed: (guests: number) => void (this.missed += guests),
      guestHeld: (ms: number) => void this.holdsMs.push(ms),
    };
    return { libvirt: this.libvirt, leads: new HoldLeads(), wait, log: { warn }, counts };
  }
}

function assertTidy(site: Site, members: readonly Member[], outcomes: readonly (Got | Failed)[]) {
  assert.deepEqual([...site.held], [], 'a guest is still held');
  assert.equal(outcomes.length, members.length);
  for (const [index, outcome] of outcomes.entries()) {
    const snaps = members[index]?.disks.map(({ snap }) => snap) ?? [];
    const isThere = (snap: string) => site.snaps.has(snap);
    if (outcome.kind === 'got') assert.ok(snaps.every(isThere), 'said to be taken, and is not');
    else assert.ok(outcome.wasAsked || !snaps.some(isThere), 'left behind, and not said');
  }
}

test('all are held before the first snapshot, and let go after the last', async () => {
  const site = new Site();
  const members = ['a', 'b', 'c'].map((name) => site.member(name));
  const outcomes = await takeHeld(site.parts(), site.ceph, members);
  assertTidy(site, members, outcomes);
  assert.deepEqual([...site.open], []);
  const at = (name: string) => site.calls.flatMap((call, index) => (call === name ? [index] : []));
  assert.ok(Math.max(...at('hold')) < Math.min(...at('createPrepared')));
  assert.ok(Math.max(...at('createPrepared')) < Math.min(...at('release')));
  assert.ok(Math.max(...at('guard')) < Math.min(...at('arm')));
  assert.deepEqual(
    outcomes.map((each) => each.kind === 'got' && [each.misses, each.let?.holdMs]),
    members.map(() => [0, 50]),
  );
});

test('a commit that comes before the guests are held is missed: they are let go, with untouched disks; the last try waits for any', async () => {
  // prepare, guard, arm: the commit.
  const site = new Site({ commitAfter: 3 });
  const members = [site.member('a')];
  const [outcome, ...more] = await takeHeld(site.parts(), site.ceph, members);
  assertTidy(site, members, outcome === undefined ? [] : [outcome, ...more]);
  assert.equal(outcome?.kind === 'got' && outcome.misses, 3);
  assert.equal(site.calls.filter((call) => call === 'createPrepared').length, 1);
  assert.equal(site.calls.filter((call) => call === 'release').length, 4);
});

test('snapshots that come long after their commit are removed, and the last try waits for them', async () => {
  const site = new Site({ isLate: true });
  const members = [site.member('a'), site.member('b')];
  const outcomes = await takeHeld(site.parts(), site.ceph, members);
  assertTidy(site, members, outcomes);
  assert.equal(outcomes[0]?.kind === 'got' && outcomes[0].misses, 3);
  assert.equal(site.warnings.length, 3);
  assert.equal(site.missed, 6, 'two guests, three times');
  assert.equal(site.holdsMs.length, 8);
});

test('where no commit is foreseen, whichever comes has to do, at the first try', async () => {
  const site = new Site({ isLate: true, isUnforeseen: true });
  const members = [site.member('a')];
  const outcomes = await takeHeld(site.parts(), site.ceph, members);
  assertTidy(site, members, outcomes);
  assert.equal(outcomes[0]?.kind === 'got' && outcomes[0].misses, 0);
  assert.deepEqual(site.warnings, ['the guests may be held longer']);
});

test('whatever fails, and whenever the commit comes: nobody stays held, and nothing is said that is not', async () => {
  const script = fc.record({
    failing: fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { maxLength: 4 }),
    commitAfter: fc.integer({ min: 1, max: 60 }),
    count: fc.integer({ min: 1, max: 3 }),
    isLate: fc.boolean(),
    isUnforeseen: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(script, async ({ failing, count, ...script }) => {
      const site = new Site({ ...script, failing: new Set(failing) });
      const members = Array.from({ length: count }, (_, index) => site.member(`m${index}`));
      const outcomes = await takeHeld(site.parts(), site.ceph, members);
      assertTidy(site, members, outcomes);
      assert.equal(site.guarded.size, 0);
    }),
    { numRuns: 100 },
  );
});

test('while the monitors do not answer nobody is held, and no guard stays', async () => {
  const site = new Site({ isUnwell: true });
  const members = ['a', 'b'].map((name) => site.member(name));
  const outcomes = await takeHeld(site.parts(), site.ceph, members);
  assert.deepEqual(
    outcomes.map((each) => each.kind === 'failed' && [each.error.code, each.wasAsked]),
    [
      ['unavailable', false],
      ['unavailable', false],
    ],
  );
  assert.ok(!site.calls.includes('hold'), site.calls.join());
  assert.equal(site.calls.filter((call) => call === 'release').length, 2);
  assert.deepEqual([...site.open], []);
});

test('who leaves is not waited for, and who fails does not keep the others from being held', async () => {
  const site = new Site({ failing: new Set([1]) });
  const [third, ...seats] = holdTogether(site.parts(), 3);
  const [a, b] = [site.member('a'), site.member('b')];
  const taking = seats.map((seat, index) => seat.take(site.ceph, index === 0 ? a : b));
  assert.deepEqual(site.calls, []);
  third?.leave();
  third?.leave();
  const outcomes = await Promise.all(taking);
  assertTidy(site, [a, b], outcomes);
  assert.deepEqual(
    outcomes.map(({ kind }) => kind),
    ['failed', 'got'],
  );
  seats[0]?.leave();
});

test('several disks are suspended, one is not; a freeze is what was asked for', () => {
  const plan = (disks: number, quiesce: 'none' | 'try', instant: 'auto' | 'suspend' | 'none') =>
    planHold({ disks, quiesce, instant });
  assert.equal(plan(1, 'none', 'auto').kind, 'no-hold');
  assert.equal(plan(3, 'none', 'none').kind, 'no-hold');
  assert.deepEqual(plan(2, 'none', 'auto'), { kind: 'hold', quiesce: 'none', suspends: true });
  assert.deepEqual(plan(1, 'try', 'auto'), { kind: 'hold', quiesce: 'try', suspends: false });
  assert.deepEqual(plan(2, 'try', 'none'), { kind: 'hold', quiesce: 'try', suspends: false });
  assert.deepEqual(plan(1, 'none', 'suspend'), { kind: 'hold', quiesce: 'none', suspends: true });
});

test('the lead follows what holds took, is bounded, and one slow hold does not spoil it', () => {
  const leads = new HoldLeads();
  const plan = { kind: 'hold', quiesce: 'none', suspends: true } as const;
  const frozen = { ...plan, quiesce: 'try' } as const;
  const first = leads.of(plan);
  for (const took of [20, 25, 22, 700, 21]) leads.note(plan, took);
  assert.ok(leads.of(plan) < first && leads.of(plan) >= 22);
  assert.ok(leads.of(frozen) > leads.of(plan), 'a freeze takes longer, until it is known');
  for (let each = 0; each < 20; each += 1) leads.note(plan, 5000);
  assert.ok(leads.of(plan) <= 800);
});
