// A stop of which libvirt does not say why: its state of the domain tells, else what the disks show decides.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideRelease } from '../../../src/snapshot/decide.ts';
import type { TakeData } from '../../../src/snapshot/job-data.ts';
import type { ReleaseReason } from '../../../src/wire/vocabulary.ts';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { assertTidy } from './tidy.ts';
import { failure, Life, policyOf, untoldOf, World } from './world.ts';

const [UUID] = UUIDS;
const XML = domainXml(UUID, ['root', 'data']);

function world(stopReason?: ReleaseReason): World {
  const made = new World(['root', 'data', 'other']);
  made.domainXml = XML;
  made.stopReason = stopReason;
  return made;
}

async function ofStop(made: World) {
  const life = new Life(made);
  life.room.onRelease(untoldOf(XML));
  assert.equal(made.openJobs().length, 1, 'the intent is durable at once');
  await life.settle();
  assertTidy(made);
  return [...made.catalogue.values()][0];
}

async function whyNot(made: World): Promise<string> {
  assert.equal(await ofStop(made), undefined);
  return made.lastJob()?.error?.why ?? '';
}

test('libvirt’s state of the domain is the reason, and chooses the policy', async () => {
  const made = world('shutdown');
  made.policies = [policyOf({ name: 'crashes', on: ['crashed'] }), policyOf({ name: 'stops' })];
  const set = await ofStop(made);
  assert.deepEqual([set?.reason, set?.policy, set?.quiesced], ['shutdown', 'stops', 'shutdown']);
});

test('what is learnt is in the journal, also of a set that is skipped', async () => {
  const made = world('saved');
  await whyNot(made);
  const data = made.lastJob()?.data as TakeData | undefined;
  assert.equal(data?.draft.reason, 'saved');
});

test('a life that ends at any effect leaves nothing half done, and the next takes the set', async () => {
  for (let endsAt = 2; ; endsAt += 1) {
    const made = world('shutdown');
    const life = new Life(made, endsAt);
    life.room.onRelease(untoldOf(XML));
    await life.settle();
    if (!life.isDead) return assert.ok(endsAt > 10);
    const next = new Life(made);
    await next.recover();
    await next.recover();
    assertTidy(made);
    const sets = [...made.catalogue.values()].map(({ reason, policy }) => [reason, policy]);
    assert.deepEqual(sets, [['shutdown', 'daily']], `ended at effect ${endsAt}`);
  }
});

test('a reason that no policy names, or after which none is ever taken, is skipped', async () => {
  assert.match(await whyNot(world('destroyed')), /skipped: no policy .* after 'destroyed'/);
  assert.match(await whyNot(world('migrated')), /skipped: .*: the guest runs on another host/);
});

test('of a domain that is gone nobody knows: free disks are taken, and claim nothing', async () => {
  const made = world();
  made.beforeLibvirt = () => {
    throw failure('not-found');
  };
  const set = await ofStop(made);
  assert.deepEqual([set?.reason, set?.policy, set?.quiesced], ['unknown', 'daily', 'none']);
});

test('of one that is gone, and whose disk is open somewhere, nothing is taken', async () => {
  const made = world();
  made.image({ image: 'data' }).watchers = ['client.8'];
  assert.match(await whyNot(made), /nobody says why .* disk vdb is open at client\.8/);
  made.image({ image: 'data' }).lockOwners = ['client.8'];
  assert.match(await whyNot(made), /disk vdb is locked by client\.8/);
});

test('one that runs by now is skipped; a name that no policy has leaves no job', async () => {
  const made = world();
  made.isActive = true;
  assert.match(await whyNot(made), /the domain runs again/);
  const other = world();
  other.policies = [policyOf({ name: 'x', domains: ['another'] })];
  new Life(other).room.onRelease(untoldOf(XML));
  assert.equal(other.jobs.size, 0);
});

test('a libvirtd that goes down with its host is not waited for: the disks decide', async () => {
  const made = world('shutdown');
  made.isActive = undefined;
  const set = await ofStop(made);
  assert.deepEqual([set?.reason, set?.quiesced], ['unknown', 'none']);
});

test('an old stop waits while libvirt does not answer, and is taken when it does', async () => {
  const made = world('shutdown');
  made.isActive = undefined;
  const life = new Life(made);
  life.room.onRelease({ ...untoldOf(XML), isLate: true });
  await life.settle();
  assert.deepEqual(
    made.openJobs().map((job) => job.step),
    ['waiting'],
  );
  made.isActive = false;
  await life.recover();
  assertTidy(made);
  assert.equal(made.catalogue.size, 1);
});

test('a start does not wait for a question that libvirt holds back for it: overtaken at once', async () => {
  const made = world('shutdown');
  const hook = Promise.withResolvers<void>();
  made.beforeLibvirt = () => hook.promise;
  const life = new Life(made);
  life.room.onRelease(untoldOf(XML));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(await life.room.onPrepare(UUID, made.nowMs + 3_600_000), 'overtaken');
  hook.resolve();
  await life.settle();
  assertTidy(made);
  assert.match(made.lastJob()?.error?.why ?? '', /the domain started meanwhile/);
});

test('only where nobody says why does an open disk keep a set from being taken', () => {
  const disks = [{ target: 'vda', lockOwners: [], watchers: ['client.8'] }];
  const kinds = (['unknown', 'crashed', 'daemon', 'shutdown'] as const).map(
    (reason) => decideRelease({ reason, disks, isActiveNow: undefined, isLate: false }).kind,
  );
  assert.deepEqual(kinds, ['skip', 'take', 'take', 'take']);
});
