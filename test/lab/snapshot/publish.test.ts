// Images made of snapshots by a real worker, as users of least caps, compared with `rbd`.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { CloneAt, CloneFormat, PublishEntry } from '../../../src/wire/publish-protocol.ts';
import type { CephMethods, SnapshotAt } from '../../../src/wire/worker-protocol.ts';
import type { Worker } from '../../../src/worker/supervisor/index.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup, freshPool } from '../support/images.ts';
import { cephWorker, failing, json, soon, usersFor } from '../worker/ceph-worker.ts';

const cleanup = fileCleanup();
let vms: string;
let images: string;
let data: string;
let users: Awaited<ReturnType<typeof usersFor>>;
let worker: Worker<CephMethods>;
let poolId = -1;
let scratch = '';

before(async () => {
  [vms, images, data] = [
    await freshPool(cleanup),
    await freshPool(cleanup),
    await freshPool(cleanup),
  ];
  scratch = await must('mktemp', '-d', '/tmp/publish-XXXXXX');
  cleanup.after(() => run('rm', ['-rf', scratch]));
  await sh(`rbd namespace create ${images}/tenant
    head -c 6M /dev/urandom >${scratch}/raw
    rbd import --no-progress ${scratch}/raw ${images}/base
    rbd snap create --no-progress ${images}/base@snap`);
  users = await usersFor(cleanup, { images: [images, data], vms: [vms], tasks: [images] });
  worker = cephWorker(users);
  cleanup.after(async () => await worker[Symbol.asyncDispose]());
  const pools = await json<{ poolnum: number; poolname: string }[]>('ceph', 'osd', 'lspools');
  poolId = pools.find(({ poolname }) => poolname === images)?.poolnum ?? -1;
});

interface Info {
  readonly id: string;
  readonly features: readonly string[];
  readonly object_size: number;
  readonly data_pool?: string;
  readonly parent?: object;
}
const infoOf = (spec: string) => json<Info>('rbd', 'info', spec);
const nameList = (place: string) => json<string[]>('rbd', 'ls', place);

interface Snap {
  readonly id: number;
  readonly name: string;
  readonly protected: string;
  readonly namespace: { readonly type: string };
}
const snapsOf = (spec: string) => json<Snap[]>('rbd', 'snap', 'ls', '--all', spec);

/** A disk with 6 MiB of data, its own metadata, and a set's snapshot; `how` are words of `rbd import`. */
async function disk(image: string, ...how: readonly string[]): Promise<SnapshotAt> {
  const spec = `${vms}/${image}`;
  await must('rbd', 'import', '--no-progress', ...how, `${scratch}/raw`, spec);
  await must('rbd', 'image-meta', 'set', spec, 'owner', 'somebody');
  await must('rbd', 'image-meta', 'set', spec, 'conf_rbd_cache', 'false');
  return await snapshotOf(image);
}

async function snapshotOf(image: string): Promise<SnapshotAt> {
  const at = { pool: vms, namespace: '', image };
  const made = await worker.call('createSnapshot', { ...at, snap: `siphon.${image}` }, soon);
  const { sizeBytes: _, ...source } = made;
  return source;
}

const entryOf = (source: SnapshotAt, image: string, format: CloneFormat = 2): PublishEntry => {
  return { schema: 1, host: 'h', set: 's', source, format, image };
};

/** As far as it is usable: under its name, in the images' pool or its namespace. */
async function make(
  source: SnapshotAt,
  image: string,
  { namespace = '', format = 2 }: { namespace?: string; format?: CloneFormat } = {},
): Promise<Required<CloneAt>> {
  const to = { poolId, namespace, marked: `siphon.${image}.vda` };
  if (format === 1) await worker.call('protectSource', source, soon);
  const entry = entryOf(source, image, format);
  const { imageId, snapId } = await worker.call('makeClone', { to, entry }, soon);
  const place = namespace === '' ? images : `${images}/${namespace}`;
  assert.deepEqual(
    (await snapsOf(`${place}/${to.marked}`)).map(({ name, id }) => [name, id]),
    [['snap', snapId]],
  );
  const at = { ...to, imageId };
  const found = await worker.call('findEntries', { pool: images, namespace }, soon);
  assert.deepEqual(
    found.filter((each) => each.image === image),
    [{ ...entry, imageId, at, pool: images, state: 'unnamed' }],
  );
  assert.deepEqual(await worker.call('nameClone', { at, image }, soon), { was: 'named' });
  assert.deepEqual(await worker.call('nameClone', { at, image }, soon), { was: 'already' });
  assert.match(await must('rbd', 'image-meta', 'ls', `${place}/${image}`), /^There are 0 metadata/);
  return at;
}

