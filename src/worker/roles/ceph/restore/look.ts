// What a restore must know before it begins: is the snapshot there, wherever its image is now, and who has the disk open that it replaces?

import { type Image, listLockers, listWatchers, type Pool } from 'ceph-napi';
import { OperatingError } from '../../../../wire/errors.ts';
import type {
  RestoreFacts,
  RestoreMethods,
  UserOfImage,
} from '../../../../wire/restore-protocol.ts';
import type { SnapshotAt } from '../../../../wire/worker-protocol.ts';
import type { Session } from '../connections.ts';
import { freshSnapshots, inImage, openImage, openPool } from '../open.ts';
import { unlessMissing } from '../source.ts';
import { readNames } from './names.ts';

export async function lookRestore(
  session: Session,
  { from, to, oldId }: RestoreMethods['lookRestore']['params'],
): Promise<RestoreFacts> {
  await using pool = await openPool(session, to.pool, to.namespace);
  const source = await lookAtSource(session, from);
  const names = await readNames(session, pool);
  const imageId = names.idOf(to.image);
  const isOldThere = oldId === undefined ? {} : { isOldThere: names.isTrashed(oldId) };
  const facts = { toPoolId: pool.id, source, ...isOldThere };
  if (imageId === undefined) return facts;
  return { ...facts, present: { imageId, users: await usersOf(session, pool, imageId) } };
}

async function lookAtSource(session: Session, from: SnapshotAt): Promise<RestoreFacts['source']> {
  const open = await unlessMissing(openPool(session, from.poolId, from.namespace));
  if (!open) return { kind: 'gone', what: 'pool' };
  await using pool = open;
  const ref = { id: from.imageId };
  const snapshots = await unlessMissing(freshSnapshots(session, pool, ref));
  if (!snapshots) return { kind: 'gone', what: 'image' };
  const found = snapshots.find(({ id, type }) => id === from.snapId && type === 'user');
  if (found?.name !== from.snap) return { kind: 'gone', what: 'snapshot' };
  const names = await readNames(session, pool);
  const { protected: isProtected, sizeBytes } = found;
  return { kind: 'there', isTrashed: names.isTrashed(from.imageId), isProtected, sizeBytes };
}

/** Through a fresh handle by id, in the trash too: lists of a read-only one are of the moment of its opening. */
export async function usersOf(
  session: Session,
  pool: Pool,
  imageId: string,
): Promise<UserOfImage[]> {
  await using image = await openImage(session, pool, { id: imageId });
  return await inImage(session, image, 'look who uses image', imageId, () => readUsers(image));
}

async function readUsers(image: Image): Promise<UserOfImage[]> {
  const owners = (await listLockers(image))?.lockers ?? [];
  const watchers = (await listWatchers(image)).map(({ client, address }) => {
    return { client: `client.${client}`, address };
  });
  const isIn = (list: readonly { readonly client: string }[], client: string) =>
    list.some((each) => each.client === client);
  const dead = owners.filter(({ client }) => !isIn(watchers, client));
  return [
    ...watchers.map((each) => ({
      ...each,
      isOwner: isIn(owners, each.client),
      isWatching: true,
    })),
    ...dead.map(({ client, address }) => ({ client, address, isOwner: true, isWatching: false })),
  ];
}

/** @throws OperatingError busy */
export async function assertUnused(session: Session, pool: Pool, imageId: string): Promise<void> {
  const [user] = await usersOf(session, pool, imageId);
  if (user === undefined) return;
  const { client, address } = user;
  const why = `${client} at ${address} has it open`;
  const fields = { code: 'busy', op: 'replace image', subject: imageId, why } as const;
  throw new OperatingError(fields);
}
