// The cache as hook calls, the inventory and `siphon start` see it: a domain's needs by the names that overlays give their
// bases, the suffix included, since it says what a fill has to make.

import type { Cache, DiskChain, Fill } from '../cache/index.ts';
import { type BaseIdentity, baseId, basePath, parseBasePath } from '../domain/base-path.ts';
import type { BasesPort, DiskNeeds, RunningFill } from '../hook/ports.ts';
import type { JobProgress } from '../wire/journal.ts';
import { formatSource } from '../wire/source.ts';
import type { SourceName } from '../wire/vocabulary.ts';
import { wireErrorOf } from './journal.ts';

export interface BasesPortParts {
  readonly cache: Cache;
  /** The folder under which guests find bases: for names that people read. */
  readonly mountPath: string;
  /** The names by which a base's source was last known. */
  readonly nameOf: (baseId: string) => SourceName | undefined;
  /** The hook said that this domain comes or goes. */
  readonly onHook: (domainUuid: string) => void;
  /** A domain is about to run on this base, which is here. */
  readonly onHeld: (baseId: string) => void;
}

export interface DomainBases extends BasesPort {
  /** An operator's warm of one needed base. Rejects with an OperatingError. */
  warm(id: string, onProgress: (progress: JobProgress) => void): Promise<void>;
}

export function createBasesPort(parts: BasesPortParts): DomainBases {
  const { cache, onHook } = parts;
  const walked = new WeakMap<object, readonly DiskChain[]>();
  return {
    async needsOf(domain) {
      const chains = await cache.basesOf(domain);
      walked.set(domain, chains);
      return chains.map((chain) => needsIn(parts, chain));
    },
    standingOf(id) {
      const { ids, format } = identityOf(id);
      const presence = cache.presence(ids);
      if (presence.kind === 'suspect') {
        const { of, why } = presence.suspicion;
        return { kind: 'suspect', ...(of !== 'bytes' && { doubt: why }) };
      }
      return {
        kind: presence.kind === 'ready' && presence.format === format ? 'present' : 'absent',
      };
    },
    fill: (id) => startFill(parts, identityOf(id)),
    leaseRunning(domain, ids) {
      onHook(domain.uuid);
      tellHeld(parts, ids.map(identityOf));
      cache.leases.running(domain, walked.get(domain) ?? [unknownChain(ids.map(identityOf))]);
    },
    endRunning(uuid) {
      onHook(uuid);
      cache.leases.endRunning(uuid);
    },
    warm: (id, onProgress) => warm(parts, identityOf(id), onProgress),
  };
}

function tellHeld({ cache, onHeld }: BasesPortParts, bases: readonly BaseIdentity[]): void {
  for (const { ids } of bases) if (cache.presence(ids).kind === 'ready') onHeld(baseId(ids));
}

function needsIn({ mountPath, nameOf }: BasesPortParts, chain: DiskChain): DiskNeeds {
  const bases = chain.bases.map((base) => {
    const source = nameOf(baseId(base.ids));
    const name =
      source === undefined ? basePath(mountPath, base.ids, base.format) : formatSource(source);
    return { id: keyOf(base), name };
  });
  const { target } = chain;
  return chain.kind === 'known' ? { target, bases } : { target, bases, unknown: chain.reason };
}

/** Unknown, so that what the domain leased before stays leased. */
function unknownChain(bases: readonly BaseIdentity[]): DiskChain {
  return { kind: 'unknown', target: '', bases, reason: 'its chains could not be read' };
}

function startFill({ cache }: BasesPortParts, { ids, format }: BaseIdentity): RunningFill {
  let isResolved = false;
  let fill: Fill | undefined;
  const run = async () => {
    const ask = { source: ids, format, priority: 'hook' } as const;
    fill = await cache.warm(ask, () => (isResolved = true));
    await fill.done;
    return undefined;
  };
  return {
    ended: run().catch(wireErrorOf),
    isResolved: () => isResolved,
    progress: () => fill?.progress(),
  };
}

const PROGRESS_MS = 250;

async function warm(
  { cache }: BasesPortParts,
  { ids, format }: BaseIdentity,
  onProgress: (progress: JobProgress) => void,
): Promise<void> {
  const fill = await cache.warm({ source: ids, format, priority: 'operator' });
  const telling = setInterval(() => {
    const progress = fill.progress();
    if (progress !== undefined) onProgress(progress);
  }, PROGRESS_MS);
  try {
    await fill.done;
  } finally {
    clearInterval(telling);
  }
}

/** A base's relative path: `FSID/POOLID/IMAGEID@SNAPID.qcow2`. */
function keyOf({ ids, format }: BaseIdentity): string {
  return `${baseId(ids)}.${format}`;
}

function identityOf(key: string): BaseIdentity {
  const identity = parseBasePath('/', `/${key}`);
  if (identity === null) throw new TypeError(`not the key of a base: ${key}`);
  return identity;
}
