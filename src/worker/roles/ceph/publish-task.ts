// A flatten by the cluster's own queue, which its manager works through: `rbd task add flatten`, and looks at how far it is.

import { setTimeout as delay } from 'node:timers/promises';
import { type Pool, parentOf } from 'ceph-napi';
import { OperatingError } from '../../../wire/errors.ts';
import type { CloneAt, PublishMethods } from '../../../wire/publish-protocol.ts';
import type { CallContext } from '../../role.ts';
import { during } from '../../translate-error.ts';
import type { Session } from './connections.ts';
import { type ManagerMetadata, whyUnfit } from './manager-fitness.ts';
import { inImage, openImage, openPool, placeOf } from './open.ts';
import { imagesOf } from './publish-look.ts';
import { unlessMissing } from './source.ts';

type Flatten = PublishMethods['flattenByTask'];

const LOOK_EVERY_MS = 2000;
/** A manager that fails over is back in half a minute or so. */
const AWAY_MS_MAX = 120_000;

interface Task {
  readonly id: string;
  readonly progress?: number;
  readonly retry_message?: string;
  readonly refs?: {
    readonly image_name?: string;
    readonly pool_name?: string;
    readonly pool_namespace?: string;
  };
}

/** A task that is there already is followed. @throws OperatingError cancelled: it goes on without us */
export async function flattenByTask(
  session: Session,
  { at }: Flatten['params'],
  { signal, onProgress }: CallContext<Flatten['progress']>,
): Promise<Flatten['result']> {
  const open = await unlessMissing(openPool(session, at.poolId, at.namespace));
  if (!open) return { was: 'gone' };
  await using pool = open;
  const found = await lookAt(session, pool, at);
  if (found.kind !== 'clone') return { was: found.kind };
  const unfit = whyUnfit(await managers(session));
  if (unfit !== undefined) return { was: 'unserved', why: unfit };
  try {
    const task = await add(session, `${placeOf(pool)}/${found.name}`);
    const { sizeBytes: totalBytes } = found;
    for await (const progress of follow(session, task, signal)) {
      onProgress({ doneBytes: Math.floor(progress * totalBytes), totalBytes });
    }
  } catch (error) {
    if (!(error instanceof OperatingError) || error.code === 'cancelled') throw error;
    return { was: 'unserved', why: error.why };
  }
  const left = await lookAt(session, pool, at);
  if (left.kind !== 'clone') return { was: left.kind === 'gone' ? 'gone' : 'flattened' };
  return { was: 'unserved', why: 'its task ended, and the image is a clone still' };
}

/** Its task is taken back, should there be one. */
export async function dropTask(session: Session, at: CloneAt): Promise<null> {
  const open = await unlessMissing(openPool(session, at.poolId, at.namespace));
  if (!open) return null;
  await using pool = open;
  const found = await lookAt(session, pool, at);
  if (found.kind !== 'clone') return null;
  const tasks = await list(session);
  const own = tasks.find(({ refs }) => {
    return (
      refs?.image_name === found.name &&
      refs.pool_name === pool.name &&
      refs.pool_namespace === pool.namespace
    );
  });
  if (own !== undefined) await ask(session, { prefix: 'rbd task cancel', task_id: own.id });
  return null;
}

type Found =
  | { readonly kind: 'gone' | 'flat' }
  | { readonly kind: 'clone'; readonly name: string; readonly sizeBytes: number };

async function lookAt(session: Session, pool: Pool, { imageId: id }: CloneAt): Promise<Found> {
  const names = await imagesOf(session, pool);
  const name = names.find((each) => each.id === id)?.name;
  if (id === undefined || name === undefined) return { kind: 'gone' };
  await using image = await openImage(session, pool, { id });
  return await inImage(session, image, 'describe image', name, async () => {
    if ((await parentOf(image)) === null) return { kind: 'flat' };
    return { kind: 'clone', name, sizeBytes: await image.size() };
  });
}

async function managers({ cluster, fsid }: Session): Promise<readonly ManagerMetadata[]> {
  const asked = { prefix: 'mgr metadata', format: 'json' };
  const { output } = await during({ op: 'ask the monitors', subject: fsid }, () =>
    cluster.monCommand(asked),
  );
  return JSON.parse(output.toString()) as readonly ManagerMetadata[];
}

async function add(session: Session, image: string): Promise<string> {
  const command = { prefix: 'rbd task add flatten', image_spec: image };
  const task = JSON.parse(await ask(session, command)) as Task;
  return task.id;
}

/** Gives how far it is, until it is in no list any more. @throws OperatingError unavailable: no manager for long */
async function* follow(session: Session, id: string, signal: AbortSignal): AsyncGenerator<number> {
  let answeredAtMs = performance.now();
  for (;;) {
    let tasks: readonly Task[] | undefined;
    try {
      tasks = await list(session);
      answeredAtMs = performance.now();
    } catch (error) {
      const isAway = error instanceof OperatingError && error.code === 'unavailable';
      if (!isAway || performance.now() - answeredAtMs > AWAY_MS_MAX) throw error;
    }
    const own = tasks?.find((each) => each.id === id);
    if (tasks !== undefined && own === undefined) return;
    if (own?.progress !== undefined) yield own.progress;
    await delay(LOOK_EVERY_MS, undefined, { signal });
  }
}

async function list(session: Session): Promise<readonly Task[]> {
  return JSON.parse(await ask(session, { prefix: 'rbd task list' })) as readonly Task[];
}

async function ask(
  session: Session,
  command: { readonly prefix: string } & Readonly<Record<string, string>>,
): Promise<string> {
  const { prefix } = command;
  const hint = { denied: `It needs mgr 'profile rbd': siphon doctor --caps.` };
  const step = { op: `ask the manager: ${prefix}`, subject: session.fsid, hint };
  const { output } = await during(step, () => session.cluster.mgrCommand(command));
  return output.toString();
}
