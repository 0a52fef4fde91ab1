// Sets of running domains against a world in memory: what is claimed of a hold, who is left alone, and that a kill -9 at any effect
// leaves nobody held.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDomain } from '../../../src/domain/domain.ts';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { assertTidy, isError } from './tidy.ts';
import { Life, policyOf, World } from './world.ts';

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
  await life.room.onLifecycle({ uuid: UUID, event: 'stopped', reason: 'shutdown' });
  assert.equal(made.jobs.size, 0);
  await life.room.onLifecycle({ uuid: UUID, event: 'started' });
  // The hold suspends and resumes it.
  await life.room.onLifecycle({ uuid: UUID, event: 'lifecycle', lifecycle: 'resumed' });
  await life.settle();
  await life.room.onLifecycle({ uuid: UUID, event: 'lifecycle', lifecycle: 'resumed' });
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