const sameBytes = (spec: string) =>
  sh(`rbd export --no-progress '${spec}' - | cmp - ${scratch}/raw`);

async function flatten(at: CloneAt, source: SnapshotAt, want = 'flattened'): Promise<void> {
  const told: number[] = [];
  const onProgress = ({ doneBytes }: { doneBytes: number }) => void told.push(doneBytes);
  const { was } = await worker.call('flattenClone', { at }, { ...soon, onProgress });
  assert.equal(was, want);
  await worker.call('releaseSource', source, soon);
  await worker.call('dropEntry', at, soon);
}

for (const format of [1, 2] as const) {
  test(`by a clone of format ${format}: the same bytes at once, and nothing of the source's afterwards`, async () => {
    const image = `format${format}`;
    const source = await disk(image);
    const at = await make(source, image, { format });
    await sameBytes(`${images}/${image}@snap`);
    const [held] = await snapsOf(`${vms}/${image}`);
    assert.equal(held?.protected, String(format === 1));
    await flatten(at, source);
    await sameBytes(`${images}/${image}@snap`);
    assert.equal((await infoOf(`${images}/${image}@snap`)).parent, undefined);
    const [published] = await snapsOf(`${images}/${image}`);
    assert.deepEqual([published?.name, published?.protected], ['snap', String(format === 1)]);
    assert.deepEqual(await worker.call('removeSnapshot', source, soon), { was: 'removed' });
    assert.deepEqual(await snapsOf(`${vms}/${image}`), []);
    await flatten(at, source, 'flat');
  });
}

test('into a namespace, of disks that are clones, of one with objects and features of its own, and into a pool with a data pool', async () => {
  await must('rbd', 'clone', `${images}/base@snap`, `${vms}/child`);
  const cloned = await snapshotOf('child');
  const looked = await worker.call('lookAtSource', cloned, soon);
  assert.deepEqual([looked.ancestors, looked.isEncrypted], [1, false]);
  const place = { pool: images, namespace: 'tenant', image: 'child' };
  const { isNameTaken, isFull } = await worker.call('lookAtPlace', place, soon);
  assert.deepEqual([isNameTaken, isFull], [false, false]);
  await flatten(await make(cloned, 'child', { namespace: 'tenant' }), cloned);
  await sameBytes(`${images}/tenant/child@snap`);

  const bare = ['--object-size', '1M', '--image-feature', 'layering'];
  const plain = await disk('plain', ...bare);
  await flatten(await make(plain, 'plain'), plain);
  const info = await infoOf(`${images}/plain`);
  assert.deepEqual([info.object_size, info.features], [2 ** 20, ['layering', 'deep-flatten']]);
  assert.equal((await infoOf(`${images}/plain@snap`)).parent, undefined);

  const striped = await disk('striped', '--stripe-unit', '65536', '--stripe-count', '4');
  await flatten(await make(striped, 'striped'), striped);

  await must('rbd', 'config', 'pool', 'set', images, 'rbd_default_data_pool', data);
  try {
    const apart = await disk('apart');
    await flatten(await make(apart, 'apart'), apart);
    assert.equal((await infoOf(`${images}/apart`)).data_pool, data);
  } finally {
    await must('rbd', 'config', 'pool', 'rm', images, 'rbd_default_data_pool');
  }
  for (const image of ['plain', 'striped', 'apart']) await sameBytes(`${images}/${image}@snap`);
});

