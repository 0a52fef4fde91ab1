// The room of snapshots against a world in memory: what a set claims, who overtakes whom, and that a failure or a kill -9 at
// any effect leaves neither a snapshot without a set, nor a set without its snapshots.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDomain } from '../../../src/domain/domain.ts';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { assertTidy, isError, until } from './tidy.ts';
import { failure, Life, policyOf, releaseOf, World } from './world.ts';

const [UUID] = UUIDS;
const XML = domainXml(UUID, ['root', 'data']);

function world(): World {
  const made = new World(['root', 'data', 'other']);
  made.domainXml = XML;
  return made;
}

test('a shutdown leaves a set of all disks, recorded in Ceph and catalogue, without passwords', async () => {
  const made = world();
  const life = new Life(made);
  const secret = XML.replace('<devices>', "<devices><graphics type='vnc' passwd='s3cret'/>");
  life.room.onRelease(releaseOf(secret));
  assert.equal(made.openJobs().length, 1, 'the intent is durable at once');
  await life.settle();
  assertTidy(made);
  const [set] = made.catalogue.values();
  assert.match(set?.id ?? '', /^19700101t000000z-[0-9a-f]{8}$/);
  assert.deepEqual(
    [set?.quiesced, set?.instant, set?.reason, set?.policy, set?.way, set?.event],
    ['shutdown', 'barrier', 'shutdown', 'daily', 'native', 'release'],
  );
  assert.deepEqual(
    set?.disks.map((disk) => [disk.target, disk.image, disk.snapId]),
    [
      ['vda', 'root', 1],
      ['vdb', 'data', 2],
    ],
  );
  assert.ok(!JSON.stringify([...made.omap.values(), ...made.jobs.values()]).includes('s3cret'));
});

test('where no policy asks for a set there is not even a job', async () => {
  const made = world();
  const life = new Life(made);
  for (const reason of ['destroyed', 'migrated', 'saved', 'failed', 'crashed'] as const) {
    life.room.onRelease(releaseOf(XML, reason));
  }
  await life.settle();
  assert.equal(made.jobs.size, 0);
});

test('a set that is skipped is a job that says why', async () => {
  const made = world();
  made.policies = [policyOf({ name: 'all', on: ['unknown'] })];
  const image = made.image({ image: 'data' });
  image.lockOwners = ['client.7'];
  image.watchers = ['client.7'];
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML, 'unknown'));
  await life.settle();
  assertTidy(made);
  assert.match(made.lastJob()?.error?.why ?? '', /^skipped: .* disk vdb is locked by client\.7/);
});

test('retention keeps the newest of the policy, and an operator’s for ever', async () => {
  const made = world();
  const life = new Life(made);
  const [begun] = await life.room.create(['vm']);
  const manual = await begun?.finished;
  for (let each = 0; each < 4; each += 1) {
    made.nowMs += 1000;
    life.room.onRelease(releaseOf(XML));
    await life.settle();
  }
  assertTidy(made);
  const kept = [...made.catalogue.values()];
  assert.deepEqual(
    kept.map((set) => set.event),
    ['manual', 'release', 'release'],
  );
  assert.equal(kept[0]?.id, manual?.id);
  assert.deepEqual(
    kept.slice(1).map((set) => made.nowMs - set.createdAtMs),
    [1000, 0],
  );
});

test('an operator’s set is of what the policy for that says, and counted by it', async () => {
  const made = world();
  made.policies = [policyOf({ name: 'asked', on: ['manual'], devices: ['vdb'] })];
  const [begun] = await new Life(made).room.create(['vm']);
  const set = await begun?.finished;
  assert.deepEqual(
    [set?.policy, set?.wanted.devices, set?.disks.map(({ target }) => target)],
    ['asked', ['vdb'], ['vdb']],
  );
});

test('an operator’s second set of the same domain meanwhile is busy', async () => {
  const made = world();
  const life = new Life(made);
  const [begun] = await life.room.create(['vm']);
  await assert.rejects(life.room.create(['vm']), isError('busy'));
  await begun?.finished;
  await (await life.room.create(['vm']))[0]?.finished;
  assertTidy(made);
});

test('a repeated release while its set is taken takes no second one', async () => {
  const made = world();
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  assert.equal(made.catalogue.size, 1);
});

