// Opening pools and images as an identity, with the cause named: the pool, the image, or this user's caps.

import { Image, type ImageRef, listSnapshots, type Pool, type Snapshot } from 'ceph-napi';
import { MON_CAPS, osdGrants } from '../../../wire/caps.ts';
import type { DiskAt } from '../../../wire/worker-protocol.ts';
import { during, type Step } from '../../translate-error.ts';
import type { Session } from './connections.ts';

/** By name or id, in an RBD namespace; nothing waits for a full one. @throws OperatingError not-found: there is no such pool */
export async function openPool(
  session: Session,
  pool: string | number,
  namespace: string,
): Promise<Pool> {
  const subject = typeof pool === 'number' ? `pool ${pool}` : `pool '${pool}'`;
  const missing = `there is no ${subject} in cluster ${session.fsid}`;
  const step = stepOf(session, 'open pool', subject, missing, 'ceph osd pool ls detail');
  const open = await during(step, () => session.cluster.openPool(pool, namespace));
  open.failWhenFull();
  return open;
}

/** By name or id, read-only unless said. @throws OperatingError not-found: there is no such image, or no snapshot `snap` of it */
export function openImage(
  session: Session,
  pool: Pool,
  ref: ImageRef,
  how: { readonly writable?: boolean; readonly snap?: string } = {},
): Promise<Image> {
  const { snap, writable = false } = how;
  const what = 'id' in ref ? `image with id ${ref.id}` : `image '${ref.name}'`;
  const orSnap = snap === undefined ? '' : `, or it has no snapshot '${snap}'`;
  const missing = `there is no ${what} in ${placeOf(pool)}${orSnap}`;
  const step = stepOf(
    session,
    'open image',
    subjectOf(pool, ref),
    missing,
    `rbd ls ${placeOf(pool)}`,
  );
  const options = snap === undefined ? { writable } : { snapshot: snap };
  return during({ ...step, ...denied(session, pool, step) }, () => Image.open(pool, ref, options));
}

/** By its id where that is known. */
export function refOf({ imageId, image }: DiskAt): ImageRef {
  return imageId === undefined ? { name: image } : { id: imageId };
}

/** The image's snapshots of all types, as they are now: through a fresh handle. */
export async function freshSnapshots(
  session: Session,
  pool: Pool,
  ref: ImageRef,
): Promise<Snapshot[]> {
  await using image = await openImage(session, pool, ref);
  return await inImage(session, image, 'list snapshots', subjectOf(pool, ref), () =>
    listSnapshots(image),
  );
}

/** A step on an open image or on objects of its pool. */
export function inImage<T>(
  session: Session,
  at: Image | Pool,
  op: string,
  subject: string,
  body: () => Promise<T>,
): Promise<T> {
  const step: Step = { op, subject };
  return during({ ...step, ...denied(session, 'pool' in at ? at.pool : at, step) }, body);
}

/** `pool[/namespace]`, as `rbd` takes it. */
export function placeOf({ name, namespace }: Pool): string {
  return namespace === '' ? name : `${name}/${namespace}`;
}

/** `pool[/namespace]/image`, by name or id. */
export function subjectOf(pool: Pool, ref: ImageRef): string {
  return `${placeOf(pool)}/${'id' in ref ? `id:${ref.id}` : ref.name}`;
}

function stepOf(
  session: Session,
  op: string,
  subject: string,
  missing: string,
  command: string,
): Step {
  const hint = `Look with \`${command}\` in cluster ${session.fsid}.`;
  return { op, subject, why: { 'not-found': missing }, hint: { 'not-found': hint } };
}

function denied({ entity, identity }: Session, pool: Pool, step: Step): Pick<Step, 'why' | 'hint'> {
  const osd = osdGrants([identity], { images: [pool.name], vms: [pool.name] }).join(', ');
  const grant = `ceph auth caps ${entity} mon '${MON_CAPS}' osd '${osd}'`;
  return {
    why: { ...step.why, denied: `${entity} may not do that in pool '${pool.name}'` },
    hint: {
      ...step.hint,
      denied: `Let it, keeping what it has already: ${grant} (all that it needs: siphon doctor --caps)`,
    },
  };
}
