// Sets of running domains against a world in memory: what is claimed of a hold, who is left alone, and that a kill -9 at any effect
// leaves nobody held.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDomain } from '../../../src/domain/domain.ts';
import type { LifecycleName, SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { assertTidy, isError } from './tidy.ts';
import { failure, Life, policyOf, World } from './world.ts';

const [UUID] = UUIDS;
const XML = domainXml(UUID, ['root', 'data']);

function world(): World {
  const made = new World(['root', 'data']);
  made.domainXml = XML;
  made.isActive = true;
  return made;
}

test('an operator’s set of a running domain is taken under a hold, and tells what was got', async () => {
  const made = world();
  const take = async () => {
    const [begun] = await new Life(made).room.create(['vm']);
    const set = await begun?.finished;
    return [set?.quiesced, set?.instant, set?.holdMs, set?.whyNotQuiesced, set?.event];
  };
  assert.deepEqual(await take(), ['filesystem', 'barrier', 60, undefined, 'manual']);
  made.frozen = 'the guest agent does not answer';
  const why = 'the guest agent does not answer';
  assert.deepEqual(await take(), ['none', 'barrier', 60, why, 'manual']);
  assertTidy(made);
});

test('who is frozen or paused by somebody else is left alone, asked again for a while, and busy then', async () => {
  const made = world();
  made.holdable = { kind: 'busy', why: 'somebody has paused it' };
  const life = new Life(made);
  const passing = setInterval(() => (made.nowMs += 1000), 5);
  const [begun] = await life.room.create(['vm']);
  await assert.rejects(begun?.finished as Promise<unknown>, isError('busy'));
  clearInterval(passing);
  assertTidy(made);
  assert.equal(made.guarded.size, 0);
});

test('`require` takes nothing where the guest could not be frozen', async () => {
  const made = world();
  made.frozen = 'no agent';
  const [begun] = await new Life(made).room.create(['vm'], { quiesce: 'require' });
  await assert.rejects(begun?.finished as Promise<unknown>, isError('refused'));
  assertTidy(made);
  assert.deepEqual([...made.held, ...made.guarded], []);
});

test('kill -9 at every effect of a set of a running domain: the next life lets the guest go, and leaves all tidy', async () => {
  for (let endsAt = 2; ; endsAt += 1) {
    const made = world();
    const killed = new Life(made, endsAt);
    const [begun] = await killed.room.create(['vm']);
    begun?.finished.catch(() => undefined);
    await killed.settle();
    const last = new Life(made);
    await last.room.letGo();
    await last.recover();
    assert.deepEqual([...made.held, ...made.guarded], [], `killed at effect ${endsAt}`);
    assertTidy(made);
    assert.deepEqual([...killed.defects, ...last.defects], []);
    if (!killed.isDead) return assert.ok(endsAt > 25, `${endsAt} points of death`);
  }
});

test('domains that are asked for at once are held at once, and one that fails leaves the others their sets', async () => {
  const made = world();
  const life = new Life(made);
  const [begun, more] = await life.room.create(['vm', UUID]);
  await begun?.finished;
  assert.equal(more, undefined, 'the same domain by two names is one');
  assertTidy(made);
});

test('events of libvirt’s: a set where a policy asks for one, none of what siphon does itself', async () => {
  const made = world();
  made.policies = [policyOf({ name: 'up', on: ['started', 'lifecycle:resumed'], keepLast: 5 })];
  const life = new Life(made);
  await life.room.onEvent({ uuid: UUID, event: 'stopped', reason: 'shutdown' });
  assert.equal(made.jobs.size, 0);
  await life.room.onEvent({ uuid: UUID, event: 'started' });
  // The hold suspends and resumes it.
  await life.room.onEvent({ uuid: UUID, event: 'lifecycle', lifecycle: 'resumed' });
  await life.settle();
  await life.room.onEvent({ uuid: UUID, event: 'lifecycle', lifecycle: 'resumed' });
  await life.settle();
  assertTidy(made);
  assert.deepEqual(
    [...made.catalogue.values()].map(({ event, lifecycle, policy, instant }) => {
      return [event, lifecycle, policy, instant];
    }),
    [
      ['started', undefined, 'up', 'barrier'],
      ['lifecycle', 'resumed', 'up', 'barrier'],
    ],
  );
});

test('before a start: a set of what is on the disks, within the budget, and libvirt is asked nothing', async () => {
  const made = world();
  made.policies = [policyOf({ name: 'before', on: ['prepare'] })];
  made.beforeLibvirt = () => assert.fail('libvirt waits for the hook');
  const start = { domain: parseDomain(XML), xml: XML };
  const life = new Life(made);
  assert.equal(await life.room.onPrepare(UUID, made.nowMs + 5000, start), 'finished');
  await life.settle();
  assertTidy(made);
  const [set] = made.catalogue.values();
  assert.deepEqual([set?.event, set?.instant, set?.quiesced], ['prepare', 'barrier', 'none']);
  made.nowMs += 1000;
  made.beforeCeph = (method) =>
    method === 'createSnapshot' ? new Promise((resolve) => setTimeout(resolve, 60)) : undefined;
  assert.equal(await life.room.onPrepare(UUID, made.nowMs + 20, start), 'overtaken');
  await life.settle();
  assertTidy(made);
  assert.equal(made.catalogue.size, 1, 'what the start overtook is discarded');
});

test('an image that is renamed in mid-set is found by its id: the set has it, and one that fails leaves nothing on it', async () => {
  for (const isFailing of [false, true]) {
    const made = world();
    made.beforeCeph = (method) => {
      if (method === 'prepareSnapshots') made.rename('data', 'moved');
      if (method === 'describePrepared' && isFailing) throw failure('denied');
    };
    const [begun] = await new Life(made).room.create(['vm']);
    const outcome = await begun?.finished.then(
      ({ disks }) => disks.length,
      () => 'failed',
    );
    assert.equal(outcome, isFailing ? 'failed' : 2);
    assertTidy(made);
  }
});

/** The set that an event gives, or why there is none. */
async function setAt(
  lifecycle: LifecycleName,
  arrange: (made: World) => void,
): Promise<SnapshotSet | string | undefined> {
  const made = world();
  made.policies = [policyOf({ name: 'p', on: [`lifecycle:${lifecycle}`] })];
  arrange(made);
  const life = new Life(made);
  await life.room.onEvent({ uuid: UUID, event: 'lifecycle', lifecycle });
  await life.settle();
  assertTidy(made);
  assert.equal(made.guarded.size, 0);
  return [...made.catalogue.values()][0] ?? made.lastJob()?.error?.why;
}

test('a guest that stands still is taken as it stands, of one instant if it still does so afterwards, and nobody touches it', async () => {
  const paused = { kind: 'busy', why: 'it is paused already: user', isStill: true } as const;
  const stays = await setAt('suspended', (made) => (made.holdable = paused));
  assert.ok(typeof stays === 'object');
  const { instant, quiesced, whyNotQuiesced, holdMs, lifecycle } = stays;
  assert.deepEqual(
    [instant, quiesced, holdMs, lifecycle],
    ['barrier', 'none', undefined, 'suspended'],
  );
  assert.equal(whyNotQuiesced, paused.why);
  const resumed = await setAt('suspended', (made) => {
    made.holdable = paused;
    made.beforeCeph = (method) => {
      if (method === 'createSnapshot') made.holdable = { kind: 'running' };
    };
  });
  assert.equal(typeof resumed === 'object' && resumed.instant, 'none');
  const ends = await setAt('shutdown', (made) => (made.holdable = { kind: 'off' }));
  assert.equal(typeof ends === 'object' && ends.instant, 'barrier');
  const wish = await setAt('suspended', (made) => {
    made.holdable = paused;
    made.policies = made.policies.map((policy) => ({ ...policy, quiesce: 'require' }));
  });
  assert.equal(wish, 'skipped: it cannot be frozen: it is paused already: user');
  const other = await setAt('defined', (made) => (made.holdable = paused));
  assert.equal(other, paused.why, 'nobody stands still for this event');
});

test('a stop while a set is being made has its own; of what is being made already there is no second one', async () => {
  const made = world();
  made.policies = [policyOf({ name: 'p', on: ['stopped', 'started'], keepLast: 9 })];
  const life = new Life(made);
  await life.room.create(['vm']);
  await life.room.onEvent({ uuid: UUID, event: 'started' });
  await life.room.onEvent({ uuid: UUID, event: 'started' });
  made.isActive = false;
  await life.room.onEvent({ uuid: UUID, event: 'stopped', reason: 'destroyed' });
  await life.settle();
  const events = [...made.catalogue.values()].map(({ event }) => event);
  assert.deepEqual(events, ['manual', 'started', 'stopped']);
  assertTidy(made);
});
