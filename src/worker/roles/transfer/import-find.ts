// Imports that any host has under way, or has left: by their records, in all pools.

import type { Pool } from 'ceph-napi';
import type { FoundImport } from '../../../wire/transfer-protocol.ts';
import type { Session } from '../ceph/connections.ts';
import { eachPlace } from '../ceph/each-place.ts';
import { usersOf } from '../ceph/publish-look.ts';
import { type ImportRecord, readRecords } from './import-record.ts';

export async function findImports(session: Session): Promise<readonly FoundImport[]> {
  const found: FoundImport[] = [];
  await eachPlace(session, 'look for imports', async (pool) => {
    for (const record of await readRecords(session, pool)) {
      found.push(await describe(session, pool, record));
    }
  });
  return found;
}

async function describe(session: Session, pool: Pool, record: ImportRecord): Promise<FoundImport> {
  const { id, host, atMs, setId, disks, whole } = record;
  const users: string[] = [];
  for (const { imageId } of disks) {
    if (imageId !== undefined) users.push(...(await usersOf(session, pool, { id: imageId })));
  }
  const place = { pool: pool.name, namespace: pool.namespace };
  return { id, ...place, host, atMs, setId, isWhole: whole !== undefined, users };
}
