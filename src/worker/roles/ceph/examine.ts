// What a user may do, by trying what changes nothing; and what the cluster says of itself.

import {
  CephError,
  errno,
  feature,
  Image,
  isErrno,
  listImages,
  omapGetAll,
  omapRemove,
  type Pool,
} from 'ceph-napi';
import { splitPlace } from '../../../wire/caps.ts';
import type {
  CephMethods,
  ClusterHealth,
  Examined,
  ImageAt,
  PoolTrial,
} from '../../../wire/worker-protocol.ts';
import { during } from '../../translate-error.ts';
import type { Session } from './connections.ts';

type Params = CephMethods['examine']['params'];

export function examine(session: Session, params: Params): Promise<Examined> {
  const step = { op: 'examine', subject: session.entity };
  return during(step, () => examineAll(session, params));
}

async function examineAll(session: Session, { pools, disks, tickPool }: Params): Promise<Examined> {
  const [health, release, mayBlocklist, tried, looked, ticks] = await Promise.all([
    healthOf(session),
    releaseOf(session),
    tryBlocklist(session),
    Promise.all(
      pools.map(async (pool) => {
        return { pool, trial: await tryPool(session, pool, TRIALS[session.identity]) };
      }),
    ),
    Promise.all(disks.map(async (at) => ({ at, trial: await lookAtDisk(session, at) }))),
    tickPool === undefined ? undefined : tryPool(session, tickPool, TICK_TRIALS),
  ]);
  const told = { health, release, mayBlocklist, pools: tried, disks: looked };
  return { ...told, ...(ticks && { ticks }) };
}

type Caps = CephMethods['readCaps']['result'];

/** A user's caps, without its key. */
export function readCaps(session: Session, { entity }: { readonly entity: string }): Promise<Caps> {
  return during({ op: 'read caps', subject: entity }, () => capsOf(session, entity));
}

async function capsOf(session: Session, entity: string): Promise<Caps> {
  try {
    const [user] = (await ask(session, { prefix: 'auth get', entity })) as [Auth?];
    return { caps: user?.caps ?? {} };
  } catch (error) {
    if (isErrno(error, errno.EACCES)) return {};
    if (isErrno(error, errno.ENOENT)) return { caps: {} };
    throw error;
  }
}

interface Auth {
  readonly caps: Readonly<Record<string, string>>;
}

async function ask({ cluster }: Session, command: object): Promise<unknown> {
  const { output } = await cluster.monCommand({ ...command, format: 'json' });
  return JSON.parse(output.toString());
}

async function healthOf(session: Session): Promise<Examined['health']> {
  const { status, checks } = (await ask(session, { prefix: 'health' })) as Health;
  const told = Object.entries(checks).map(([code, { summary }]) => ({
    code,
    summary: summary.message,
  }));
  return { status, checks: told };
}

interface Health {
  readonly status: string;
  readonly checks: Readonly<Record<string, { readonly summary: { readonly message: string } }>>;
}

/** What decides whether a set is taken: two short questions to the monitors. */
export function clusterHealth(session: Session): Promise<ClusterHealth> {
  return during({ op: 'ask health', subject: session.fsid }, async () => {
    const [{ status, checks }, { stats }] = await Promise.all([
      healthOf(session),
      ask(session, { prefix: 'df' }) as Promise<Df>,
    ]);
    return {
      status,
      checks: checks.map(({ code }) => code),
      totalBytes: stats.total_bytes,
      usedBytes: stats.total_used_raw_bytes,
    };
  });
}

interface Df {
  readonly stats: { readonly total_bytes: number; readonly total_used_raw_bytes: number };
}

async function releaseOf(session: Session): Promise<string> {
  const { version } = (await ask(session, { prefix: 'version' })) as { readonly version: string };
  return version;
}

/**
 * Asks to blocklist an address that is none. The monitors look at the caps first (by their pattern `ADDRESS/NUMBER`), then at
 * the address: EACCES says that this user may not, EINVAL that it might.
 */