test('the set may be deleted before the flatten: its snapshot goes with the last clone', async () => {
  const source = await disk('early');
  const [one, two] = [await make(source, 'early'), await make(source, 'early2')];
  await worker.call('removeSnapshot', source, soon);
  const [trashed] = await snapsOf(`${vms}/early`);
  assert.equal(trashed?.namespace.type, 'trash');
  await flatten(one, source);
  assert.equal((await snapsOf(`${vms}/early`)).length, 1, 'another clone needs it');
  await flatten(two, source);
  assert.deepEqual(await snapsOf(`${vms}/early`), []);
  await sameBytes(`${images}/early@snap`);
});

test('a protected snapshot that has a clone of somebody else’s stays protected', async () => {
  const source = await disk('other');
  const at = await make(source, 'other', { format: 1 });
  const snap = `${vms}/other@siphon.other`;
  await must('rbd', 'clone', '--rbd-default-clone-format', '1', snap, `${images}/theirs`);
  await worker.call('flattenClone', { at }, soon);
  assert.deepEqual(await worker.call('releaseSource', source, soon), { was: 'in-use' });
  await must('rbd', 'rm', '--no-progress', `${images}/theirs`);
  assert.deepEqual(await worker.call('releaseSource', source, soon), { was: 'released' });
});

for (const format of [1, 2] as const) {
  test(`what is undone leaves nothing, at each step of it (format ${format})`, async () => {
    const image = `undone${format}`;
    const source = await disk(image);
    const marked = `siphon.${image}.vda`;
    const bare = { poolId, namespace: '', marked };
    const remove = (at: CloneAt) => worker.call('removeClone', { at }, soon);
    assert.deepEqual(await remove(bare), { was: 'absent' });
    if (format === 1) await worker.call('protectSource', source, soon);
    const asked = { to: bare, entry: entryOf(source, image, format) };
    await worker.call('makeClone', asked, soon);
    assert.deepEqual(await remove(bare), { was: 'removed' });
    const named = await make(source, image, { format });
    assert.deepEqual(await remove(named), { was: 'removed' });
    assert.deepEqual(await remove(named), { was: 'absent' });
    await worker.call('releaseSource', source, soon);
    assert.ok(!(await nameList(images)).some((name) => name.includes(image)));
    assert.deepEqual(await json('rbd', 'children', `${vms}/${image}@siphon.${image}`), []);
    assert.deepEqual(await worker.call('removeSnapshot', source, soon), { was: 'removed' });
  });
}

test('a full copy: the same bytes and holes, no parent; one that is cancelled leaves nothing', async () => {
  await sh(`truncate -s 64M ${scratch}/sparse
    dd if=${scratch}/raw of=${scratch}/sparse bs=1M seek=30 conv=notrunc status=none`);
  await must('rbd', 'import', '--no-progress', `${scratch}/sparse`, `${vms}/sparse`);
  const source = await snapshotOf('sparse');
  const to = { poolId, namespace: '', marked: 'siphon.copied.vda' };
  const asked = { to, entry: entryOf(source, 'copied') };
  const told: number[] = [];
  const onProgress = ({ doneBytes }: { doneBytes: number }) => void told.push(doneBytes);
  const { imageId } = await worker.call('makeCopy', asked, { ...soon, onProgress });
  assert.deepEqual(
    told,
    told.toSorted((one, other) => one - other),
  );
  const at = { ...to, imageId };
  await worker.call('nameClone', { at, image: 'copied' }, soon);
  await worker.call('dropEntry', at, soon);
  await sh(`rbd export --no-progress ${images}/copied@snap - | cmp - ${scratch}/sparse`);
  assert.equal((await infoOf(`${images}/copied@snap`)).parent, undefined);
  const usedBytes = Number(
    await sh(`rbd diff ${images}/copied@snap --format json | jq 'map(.length) | add'`),
  );
  assert.ok(usedBytes <= 8 * 2 ** 20, `${usedBytes} bytes`);

  const cut = new AbortController();
  const onFirst = () => cut.abort();
  const again = { to: { ...to, marked: 'siphon.cut.vda' }, entry: entryOf(source, 'cut') };
  const asking = worker.call('makeCopy', again, {
    ...soon,
    signal: cut.signal,
    onProgress: onFirst,
  });
  await failing(asking, 'cancelled', /./);
  const gone = async () => {
    await worker.call('removeClone', { at: again.to }, soon).catch(() => undefined);
    return !(await nameList(images)).some((name) => name.includes('cut'));
  };
  await until('what was begun is removed', gone);
});

