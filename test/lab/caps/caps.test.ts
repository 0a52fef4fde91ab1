// The least caps, with real keys: with what `siphon doctor --caps` prints, each identity can do all its work and blocklist nobody; with
// any grant left out or narrowed, something that is named here fails.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { capsFor } from '../../../src/sidecar/doctor/caps.ts';
import type { Identity, Pools } from '../../../src/wire/caps.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { CephUser, SnapshotAt } from '../../../src/wire/worker-protocol.ts';
import { must, run, sh } from '../support/host.ts';
import { fileCleanup, freshPool } from '../support/images.ts';
import { cephWorker, json, soon, usersFor } from '../worker/ceph-worker.ts';
import { IDENTITIES, NARROWED } from './narrowed.ts';
import {
  arm,
  OPERATIONS,
  type Operation,
  operationOf,
  type Site,
  snapshotOf,
  type World,
} from './operations.ts';

const cleanup = fileCleanup();
let pools: { images: string; vms: string; data: string };
let sites: Readonly<Record<'' | 'tenant', Site>>;
let scratch: string;

before(async () => {
  const fresh = () => freshPool(cleanup);
  const [images, vms, data] = [await fresh(), await fresh(), await fresh()];
  pools = { images, vms, data };
  scratch = await must('mktemp', '-d', '/tmp/caps-XXXXXX');
  cleanup.after(() => run('rm', ['-rf', scratch]));
  await sh(`rbd namespace create ${images}/tenant; rbd namespace create ${vms}/tenant
    head -c 4M /dev/urandom >${scratch}/raw
    for place in '' tenant/; do
      rbd import --no-progress ${scratch}/raw ${images}/$place'src'
      rbd snap create --no-progress ${images}/$place'src@snap'
      rbd import --no-progress ${scratch}/raw ${vms}/$place'disk'
      rbd snap create --no-progress ${vms}/$place'disk@siphon.source'
      rbd snap protect ${vms}/$place'disk@siphon.source'
      rbd clone ${images}/$place'src@snap' ${vms}/$place'clone' --rbd-default-clone-format 2
    done
    rbd create --size 8M --data-pool ${data} ${vms}/split`);
  sites = { '': await siteOf(''), tenant: await siteOf('tenant') };
});

async function siteOf(namespace: string): Promise<Site> {
  const { images, vms } = pools;
  const spec = [images, namespace, 'src'].filter(Boolean).join('/');
  const { id: imageId } = await json<{ id: string }>('rbd', 'info', spec);
  const [snap] = await json<{ id: number }[]>('rbd', 'snap', 'ls', spec);
  const known = await json<{ poolnum: number; poolname: string }[]>('ceph', 'osd', 'lspools');
  const idOf = (name: string) => known.find((each) => each.poolname === name)?.poolnum ?? -1;
  const fsid = await must('ceph', 'fsid');
  const diskSpec = [vms, namespace, 'disk'].filter(Boolean).join('/');
  const disk = await json<{ id: string }>('rbd', 'info', diskSpec);
  const [marked] = await json<{ id: number }[]>('rbd', 'snap', 'ls', diskSpec);
  const source: SnapshotAt = {
    poolId: idOf(vms),
    namespace,
    imageId: disk.id,
    snapId: marked?.id ?? -1,
    snap: 'siphon.source',
  };
  const ids = { fsid, poolId: idOf(images), namespace, imageId, snapId: snap?.id ?? -1 };
  return { images, vms, namespace, ids, vmsId: idOf(vms), source, scratch };
}

const placesOf = ({ images, vms, namespace }: Site): Pools => {
  const place = (pool: string) => (namespace === '' ? pool : `${pool}/${namespace}`);
  return { images: [place(images)], vms: [place(vms)] };
};

for (const where of ['', 'tenant'] as const) {
  const place = where === '' ? 'pools' : 'a namespace';
  test(`with the caps that are printed for ${place}, each identity does all its work`, async () => {
    const site = sites[where];
    const users = await usersFor(cleanup, placesOf(site));
    await using ceph = cephWorker(users);
    const world = { ...site, ceph, users };
    for (const identity of IDENTITIES) {
      for (const [name, operation] of Object.entries(OPERATIONS[identity])) {
        await operation(world).catch((cause: unknown) => {
          throw new Error(`as ${identity}: ${name}`, { cause });
        });
      }
      const { images, vms } = placesOf(site);
      const asked = identity === 'snapshot' || identity === 'restore' ? vms : images;
      const examined = await ceph.call('examine', { as: identity, pools: asked, disks: [] }, soon);
      assert.deepEqual(
        examined.pools.map(({ trial }) => trial),
        [{ kind: 'may' }],
      );
      await assertNoBlocklisting(users[identity] ?? assert.fail(identity));
    }
    if (where === 'tenant') {
      const outside = { ...world, ...sites[''] };
      await failingAs('denied', operationOf('snapshot', 'look who uses a disk'), outside);
      return;
    }
    assert.deepEqual(await flagsAfter(world), []);
    await assertNoData(users.snapshot);
  });
}