async function tryBlocklist({ cluster }: Session): Promise<boolean> {
  const addr = 'siphon-doctor/0';
  try {
    await cluster.monCommand({ prefix: 'osd blocklist', blocklistop: 'add', addr });
    return true;
  } catch (error) {
    if (isErrno(error, errno.EACCES)) return false;
    if (isErrno(error, errno.EINVAL)) return true;
    throw error;
  }
}

/** A key that siphon never writes: removing it is a write that changes nothing. */
const NO_KEY = 'siphon.doctor';

type Trials = readonly (readonly [op: string, trying: (pool: Pool) => Promise<unknown>])[];

const READS: Trials = [
  ['list images', (pool) => listImages(pool)],
  ['open an image', openFirst],
];

const write = (what: string, oid: string): Trials[number] => [
  `write ${what}`,
  (pool) => omapRemove(pool, oid, [NO_KEY]),
];

/** Of an image's objects, those of one that is not there. */
const TRIALS: Readonly<Record<Session['identity'], Trials>> = {
  fill: [...READS, ['read siphon.sources', (pool) => omapGetAll(pool, 'siphon.sources')]],
  snapshot: [
    ...READS,
    write('siphon.sets', 'siphon.sets'),
    write("images' headers", `rbd_header.${NO_KEY}`),
    write('object maps', `rbd_object_map.${NO_KEY}`),
  ],
  publish: [
    ...READS,
    write('siphon.sources', 'siphon.sources'),
    write('images', `rbd_data.${NO_KEY}`),
  ],
  restore: [...READS, write('images', `rbd_data.${NO_KEY}`)],
};

/** Who may write an object of this name may take snapshot ids: the monitors look at the caps for the pool. */
const TICK_TRIALS: Trials = [write('siphon.tick', 'siphon.tick')];

async function openFirst(pool: Pool): Promise<void> {
  const [first] = await listImages(pool);
  if (first === undefined) return;
  await using image = await Image.open(pool, { id: first.id }, { writable: false });
  await image.stat();
}

async function tryPool({ cluster }: Session, place: string, trials: Trials): Promise<PoolTrial> {
  const [name, namespace] = splitPlace(place);
  try {
    await using pool = await cluster.openPool(name, namespace);
    for (const [op, trying] of trials) {
      const trial = await outcomeOf(op, () => trying(pool));
      if (trial.kind !== 'may') return trial;
    }
    return { kind: 'may' };
  } catch (error) {
    if (isErrno(error, errno.ENOENT)) return { kind: 'absent' };
    throw error;
  }
}

async function outcomeOf(op: string, trying: () => Promise<unknown>): Promise<PoolTrial> {
  try {
    await trying();
    return { kind: 'may' };
  } catch (error) {
    if (isErrno(error, errno.ENOENT)) return { kind: 'may' }; // allowed, and nothing was there
    if (isErrno(error, errno.EPERM) || isErrno(error, errno.EACCES)) return { kind: 'may-not', op };
    if (error instanceof CephError) return { kind: 'untold', why: `${op}: ${error.message}` };
    throw error;
  }
}

async function lookAtDisk(
  { cluster }: Session,
  at: ImageAt,
): Promise<Examined['disks'][number]['trial']> {
  try {
    await using pool = await cluster.openPool(at.pool, at.namespace);
    await using image = await Image.open(pool, { name: at.image }, { writable: false });
    return { kind: 'there', hasLock: ((await image.features()) & feature.exclusiveLock) !== 0 };
  } catch (error) {
    if (isErrno(error, errno.ENOENT)) return { kind: 'absent' };
    // Its own pool may be open to this user, and not that of its parent.
    if (isErrno(error, errno.EPERM) || isErrno(error, errno.EACCES)) return { kind: 'may-not' };
    if (error instanceof CephError) return { kind: 'untold' };
    throw error;
  }
}
