// Sets that are there: protected, pruned, and out of the way of whoever deletes a disk.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { assertTidy, isError, until } from './tidy.ts';
import { failure, Life, policyOf, releaseOf, World } from './world.ts';

const [UUID] = UUIDS;
const XML = domainXml(UUID, ['root', 'data']);

function world(): World {
  const made = new World(['root', 'data']);
  made.domainXml = XML;
  return made;
}

test('a protected set is neither removed nor pruned until it is unprotected, also by a rebuilt catalogue', async () => {
  const made = world();
  const life = new Life(made);
  const stop = async () => {
    made.nowMs += 1000;
    life.room.onRelease(releaseOf(XML));
    await life.settle();
  };
  await stop();
  const [first] = made.catalogue.values();
  assert.ok(first);
  await life.room.protect(first.id, true);
  assert.equal(made.omap.get(first.id)?.isProtected, true);
  assert.throws(() => life.room.remove(first.id), isError('refused'));
  for (let each = 0; each < 3; each += 1) await stop();
  await until(() => made.catalogue.size === 3);
  assert.ok(made.catalogue.has(first.id), 'it does not count, either: two others stay');
  await life.room.protect(first.id, false);
  assert.equal(made.omap.get(first.id)?.isProtected, undefined);
  await life.room.remove(first.id).finished;
  await life.settle();
  assertTidy(made);
});

test('a protection that Ceph does not take is none, and says so', async () => {
  const made = world();
  const life = new Life(made);
  const [begun] = await life.room.create(['vm']);
  const { id = '' } = (await begun?.finished) ?? {};
  made.beforeCeph = (method) => {
    if (method === 'putSet') throw failure('unavailable');
  };
  await assert.rejects(life.room.protect(id, true), isError('unavailable'));
  assert.equal(made.catalogue.get(id)?.isProtected, undefined);
  const slow = Promise.withResolvers<void>();
  made.beforeCeph = (method) => (method === 'putSet' ? slow.promise : undefined);
  const protecting = life.room.protect(id, true);
  assert.throws(() => life.room.remove(id), isError('busy'));
  slow.resolve();
  await protecting;
  await assert.rejects(life.room.protect('another', true), isError('not-found'));
});

const NOVA = `${UUID}_disk`;

for (const [what, isDefined, left] of [
  ['is gone', false, 1],
  ['is defined anew, as Nova does at each start', true, 2],
] as const) {
  test(`a domain that libvirt undefined and that ${what}: sets on Nova’s disk, unless protected`, async () => {
    const made = new World([NOVA]);
    made.domainXml = domainXml(UUID, [NOVA]);
    const life = new Life(made);
    const [begun] = await life.room.create(['vm']);
    const { id = '' } = (await begun?.finished) ?? {};
    await life.room.protect(id, true);
    life.room.onRelease(releaseOf(made.domainXml));
    await life.settle();
    assert.deepEqual(
      [...made.catalogue.values()].map((set) => set.disks[0]?.owner),
      ['nova', 'nova'],
    );
    made.isDefined = isDefined;
    let asked = 0;
    made.beforeLibvirt = () => void (asked += 1);
    life.room.onUndefined(UUID);
    await until(() => asked === 1 && made.catalogue.size === left);
    await life.settle();
    assertTidy(made);
    assert.ok(made.catalogue.has(id));
  });
}

test('prune: a dry run changes nothing; sets of a policy that is gone stay', async () => {
  const made = world();
  made.policies = [policyOf({ name: 'daily', keepLast: 3 })];
  const life = new Life(made);
  for (let each = 0; each < 3; each += 1) {
    made.nowMs += 1000;
    life.room.onRelease(releaseOf(XML));
    await life.settle();
  }
  made.policies = [];
  assert.ok(life.room.prune({ isDryRun: false }).every(({ decision }) => decision === 'keep'));
  made.policies = [policyOf({ name: 'daily', keepLast: 1 })];
  const goes = (isDryRun: boolean) =>
    life.room.prune({ isDryRun }).filter(({ decision }) => decision === 'prune').length;
  assert.equal(goes(true), 2);
  await life.settle();
  assert.equal(made.catalogue.size, 3);
  assert.equal(goes(false), 2);
  await until(() => made.catalogue.size === 1);
  await life.settle();
  assertTidy(made);
});
