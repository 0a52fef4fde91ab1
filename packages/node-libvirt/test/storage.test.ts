// Storage pools and volumes, by a folder: the pool needs no kind that not every release has.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Connection,
  createPool,
  createVolume,
  listPools,
  listVolumes,
  lookUpPoolByName,
  lookUpPoolByPath,
  lookUpPoolByUuid,
  lookUpVolumeByName,
  lookUpVolumeByPath,
  type StoragePool,
  VIR_ERR,
} from '../src/index.ts';
import { makeFolder, makeQcow2, testName, URI } from './lab.ts';

const MIB = 2 ** 20;

async function makePool(
  connection: Connection,
  stack: AsyncDisposableStack,
): Promise<{ folder: string; pool: StoragePool }> {
  const folder = await makeFolder(stack);
  const pool = await createPool(
    connection,
    `<pool type='dir'><name>${testName()}</name><target><path>${folder}</path></target></pool>`,
  );
  stack.defer(async () => {
    if (connection.isClosed) return;
    await pool.destroy();
    await pool[Symbol.asyncDispose]();
  });
  return { folder, pool };
}

test('a pool is found in every way, and gone when it is destroyed', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const { folder, pool } = await makePool(connection, stack);
  const { uuid, name } = pool;
  await using byName = await lookUpPoolByName(connection, name);
  await using byUuid = await lookUpPoolByUuid(connection, uuid);
  await using byPath = await lookUpPoolByPath(connection, folder);
  await using list = await listPools(connection);
  const listed = [...list].find((each) => each.uuid === uuid);
  for (const found of [byName, byUuid, byPath, listed])
    assert.deepEqual([found?.uuid, found?.name], [uuid, name]);
  const { state, capacityBytes, allocationBytes, availableBytes } = await pool.info();
  assert.equal(state, 'running');
  assert(capacityBytes >= allocationBytes && availableBytes > 0);
  assert.match(await pool.xml(), new RegExp(`<path>${folder}</path>`));
  await stack.disposeAsync();
  await assert.rejects(lookUpPoolByName(connection, name), { code: VIR_ERR.NO_STORAGE_POOL });
  await assert.rejects(lookUpPoolByUuid(connection, uuid), { code: VIR_ERR.NO_STORAGE_POOL });
  await assert.rejects(lookUpPoolByPath(connection, folder), { code: VIR_ERR.NO_STORAGE_POOL });
  await assert.rejects(listVolumes(byName), { code: VIR_ERR.NO_STORAGE_POOL });
});

test('a volume that others made is seen after a refresh; one of ours is made and deleted', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const { folder, pool } = await makePool(connection, stack);
  const path = await makeQcow2(`${folder}/été`, 8);
  await assert.rejects(lookUpVolumeByPath(connection, path), { code: VIR_ERR.NO_STORAGE_VOL });
  await pool.refresh();
  await using found = await lookUpVolumeByPath(connection, path);
  assert.deepEqual([found.name, found.key, await found.path()], ['été', path, path]);
  const { type, capacityBytes } = await found.info();
  assert.deepEqual([type, capacityBytes], ['file', 8 * MIB]);
  await using owner = await found.pool();
  assert.equal(owner.uuid, pool.uuid);

  const xml = `<volume><name>ours</name><capacity unit='MiB'>4</capacity><target><format type='qcow2'/></target></volume>`;
  await using made = await createVolume(pool, xml);
  await assert.rejects(createVolume(pool, xml), { name: 'LibvirtError' });
  assert.match(await made.xml(), /<format type='qcow2'\/>/);
  await using list = await listVolumes(pool);
  assert.deepEqual([...list].map(({ name }) => name).toSorted(), ['ours', 'été']);
  await using byName = await lookUpVolumeByName(pool, 'ours');
  await byName.delete();
  await assert.rejects(lookUpVolumeByName(pool, 'ours'), { code: VIR_ERR.NO_STORAGE_VOL });
  await assert.rejects(made.info(), { code: VIR_ERR.NO_STORAGE_VOL });
});