test('a name that is taken stays whose it is; an image that is not marked is never removed', async () => {
  const source = await disk('taken');
  const to = { pool: images, namespace: '', image: 'base' };
  assert.ok((await worker.call('lookAtPlace', to, soon)).isNameTaken);
  const marked = { poolId, namespace: '', marked: 'siphon.taken.vda' };
  const entry = entryOf(source, 'base');
  const { imageId } = await worker.call('makeClone', { to: marked, entry }, soon);
  const at = { ...marked, imageId };
  await failing(worker.call('nameClone', { at, image: 'base' }, soon), 'refused', /EEXIST/);
  await worker.call('removeClone', { at }, soon);
  const base = { poolId, namespace: '', marked: 'base' };
  await failing(worker.call('removeClone', { at: base }, soon), 'refused', /siphon\./);
  assert.ok((await nameList(images)).includes('base'));
});

test('an image that got another name after its set is found by its id', async () => {
  const source = await disk('renamed');
  await must('rbd', 'rename', `${vms}/renamed`, `${vms}/renamed-since`);
  const at = await make(source, 'renamed');
  await flatten(at, source);
  await sameBytes(`${images}/renamed@snap`);
});

test('encrypted disks are told by their first bytes', async () => {
  for (const [name, magic] of [
    ['luks', 'LUKS\\xba\\xbe'],
    ['layered', 'RBDL\\xba\\xbe'],
  ] as const) {
    await sh(`{ printf '${magic}'; head -c 1M /dev/zero; } >${scratch}/${name}
      rbd import --no-progress ${scratch}/${name} ${vms}/${name}`);
    assert.ok((await worker.call('lookAtSource', await snapshotOf(name), soon)).isEncrypted);
  }
});

test('clones are of the format that the cluster asks for', async () => {
  const to = { pool: images, namespace: '', image: 'asks' };
  const formatNow = async () => {
    await using fresh = cephWorker(users);
    return (await fresh.call('lookAtPlace', to, soon)).format;
  };
  assert.equal(await formatNow(), 2);
  await must('ceph', 'config', 'set', 'global', 'rbd_default_clone_format', '1');
  try {
    assert.equal(await formatNow(), 1);
  } finally {
    await must('ceph', 'config', 'rm', 'global', 'rbd_default_clone_format');
  }
});

test('who may not write in the pool is told so, and nothing is left', async () => {
  const source = await disk('denied');
  await using reader = cephWorker({ ...users, publish: users.fill });
  const to = { poolId, namespace: '', marked: 'siphon.denied.vda' };
  const asked = { to, entry: entryOf(source, 'denied') };
  await failing(reader.call('makeClone', asked, soon), 'denied', /may not/, /ceph auth caps/);
  assert.deepEqual(await worker.call('removeClone', { at: to }, soon), { was: 'absent' });
  assert.deepEqual(await snapsOf(`${vms}/denied`).then((all) => all.length), 1);
});

const isFull = async (pool: string) =>
  (await worker.call('lookAtPlace', { pool, namespace: '', image: 'any' }, soon)).isFull;