const flagsOf = async (spec: string): Promise<string[]> =>
  (await json<{ flags: string[] }>('rbd', 'info', spec)).flags;

let maps = 0;

/** What a snapshot of a fresh disk has for flags, and the disk when that is gone again. */
async function flagsAfter({ ceph, vms: pool }: World): Promise<string[]> {
  const image = `mapped${++maps}`;
  const at = { pool, namespace: '', image };
  await must('rbd', 'create', '--size', '8M', `${pool}/${image}`);
  const made = await ceph.call('createSnapshot', { ...at, snap: 'siphon.map' }, soon);
  const flags = await flagsOf(`${pool}/${image}@siphon.map`);
  await ceph.call('removeSnapshot', made, soon);
  return [...flags, ...(await flagsOf(`${pool}/${image}`))];
}

type User = CephUser;
/** As this user, by Ceph's own tools. */
const as = ({ name, keyring = '' }: User, ...command: readonly string[]) => {
  const [tool = '', ...rest] = command;
  return run(tool, ['--id', name, '--keyring', keyring, ...rest]);
};

const EACCES = 13;
const blocklist = () => must('ceph', 'osd', 'blocklist', 'ls', '--format', 'json');

async function assertNoBlocklisting(user: User): Promise<void> {
  const listed = await blocklist();
  const { code, stderr } = await as(user, 'ceph', 'osd', 'blocklist', 'add', '10.99.0.1:0/1');
  assert.equal(code, EACCES, stderr);
  assert.equal(await blocklist(), listed);
}

/** What a guest wrote cannot be changed by who takes its snapshots. */
async function assertNoData(user: User): Promise<void> {
  const { block_name_prefix: prefix } = await json<{ block_name_prefix: string }>(
    'rbd',
    'info',
    `${pools.vms}/disk`,
  );
  const { code, stderr } = await as(
    user,
    'rados',
    '-p',
    pools.vms,
    'put',
    `${prefix}.0000000000000000`,
    `${scratch}/raw`,
  );
  assert.equal(code, 1, stderr);
  assert.match(stderr, /Operation not permitted/);
}

test('mon profile rbd, which siphon is not given, may blocklist', async () => {
  const user = await makeKey({ mon: 'profile rbd' });
  const { code, stderr } = await as(user, 'ceph', 'osd', 'blocklist', 'add', '10.99.0.2:0/1');
  assert.equal(code, 0, stderr);
  await must('ceph', 'osd', 'blocklist', 'rm', '10.99.0.2:0/1');
});

let keys = 0;

async function makeKey(caps: Readonly<Record<string, string>>): Promise<Required<User>> {
  const name = `caps${process.pid}x${++keys}`;
  const keyring = `${scratch}/${name}.keyring`;
  const given = Object.entries(caps).flat();
  await must('ceph', 'auth', 'get-or-create', `client.${name}`, ...given, '-o', keyring);
  cleanup.after(() => run('ceph', ['auth', 'rm', `client.${name}`]));
  return { name, keyring };
}

