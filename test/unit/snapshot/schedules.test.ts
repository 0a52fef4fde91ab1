// Sets by the calendar: what is due at each look, after a life that was off, in a pause, with clocks that are set, and for whom.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { decideScheduled } from '../../../src/snapshot/decide.ts';
import { evaluate } from '../../../src/snapshot/evaluate.ts';
import { shiftOf } from '../../../src/snapshot/schedule/due.ts';
import { Schedules } from '../../../src/snapshot/schedule/schedules.ts';
import type { Calendar, Schedule } from '../../../src/wire/schedule.ts';
import type { Policy } from '../../../src/wire/vocabulary.ts';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { assertTidy } from './tidy.ts';
import { failure, Life, policyOf, World } from './world.ts';

const [UUID] = UUIDS;
const XML = domainXml(UUID, ['root', 'data']);
const MIN = 60_000;
const HOUR = 60 * MIN;

/** `every N`: at each multiple of so many minutes. */
const every: Calendar = {
  async next(expression, afterMs) {
    if (expression === 'untold') throw failure('unavailable');
    const stepMs = Number(/^every (\d+)$/.exec(expression)?.[1]) * MIN;
    return expression === 'never' ? null : (Math.floor(afterMs / stepMs) + 1) * stepMs;
  },
};

const hourly = (fields: Partial<Schedule> = {}, name = 'hourly'): Policy =>
  policyOf({
    name,
    on: [],
    keepLast: 1000,
    schedule: { calendar: 'every 60', isCaughtUp: true, jitterMs: 0, ...fields },
  });

/** A host whose looks are made by hand; each life of siphond has schedules of its own. */
class Host {
  readonly world = new World(['root', 'data']);
  life = new Life(this.world);
  #schedules: Schedules;
  asked = 0;

  constructor(policies: readonly Policy[]) {
    this.world.domainXml = XML;
    this.world.isActive = true;
    this.world.policies = policies;
    this.world.nowMs = 1000 * HOUR + 5 * MIN;
    this.#schedules = this.#begin();
  }

  #begin(): Schedules {
    const { world, life } = this;
    return new Schedules({
      policies: () => world.policies,
      pauses: () => world.pauses,
      libvirt: { call: (async () => [{ uuid: UUID, name: 'vm' }]) as never },
      catalogue: { list: () => [...world.catalogue.values()] } as never,
      journal: life.journal,
      calendar: {
        next: (expression, afterMs) => {
          this.asked += 1;
          return every.next(expression, afterMs);
        },
      },
      begin: (happened) => life.room.onEvent(happened),
      now: () => world.nowMs,
      log: { info: () => undefined, warn: () => undefined },
    });
  }

  restart(): void {
    this.life = new Life(this.world);
    this.#schedules = this.#begin();
  }

  /** A look at this many minutes from the last; gives the scheduled sets that there are then. */
  async after(minutes: number): Promise<number> {
    this.world.nowMs += minutes * MIN;
    this.nextMs = await this.#schedules.look();
    await this.life.settle();
    assertTidy(this.world);
    return [...this.world.catalogue.values()].filter(({ event }) => event === 'scheduled').length;
  }

  nextMs = 0;
}

test('a set when the schedule elapses, and when to look again', async () => {
  const host = new Host([hourly()]);
  assert.equal(await host.after(0), 0, 'the first look is no elapse');
  assert.equal(host.nextMs, MIN, 'the clock may be set: it is looked at each minute');
  assert.equal(await host.after(54.5), 0);
  assert.equal(host.nextMs, MIN / 2);
  assert.equal(await host.after(0.5), 1);
  assert.equal(await host.after(1), 1);
  assert.equal(await host.after(60), 2);
  const [set] = host.world.catalogue.values();
  assert.deepEqual([set?.event, set?.policy, set?.instant], ['scheduled', 'hourly', 'barrier']);
  assert.ok(host.asked <= 6, `the calendar was asked ${host.asked} times`);
});

