// Where an import goes: new images, or those that hold the state that an incremental export stands on. Looks; changes nothing.

import { isDeepStrictEqual } from 'node:util';
import { listImages, listWatchers, type Pool } from 'ceph-napi';
import type { DiskState, Header, SetState } from '../../../export-file/index.ts';
import { OperatingError } from '../../../wire/errors.ts';
import type { ImportSpec } from '../../../wire/transfer-protocol.ts';
import type { SnapshotSet } from '../../../wire/vocabulary.ts';
import type { Session } from '../ceph/connections.ts';
import { clientOf } from '../ceph/lock-break.ts';
import { freshSnapshots, inImage, openImage, placeOf } from '../ceph/open.ts';
import { setsIn } from '../ceph/sets.ts';
import { assertUnchanged } from './import-base.ts';
import type { ImportDisk } from './import-record.ts';

/** @throws OperatingError refused: a name is taken; mismatch: a wrong base; busy: somebody has a disk open */
export async function planDisks(
  session: Session,
  pool: Pool,
  header: Header,
  spec: ImportSpec,
): Promise<readonly ImportDisk[]> {
  const { since, state } = header;
  const disks = namesFor(header, spec.name);
  if (since !== undefined) {
    const names = spec.name === undefined ? undefined : disks.map(({ name }) => name);
    return await disksOfBase(session, pool, { since, state }, names);
  }
  const there = await inImage(session, pool, 'list images', placeOf(pool), () => listImages(pool));
  const taken = disks.find(({ name }) => there.some((image) => image.name === name));
  if (taken === undefined) return disks;
  const why = 'an image of this name is there';
  const hint = 'Name others with --name, or another pool or namespace with --to.';
  throw refused(`${placeOf(pool)}/${taken.name}`, why, hint);
}

/** @throws OperatingError refused: two would be called the same */
export function namesFor({ state, set }: Header, name: string | undefined): ImportDisk[] {
  const disks = state.disks.map(({ target }) => {
    const was = set.disks.find((each) => each.target === target)?.image ?? target;
    const several = state.disks.length > 1 ? `${name}-${target}` : name;
    return { target, name: name === undefined ? was : (several ?? was) };
  });
  const isTwice = new Set(disks.map((disk) => disk.name)).size < disks.length;
  if (!isTwice) return disks;
  const why = 'two of its disks have images of the same name, in different pools';
  throw refused(`set ${state.setId}`, why, 'Give names with --name.');
}

/** The images of the imported set that is exactly that state, and whose heads are still. */
async function disksOfBase(
  session: Session,
  pool: Pool,
  { since, state }: { readonly since: SetState; readonly state: SetState },
  names: readonly string[] | undefined,
): Promise<readonly ImportDisk[]> {
  const copies = (await setsIn(session, pool)).filter((set) =>
    disksOf(set, state.disks).every(({ name }) => names?.includes(name) ?? true),
  );
  const bases = copies
    .filter((set) => isState(set, since, state.disks))
    .map((set) => disksOf(set, state.disks));
  const looked = await Promise.allSettled(bases.map((disks) => assertFit(session, pool, disks)));
  const fit = bases.filter((_, at) => looked[at]?.status === 'fulfilled');
  const [only, another] = fit;
  if (another !== undefined) {
    const why = `it has more than one copy of set ${since.setId}`;
    throw refused(placeOf(pool), why, 'Say which with --name, as when it was imported.');
  }
  if (only !== undefined) return only;
  const there = copies.find((set) => isState(set, state, state.disks));
  if (there !== undefined) {
    const why = `set ${state.setId} was imported there already, as ${there.id}`;
    throw refused(placeOf(pool), why, 'Go on with the export that was made after it.');
  }
  for (const look of looked) if (look.status === 'rejected') throw look.reason;
  throw noBase(pool, since);
}

function disksOf({ id, disks }: SnapshotSet, wanted: readonly DiskState[]): ImportDisk[] {
  return wanted.flatMap(({ target }) => {
    const disk = disks.find((each) => each.target === target);
    if (disk === undefined) return [];
    const { imageId, snapId, image: name } = disk;
    return [{ target, imageId, name, base: { snapId, snap: `siphon.${id}` } }];
  });
}

/** @throws OperatingError mismatch, busy, not-found */
async function assertFit(
  session: Session,
  pool: Pool,
  disks: readonly ImportDisk[],
): Promise<void> {
  for (const { imageId = '', name, base } of disks) {
    const subject = `${placeOf(pool)}/${name}`;
    const found = await freshSnapshots(session, pool, { id: imageId });
    if (!found.some(({ id, name: called }) => id === base?.snapId && called === base.snap)) {
      const why = `its snapshot ${base?.snap} is gone`;
      throw new OperatingError({ code: 'mismatch', op: 'import', subject, why });
    }
    await assertUnused(session, pool, imageId, subject);
    await assertUnchanged(session, pool, { imageId, snap: base?.snap ?? '', subject });
  }
}

/** Whether a set is a copy of that state, by ids that are never used again. */
export function isState(
  { imported }: Pick<SnapshotSet, 'imported'>,
  since: SetState,
  wanted: readonly Pick<DiskState, 'target'>[],
): boolean {
  if (imported?.fsid !== since.fsid || imported.setId !== since.setId) return false;
  return wanted.every(({ target }) => {
    const [is, was] = [imported, since].map(({ disks }) => {
      return disks.find((each) => each.target === target);
    });
    return is !== undefined && isDeepStrictEqual(is, was);
  });
}

async function assertUnused(
  session: Session,
  pool: Pool,
  imageId: string,
  subject: string,
): Promise<void> {
  await using image = await openImage(session, pool, { id: imageId });
  const watchers = await inImage(session, image, 'look who uses image', subject, () =>
    listWatchers(image),
  );
  const other = watchers.find(({ client }) => `client.${client}` !== clientOf(session.cluster));
  if (other === undefined) return;
  const why = `client.${other.client} has it open`;
  const hint = 'Stop who uses it: a disk that is written to is not what the export stands on.';
  throw new OperatingError({ code: 'busy', op: 'import', subject, why, hint });
}

function noBase(pool: Pool, { setId, fsid }: SetState): OperatingError {
  const why = `no import of set ${setId} of cluster ${fsid} is there, which this export stands on`;
  const hint = 'Import the exports in their order, each into the same place; the first a full one.';
  const subject = placeOf(pool);
  return new OperatingError({ code: 'mismatch', op: 'import', subject, why, hint });
}

function refused(subject: string, why: string, hint: string): OperatingError {
  return new OperatingError({ code: 'refused', op: 'import', subject, why, hint });
}
