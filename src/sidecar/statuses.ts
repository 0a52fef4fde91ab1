// Images that were deactivated: what the records beside them say, which any host may have changed, applied to the bases that are here.

import PQueue from 'p-queue';
import type { Logger } from 'pino';
import type { BaseView, Cache } from '../cache/index.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Clusters } from '../wire/ports.ts';
import type { SourceIds } from '../wire/vocabulary.ts';
import { tellDoubts } from './trust/reach.ts';

export interface StatusParts {
  readonly cache: Pick<Cache, 'list' | 'doubt'>;
  readonly clusters: Pick<Clusters, 'byFsid'>;
  readonly cephDeadlineMs: () => number;
  readonly log: Logger;
}

export interface Statuses {
  /** Reads the records of all bases' sources, pool by pool, and goes by them; what cannot be told changes nothing. @throws OperatingError */
  look(): Promise<void>;
  /** Of one source. */
  lookAt(ids: SourceIds): Promise<void>;
}

/** One look at a time: what was read earlier is not applied later. */
export function createStatuses(parts: StatusParts): Statuses {
  const queue = new PQueue({ concurrency: 1 });
  const look = (bases: () => readonly Known[]) => queue.add(() => lookAtAll(parts, bases()));
  return {
    look: () => look(() => parts.cache.list()),
    lookAt: (ids) => look(() => parts.cache.list().filter((base) => isOf(base, ids))),
  };
}

type Known = Pick<BaseView, 'id' | 'ids'>;

async function lookAtAll(parts: StatusParts, bases: readonly Known[]): Promise<void> {
  const places = Map.groupBy(bases, ({ ids }) => `${ids.fsid} ${ids.poolId} ${ids.namespace}`);
  const deactivated = new Map<string, boolean>();
  for (const of of places.values())
    for (const [id, is] of await readPlace(parts, of)) deactivated.set(id, is);
  const changes = await parts.cache.doubt(
    'deactivated',
    ({ id }) => {
      const is = deactivated.get(id);
      return is === undefined ? 'untold' : is ? { why: DEACTIVATED } : 'none';
    },
    bases.map(({ id }) => id),
  );
  tellDoubts(parts.log, 'deactivated', changes);
}

const DEACTIVATED = 'its image is deactivated, as the record beside it says (siphon describe)';

/** Of each base of one pool and namespace whether its source is; without those of which it cannot be told. */
async function readPlace(
  { clusters, cephDeadlineMs, log }: StatusParts,
  bases: readonly Known[],
): Promise<readonly (readonly [string, boolean])[]> {
  const [first] = bases;
  if (first === undefined) return [];
  const { fsid, poolId, namespace } = first.ids;
  const sources = bases.map(({ ids: { imageId, snapId } }) => ({ imageId, snapId }));
  try {
    const { ceph } = await clusters.byFsid(fsid);
    const options = { deadlineMs: cephDeadlineMs() };
    const found = await ceph.call('readStatuses', { fsid, poolId, namespace, sources }, options);
    return bases.flatMap(({ id }, at) => {
      const status = found[at];
      return status === undefined || status === 'unreadable' ? [] : [[id, status === 'off']];
    });
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    const place = { fsid, poolId, namespace };
    log.warn({ place, error: error.toWire() }, 'whether images were deactivated is not known');
    return [];
  }
}

const isOf = ({ ids }: Known, { fsid, poolId, namespace, imageId, snapId }: SourceIds): boolean =>
  ids.imageId === imageId &&
  ids.snapId === snapId &&
  ids.poolId === poolId &&
  ids.namespace === namespace &&
  ids.fsid === fsid;