test('of a domain that is off, too; of one that runs elsewhere by the host on which it runs', async () => {
  const host = new Host([hourly()]);
  host.world.isActive = false;
  await host.after(0);
  assert.equal(await host.after(60), 1);
  const disks = [{ target: 'vda', lockOwners: [], watchers: ['client.7'] }];
  const asked = { disks, quiesce: 'none', instant: 'auto' } as const;
  assert.deepEqual(decideScheduled({ ...asked, isActive: false }), {
    kind: 'skip',
    why: 'it does not run here, and disk vda is open at client.7',
  });
  assert.equal(decideScheduled({ ...asked, isActive: undefined }).kind, 'skip');
});

for (const [isCaughtUp, taken] of [
  [true, 2],
  [false, 1],
] as const) {
  test(`after days off ${taken - 1} set is caught up with where catch_up is ${isCaughtUp}`, async () => {
    const host = new Host([hourly({ isCaughtUp })]);
    await host.after(0);
    await host.after(60);
    host.restart();
    assert.equal(await host.after(3), 1, 'nothing was missed');
    host.restart();
    assert.equal(await host.after(72 * 60), taken);
    assert.equal(await host.after(1), taken);
    assert.equal(await host.after(60), taken + 1);
  });

  test(`after a pause ${taken - 1} set is caught up with where catch_up is ${isCaughtUp}`, async () => {
    const host = new Host([hourly({ isCaughtUp })]);
    await host.after(0);
    await host.after(60);
    host.world.pauses = [{ work: 'snapshots', sinceMs: host.world.nowMs }];
    for (let each = 0; each < 3; each += 1) assert.equal(await host.after(60), 1);
    host.world.pauses = [];
    assert.equal(await host.after(1), taken);
    assert.equal(await host.after(1), taken);
  });
}

test('a set that fails is tried at the next elapse, and one that is open is waited for', async () => {
  const host = new Host([hourly()]);
  await host.after(0);
  host.world.beforeCeph = (method) => {
    if (method === 'clusterHealth') throw failure('unavailable');
  };
  assert.equal(await host.after(60), 0);
  host.world.beforeCeph = () => undefined;
  assert.equal(await host.after(1), 0);
  assert.equal(await host.after(60), 1);
  const { promise: slow, resolve: goOn } = Promise.withResolvers<void>();
  host.world.beforeCeph = (method) => (method === 'clusterHealth' ? slow : undefined);
  const waiting = host.after(60);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const jobs = host.world.jobs.size;
  const again = host.after(60);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(host.world.jobs.size, jobs, 'one at a time');
  goOn();
  await Promise.all([waiting, again]);
  assert.equal(await host.after(1), 3, 'what elapsed meanwhile is one set');
});

test('while disks of the domain are being restored, none is begun', async () => {
  const host = new Host([hourly()]);
  await host.after(0);
  const plan = { id: 'r', setId: 's', fsid: 'f', way: 'clones', domainUuid: UUID, disks: [] };
  const job = host.life.journal.begin('restore', 'vm', { plan });
  host.world.nowMs += HOUR;
  assert.equal(await lookAlone(host), 0);
  assert.equal(host.nextMs, 5000, 'it is looked at again soon');
  job.done();
  assert.equal(await host.after(0), 1);
});

test('kill -9 in the middle: the next life takes it once, whether the set was recorded or removed', async () => {
  for (let endsAt = 2; ; endsAt += 6) {
    const host = new Host([hourly()]);
    await host.after(0);
    await host.after(60);
    const before = host.world.catalogue.size;
    host.life = new Life(host.world, endsAt);
    await host.life.room.onEvent({ uuid: UUID, event: 'scheduled' }).catch(() => undefined);
    await host.life.settle();
    const { isDead } = host.life;
    host.restart();
    await host.life.room.letGo();
    host.world.nowMs += HOUR;
    const open = host.world.openJobs().length;
    if (open > 0) assert.equal(await lookAlone(host), before, 'an open one is waited for');
    await host.life.recover();
    const sets = await host.after(0);
    assert.ok(sets >= before + 1 && sets <= before + 2, `killed at ${endsAt}: ${sets}`);
    assert.equal(await host.after(0), sets);
    if (!isDead) return assert.ok(endsAt > 25);
  }
});