test('a start waits for the snapshots, and no longer', async () => {
  const made = world();
  const record = Promise.withResolvers<void>();
  made.beforeCeph = (method) => (method === 'putSet' ? record.promise : undefined);
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  assert.equal(await life.room.onPrepare(UUID, made.nowMs + 5000), 'finished');
  assert.equal(made.snapshots().length, 2);
  assert.equal(made.catalogue.size, 0, 'its record is still to come');
  record.resolve();
  await life.settle();
  assertTidy(made);
  assert.equal(made.catalogue.size, 1);
  assert.equal(await life.room.onPrepare(UUID, made.nowMs + 5000), 'none');
});

test('a start that does not wait overtakes the set: discarded, and said to be', async () => {
  const made = world();
  const slow = Promise.withResolvers<void>();
  made.beforeCeph = (method) => (method === 'createSnapshot' ? slow.promise : undefined);
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  assert.equal(await life.room.onPrepare(UUID, made.nowMs + 20), 'overtaken');
  slow.resolve();
  await life.settle();
  assertTidy(made);
  assert.equal(made.catalogue.size, 0);
  assert.match(made.lastJob()?.error?.why ?? '', /^discarded: the domain started meanwhile/);
});

test('the stop after a start that overtook has its own set', async () => {
  const made = world();
  const slow = Promise.withResolvers<void>();
  made.beforeCeph = (method) => (method === 'createSnapshot' ? slow.promise : undefined);
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.room.onPrepare(UUID, 0);
  life.room.onRelease(releaseOf(XML));
  slow.resolve();
  await life.settle();
  assertTidy(made);
  assert.equal(made.catalogue.size, 1);
});

test('a start that nobody told of shows in the locks: discarded', async () => {
  const made = world();
  made.beforeCeph = (method) => {
    if (method !== 'createSnapshot') return;
    const image = made.image({ image: 'root' });
    image.lockOwners = ['client.9'];
    image.watchers = ['client.9'];
  };
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  assertTidy(made);
  assert.match(made.lastJob()?.error?.why ?? '', /^discarded: disk vda was locked meanwhile/);
});

test('an old event of a domain that runs again is skipped', async () => {
  const made = world();
  made.isActive = true;
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML, 'shutdown', true));
  await life.settle();
  assertTidy(made);
  assert.match(made.lastJob()?.error?.why ?? '', /the domain runs again/);
});

test('any call that fails leaves nothing behind, and is said', async () => {
  for (const method of ['imageUse', 'createSnapshot', 'putSet'] as const) {
    for (const code of ['refused', 'unavailable', 'busy', 'not-found'] as const) {
      for (const nth of [1, 2]) {
        const made = world();
        let calls = 0;
        made.beforeCeph = (called) => {
          calls += Number(called === method);
          if (called === method && calls === nth) throw failure(code);
        };
        const life = new Life(made);
        life.room.onRelease(releaseOf(XML));
        await life.settle();
        if (method === 'putSet' && nth === 2) continue;
        assert.equal(made.catalogue.size, 0);
        assert.deepEqual(made.snapshots(), [], `${method} ${code} ${nth}`);
        const job = [...made.jobs.values()].find((each) => each.kind === 'snapshot');
        if (code === 'unavailable') assert.deepEqual([job?.state, job?.step], ['open', 'waiting']);
        else assert.deepEqual([job?.state, job?.error?.code], ['failed', code]);
      }
    }
  }
});

/** Life ends while its worker holds the disks' locks for this call; the next one has another worker. */
async function diedHolding(made: World, call: string, work: (life: Life) => void): Promise<void> {
  const images = ['root', 'data'].map((image) => made.image({ image }));
  made.beforeCeph = (method) => {
    if (method !== call) return undefined;
    for (const image of images) image.lockOwners = [made.client];
    return new Promise<never>(() => undefined);
  };
  const life = new Life(made);
  work(life);
  await until(() => images.every((image) => image.lockOwners.length > 0));
  made.beforeCeph = () => undefined;
  made.client = 'client.200';
}

test('what a killed worker held is let go, and the stop has its set all the same', async () => {
  const made = world();
  await diedHolding(made, 'createSnapshot', (life) => life.room.onRelease(releaseOf(XML)));
  await new Life(made).recover();
  assertTidy(made);
  assert.equal(made.catalogue.size, 1);
  assert.deepEqual(made.image({ image: 'root' }).lockOwners, []);
});