async function failingAs(code: string, operation: Operation, world: World): Promise<void> {
  const error = await operation(world).then(
    () => assert.fail('it should have failed'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof OperatingError, String(error));
  assert.equal(error.code, code, error.message);
}

type Change = (caps: { readonly mon: string; readonly osd: string }) => {
  readonly mon?: string;
  readonly osd: string;
};

/** A world where the identity's caps, as they are printed, are changed. */
async function changed(identity: Identity, change: Change): Promise<Omit<World, 'ceph'>> {
  const site = sites[''];
  const one = { name: identity };
  const users = { fill: { name: 'f' }, snapshot: { name: 's' }, publish: { name: 'p' } };
  const printed = capsFor({ users: { ...users, [identity]: one } }, placesOf(site));
  const caps = printed.find((each) => each.user === one) ?? assert.fail(identity);
  const user = await makeKey({ ...change({ mon: caps.mon, osd: caps.osd }) });
  return { ...site, users: { fill: user, snapshot: user, publish: user, restore: user } };
}

/** Leaves out a grant of the OSDs, or has another in its place; VMS and IMAGES stand for the pools. */
function osd(grant: string, instead?: string): Change {
  const named = (text: string) => text.replace('VMS', pools.vms).replace('IMAGES', pools.images);
  return (caps) => {
    const grants = caps.osd.split(', ');
    const index = grants.indexOf(named(grant));
    assert.ok(index >= 0, `${named(grant)} is not in ${caps.osd}`);
    grants.splice(index, 1, ...(instead === undefined ? [] : [named(instead)]));
    return { ...caps, osd: grants.join(', ') };
  };
}

const noMon: Change = ({ osd: text }) => ({ osd: text });

for (const { identity, without, fails, grant, instead, code = 'denied' } of NARROWED) {
  test(`the ${identity} identity without ${without} cannot ${fails}`, async () => {
    const operation = operationOf(identity, fails);
    const world = await changed(identity, grant === undefined ? noMon : osd(grant, instead));
    await using ceph = cephWorker(world.users);
    await failingAs(code, operation, { ...world, ceph });
  });
}

// librbd carries on without it; then nobody can trust the map, and diffs look at every object.
for (const left of ['', 'w', 'x']) {
  test(`the snapshot identity with '${left}' of object maps leaves an invalid one`, async () => {
    const map = 'object_prefix rbd_object_map.';
    const instead = left === '' ? undefined : `allow ${left} pool=VMS ${map}`;
    const world = await changed('snapshot', osd(`allow wx pool=VMS ${map}`, instead));
    await using ceph = cephWorker(world.users);
    assert.ok((await flagsAfter({ ...world, ceph })).includes('object map invalid'));
  });
}

test('a disk whose data is in a pool of its own needs that pool named with the others', async () => {
  const { images, vms, data } = pools;
  const site = sites[''];
  for (const [named, code] of [
    [[vms, data], undefined],
    [[vms], 'denied'],
  ] as const) {
    const users = await usersFor(cleanup, { images: [images], vms: named });
    await using ceph = cephWorker(users);
    const taking = snapshotOf('split');
    if (code === undefined) await taking({ ...site, ceph, users });
    else await failingAs(code, taking, { ...site, ceph, users });
  }
});

const TICK_GRANT = 'allow w pool=TICKS object_prefix siphon.tick';

// All of it left out: test/lab/armed.
for (const [told, grantedAs, isOpen] of [
  ['as it is printed', 'allow w', true],
  ['without w', 'allow r', false],
] as const) {
  const where = isOpen ? 'of that pool' : 'of the first disk’s, and the doctor says so';
  test(`with the grant for the pool for ticks ${told}, ticks are ${where}`, async () => {
    const { vms } = pools;
    // Of each its own: the last tick is taken back after its worker's end.
    const ticks = await freshPool(cleanup);
    const users = { fill: { name: 'f' }, snapshot: { name: 's' }, publish: { name: 'p' } };
    const [, printed] = capsFor({ users, tickPool: ticks }, placesOf(sites['']));
    const grant = TICK_GRANT.replace('TICKS', ticks);
    const grants = printed?.osd.split(', ') ?? [];
    assert.ok(grants.includes(grant), grants.join(', '));
    const instead = grant.replace('allow w', grantedAs);
    const osd = grants.map((each) => (each === grant ? instead : each)).join(', ');
    const user = await makeKey({ mon: printed?.mon ?? '', osd });
    const one = { fill: user, snapshot: user, publish: user };
    await using ceph = cephWorker(one, { settings: { tickPool: ticks } });
    const asked = { as: 'snapshot', pools: [], disks: [], tickPool: ticks } as const;
    const examined = await ceph.call('examine', asked, soon);
    assert.equal(examined.ticks?.kind, isOpen ? 'may' : 'may-not');
    const before = await idsTaken();
    await arm({ ...sites[''], ceph, users: one });
    const after = await idsTaken();
    const taken = [vms, ticks].map((pool) => after.get(pool) !== before.get(pool));
    assert.deepEqual(taken, isOpen ? [false, true] : [true, false]);
  });
}

/** Of each pool the last snapshot id. */
async function idsTaken(): Promise<Map<string, number>> {
  const dump = await json<{ pools: { pool_name: string; snap_seq: number }[] }>(
    'ceph',
    'osd',
    'dump',
  );
  return new Map(dump.pools.map(({ pool_name, snap_seq }) => [pool_name, snap_seq]));
}