/** A look before recovery, when what the last life left is not tidy yet. */
async function lookAlone(host: Host): Promise<number> {
  const before = host.world.jobs.size;
  await host.after(0).catch((error: unknown) => assert.ok(error instanceof assert.AssertionError));
  assert.equal(host.world.jobs.size, before);
  return [...host.world.catalogue.values()].length;
}

test('the first policy with a schedule decides, at its own times; off is off', () => {
  const weekly = hourly({ calendar: 'every 10080' }, 'weekly');
  const stops = policyOf({ name: 'stops' });
  const domain = { name: 'vm', uuid: UUID, wish: { kind: 'none' } } as const;
  const at = (elapsed?: readonly string[]) =>
    evaluate([stops, hourly(), weekly], domain, {
      event: 'scheduled',
      ...(elapsed !== undefined && { elapsed }),
    });
  const first = at(['hourly', 'weekly']);
  assert.equal(first.kind === 'take' && first.policy?.name, 'hourly');
  assert.deepEqual(
    first.considered.map(({ verdict, why }) => [verdict, why]),
    [
      ['no', 'it has no schedule'],
      ['first', "its glob '*' is the domain's name"],
      ['also', "its glob '*' is the domain's name"],
    ],
  );
  assert.equal(at(['weekly']).why, "policy 'hourly' has its own schedule");
  assert.equal(at().kind, 'take');
  const off = { ...domain, wish: { kind: 'off' } } as const;
  assert.equal(evaluate([hourly()], off, { event: 'scheduled' }).kind, 'nothing');
});

test('jitter: each domain later by its own time, always the same, and never a period of its own', async () => {
  const schedule = { calendar: 'every 60', isCaughtUp: true, jitterMs: 3 * HOUR };
  const [one, two] = UUIDS;
  const shiftMs = shiftOf(schedule, 'hourly', one);
  assert.notEqual(shiftMs, shiftOf(schedule, 'hourly', two));
  assert.ok(shiftMs >= 0 && shiftMs < schedule.jitterMs);
  const host = new Host([hourly({ jitterMs: 3 * HOUR })]);
  await host.after(0);
  let sets = 0;
  for (let each = 0; each < 7 * 6; each += 1) sets = await host.after(10);
  assert.equal(sets, 7, 'one an hour');
});

test('whatever the clock does: a leap makes one set at most, and stops no schedule', async () => {
  const leap = fc.record({
    afterHours: fc.nat(4),
    byMinutes: fc.integer({ min: -100_000, max: 100_000 }),
    isCaughtUp: fc.boolean(),
    isRestarted: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(leap, async ({ afterHours, byMinutes, isCaughtUp, isRestarted }) => {
      const host = new Host([hourly({ isCaughtUp })]);
      await host.after(0);
      let sets = 0;
      for (let each = 0; each < afterHours; each += 1) sets = await host.after(60);
      assert.equal(sets, afterHours);
      host.world.nowMs += byMinutes * MIN;
      if (isRestarted) host.restart();
      const leapt = await host.after(0);
      assert.ok(leapt - sets <= 1);
      for (let each = 0; each < 180; each += 20) sets = await host.after(20);
      assert.equal(sets - leapt, 3, 'three hours, three sets');
    }),
    { numRuns: 40 },
  );
});

test('a schedule that never elapses, or cannot be told, takes nothing and stops nothing', async () => {
  const broken = hourly({ calendar: 'never' }, 'never');
  const host = new Host([broken, hourly()]);
  await host.after(0);
  assert.equal(await host.after(60), 0, "the first one's is the domain's, and it never comes");
  host.world.policies = [hourly(), hourly({ calendar: 'untold' }, 'untold')];
  assert.equal(await host.after(1), 0);
  assert.equal(await host.after(60), 1);
  host.world.policies = [];
  assert.equal(await host.after(60), 1);
  assert.equal(host.nextMs, MIN);
});