test('a killed worker that removed a set keeps no lock either; another’s lock stays', async () => {
  const made = world();
  const first = new Life(made);
  first.room.onRelease(releaseOf(XML));
  await first.settle();
  const [set] = made.catalogue.values();
  await diedHolding(made, 'removeSnapshot', (life) => life.room.remove(set?.id ?? ''));
  made.image({ image: 'data' }).lockOwners = ['client.7'];
  await new Life(made).recover();
  assertTidy(made);
  assert.equal(made.catalogue.size, 0);
  assert.deepEqual(made.image({ image: 'root' }).lockOwners, []);
  assert.deepEqual(made.image({ image: 'data' }).lockOwners, ['client.7']);
});

test('a snapshot that appears after its call had failed is found and removed', async () => {
  const made = world();
  made.beforeCeph = (method, params) => {
    const asked = params as { image: string; snap: string };
    if (method !== 'createSnapshot' || asked.image !== 'data') return;
    setTimeout(() => made.image(asked).snaps.set(99, asked.snap), 50);
    throw failure('busy');
  };
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  assert.equal(made.openJobs().length, 1, 'the second look is on record');
  await until(() => made.openJobs().length === 0);
  assertTidy(made);
});

test('remove: snapshots, record and row; an unknown set is not found', async () => {
  const made = world();
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  const [id = ''] = made.catalogue.keys();
  made.image({ image: 'root' }).snaps.set(77, 'backup-of-another-tool');
  await life.room.remove(id).finished;
  assert.deepEqual(made.snapshots(), ['backup-of-another-tool']);
  assert.equal(made.omap.size + made.catalogue.size, 0);
  assert.throws(() => life.room.remove(id), isError('not-found'));
});

test('a removal that failed is gone on with', async () => {
  const made = world();
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  const [id = ''] = made.catalogue.keys();
  made.beforeCeph = (method) => {
    if (method === 'removeSet') throw failure('unavailable');
  };
  await assert.rejects(life.room.remove(id).finished, isError('unavailable'));
  assert.equal(made.catalogue.get(id)?.state, 'deleting');
  made.beforeCeph = () => undefined;
  await life.room.recover();
  await life.settle();
  assertTidy(made);
  assert.equal(made.catalogue.size, 0);
});

test('a lost catalogue is rebuilt from Ceph, with this host’s sets', async () => {
  const made = world();
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  const [set] = made.omap.values();
  assert.ok(set);
  made.omap.set('other', { ...set, id: 'other', host: 'h2' });
  made.catalogue.clear();
  const found = [...made.omap.values()];
  assert.deepEqual(life.room.adopt(found), [set.id]);
  assert.deepEqual(life.room.adopt(found), []);
  made.omap.delete('other');
  assertTidy(made);
});

test('kill -9 at every effect of a set: the next life leaves all tidy, and the event has its set', async () => {
  let lives = 0;
  for (let endsAt = 2; ; endsAt += 1) {
    const made = world();
    made.policies = [policyOf({ name: 'daily' })];
    const before = new Life(made);
    before.room.onRelease(releaseOf(XML));
    await before.settle();
    made.nowMs += 1000;
    const killed = new Life(made, endsAt);
    killed.room.onRelease(releaseOf(XML));
    await killed.settle();
    // Half of the second lives are killed as well.
    const second = new Life(made, endsAt % 2 === 0 ? endsAt / 2 : undefined);
    await second.recover();
    const last = new Life(made);
    await last.recover();
    assertTidy(made);
    assert.deepEqual([...killed.defects, ...second.defects, ...last.defects], []);
    lives += 1;
    if (!killed.isDead) break;
  }
  assert.ok(lives > 20, `${lives} points of death`);
});

test('kill -9 once at every effect: the event still leaves exactly one set', async () => {
  for (let endsAt = 2; ; endsAt += 1) {
    const made = world();
    const killed = new Life(made, endsAt);
    killed.room.onRelease(releaseOf(XML));
    await killed.settle();
    const last = new Life(made);
    await last.recover();
    assertTidy(made);
    assert.equal(made.catalogue.size, 1, `killed at effect ${endsAt}`);
    if (!killed.isDead) break;
  }
});

test('the fake domain has the disks that the tests speak of', () => {
  assert.deepEqual(
    parseDomain(XML).disks.map((disk) => disk.target),
    ['vda', 'vdb'],
  );
});