test('in a full pool what adds fails at once, and what removes goes through', async () => {
  const source = await disk('full');
  const named = await make(source, 'before');
  const size = (bytes: number, pool: string) =>
    must('ceph', 'osd', 'pool', 'set-quota', pool, 'max_bytes', String(bytes));
  for (const pool of [images, vms]) await size(1024, pool);
  try {
    await until('both are full', async () => (await isFull(images)) && (await isFull(vms)));
    const to = { poolId, namespace: '', marked: 'siphon.full.vda' };
    const asked = { to, entry: entryOf(source, 'full') };
    await failing(worker.call('makeClone', asked, soon), 'exhausted', /EDQUOT/);
    await failing(worker.call('makeCopy', asked, soon), 'exhausted', /EDQUOT/);
    assert.deepEqual(await worker.call('removeClone', { at: to }, soon), { was: 'absent' });
    await failing(worker.call('flattenClone', { at: named }, soon), 'exhausted', /EDQUOT/);
    assert.deepEqual(await worker.call('removeClone', { at: named }, soon), { was: 'removed' });
    assert.deepEqual(await worker.call('removeSnapshot', source, soon), { was: 'removed' });
    assert.deepEqual(await snapsOf(`${vms}/full`), []);
  } finally {
    for (const pool of [images, vms]) await size(0, pool);
  }
  await until('there is room', async () => !(await isFull(images)) && !(await isFull(vms)));
});

test('a worker that is killed in a flatten: the next goes on with it', async () => {
  await sh(`head -c 128M /dev/urandom >${scratch}/big
    rbd import --no-progress ${scratch}/big ${vms}/big`);
  const source = await snapshotOf('big');
  const at = await make(source, 'big');
  const dying = cephWorker(users);
  const { client } = await dying.call('status', { as: 'publish' }, soon);
  const begun = Promise.withResolvers<void>();
  const onProgress = ({ doneBytes }: { doneBytes: number }) => doneBytes > 0 && begun.resolve();
  const cut = dying.call('flattenClone', { at }, { ...soon, onProgress });
  await Promise.race([begun.promise, cut]);
  process.kill(dying.stats.pid ?? -1, 'SIGKILL');
  await failing(cut, 'unavailable', /./);
  await dying[Symbol.asyncDispose]();
  const patient = { deadlineMs: 90_000 };
  const again = await worker.call('flattenClone', { at, dead: client }, patient);
  assert.equal(again.was, 'flattened');
  await sh(`rbd export --no-progress ${images}/big@snap - | cmp - ${scratch}/big`);
});

test('at a rate: it rests between turns, and copies all', async () => {
  await sh(`head -c 48M /dev/urandom >${scratch}/slow
    rbd import --no-progress --object-size 1M ${scratch}/slow ${vms}/slow`);
  const source = await snapshotOf('slow');
  const at = await make(source, 'slow');
  const startedAt = performance.now();
  const rated = { at, rateBytes: 12 * 2 ** 20 };
  assert.equal((await worker.call('flattenClone', rated, soon)).was, 'flattened');
  // 4 s, but for the last turn, which comes ahead of it by a second and what is in flight.
  assert.ok(performance.now() - startedAt > 1500, 'it was held back');
  await sh(`rbd export --no-progress ${images}/slow@snap - | cmp - ${scratch}/slow`);
});

test('by the cluster itself, where its manager lives through it; what is asked twice is one task', async () => {
  const source = await disk('task');
  const at = await make(source, 'task');
  const patient = { deadlineMs: 90_000 };
  const [manager] = await json<Record<string, string>[]>('ceph', 'mgr', 'metadata');
  const isUnfit =
    /version 18/.test(manager?.['ceph_version'] ?? '') && manager?.['distro_version'] === '13';
  await using other = cephWorker({ ...users, publish: users.snapshot });
  assert.equal((await other.call('flattenByTask', { at }, patient)).was, 'unserved');
  const both = [1, 2].map(() => worker.call('flattenByTask', { at }, patient));
  const answers = (await Promise.all(both)).map(({ was }) => was);
  if (isUnfit) return assert.deepEqual(answers, ['unserved', 'unserved']);
  for (const was of answers) assert.match(was, /^flat/);
  assert.equal((await infoOf(`${images}/task@snap`)).parent, undefined);
  await sameBytes(`${images}/task@snap`);
  assert.deepEqual(await worker.call('flattenByTask', { at }, patient), { was: 'flat' });
  assert.equal(await worker.call('dropTask', at, soon), null);
});
