// The inventory: what libvirt says of this host's domains corrects the leases. Hook calls may be lost, and chains change
// without any. Never part of a hook's answer: libvirt's lists wait for hooks.

import PQueue from 'p-queue';
import type { Logger } from 'pino';
import type { DefinedDomain, DiskChain, Leases } from '../cache/index.ts';
import { type Domain, parseDomain } from '../domain/domain.ts';
import { OperatingError } from '../wire/errors.ts';
import type { LibvirtPort } from '../wire/ports.ts';
import type { DomainSummary } from '../wire/worker-protocol.ts';
import { deadline, orAborted } from './deadline.ts';

/** Above the longest hook call, for which libvirt's answers wait. */
const LIBVIRT_MS_MAX = 40_000;
const WALK_MS_MAX = 30_000;
const AT_ONCE = 4;

export interface InventoryParts {
  readonly libvirt: LibvirtPort;
  readonly basesOf: (domain: Domain) => Promise<readonly DiskChain[]>;
  readonly leases: Pick<Leases, 'running' | 'retainRunning' | 'setDefined'>;
  /** Who holds a running lease now. */
  readonly running: () => readonly string[];
  readonly log: Logger;
}

export type Wished = Pick<Domain, 'uuid' | 'name' | 'wish'>;

export interface Inventory {
  /** The hook told of this domain just now: what libvirt was asked before does not count against it. */
  noteHook(uuid: string): void;
  /** What domains' own metadata says, as of the last look. */
  wishes(): readonly Wished[];
  /** One look at all domains. @throws OperatingError: libvirt did not answer */
  look(signal: AbortSignal): Promise<void>;
}

export function createInventory(parts: InventoryParts): Inventory {
  const { libvirt, leases, log } = parts;
  /** Domains that the hook told of since the last look began. */
  const told = new Set<string>();
  let wishes: readonly Wished[] = [];
  return {
    wishes: () => wishes,
    noteHook: (uuid) => void told.add(uuid),
    async look(signal) {
      told.clear();
      const domains = await libvirt.call('listDomains', {}, { deadlineMs: LIBVIRT_MS_MAX, signal });
      endRunning(parts, domains, told);
      const queue = new PQueue({ concurrency: AT_ONCE });
      const wished = new Map<string, Wished>();
      const look = { told, wished, signal };
      const looks = domains.map((each) => queue.add(() => lookAt(parts, each, look)));
      leases.setDefined((await Promise.all(looks)).filter((each) => each !== undefined));
      wishes = [...wished.values()];
      log.debug({ domains: domains.length }, 'domains looked at');
    },
  };
}

/** Ends the leases of domains that do not run. Nothing here waits, so that `told` is as it is now. */
function endRunning(
  { leases, running, log }: InventoryParts,
  domains: readonly DomainSummary[],
  told: ReadonlySet<string>,
): void {
  const stay = new Set([
    ...domains.filter((each) => each.isActive).map((each) => each.uuid),
    ...told,
  ]);
  const gone = running().filter((uuid) => !stay.has(uuid));
  if (gone.length > 0)
    log.info({ domains: gone }, 'running leases ended: these domains do not run');
  leases.retainRunning(stay);
}

/** One look at all domains. */
interface Look {
  readonly told: ReadonlySet<string>;
  readonly wished: Map<string, Wished>;
  readonly signal: AbortSignal;
}

/** Leases what a running domain stands on; gives what it is defined with, if it is. */
async function lookAt(
  parts: InventoryParts,
  { uuid, name, isActive, isPersistent, hasManagedSave }: DomainSummary,
  look: Look,
): Promise<DefinedDomain | undefined> {
  const live = isActive ? await chainsOf(parts, uuid, false, look) : [];
  if (isActive && !look.told.has(uuid)) parts.leases.running({ uuid, name }, live);
  if (!isPersistent) return undefined;
  const inactive = await chainsOf(parts, uuid, true, look);
  // A saved state stands on what the domain stood on when it ran, whatever its definition says now.
  const saved = hasManagedSave ? [unknown('the managed save is not read')] : [];
  return { uuid, name, chains: [...inactive, ...live, ...saved] };
}

/** What cannot be told is unknown: the leases that there are stay. */
async function chainsOf(
  { libvirt, basesOf, log }: InventoryParts,
  uuid: string,
  inactive: boolean,
  { wished, signal }: Look,
): Promise<readonly DiskChain[]> {
  try {
    const options = { deadlineMs: LIBVIRT_MS_MAX, signal };
    const xml = await libvirt.call('domainXml', { domain: uuid, inactive }, options);
    using walking = deadline(WALK_MS_MAX, { op: 'read chains', subject: uuid }, signal);
    const domain = parseDomain(xml);
    // Of a running domain first the live one, which is what its events come with.
    if (!wished.has(uuid)) wished.set(uuid, domain);
    return await orAborted(basesOf(domain), walking.signal);
  } catch (error) {
    if (!(error instanceof OperatingError) || signal.aborted) throw error;
    log.warn({ domain: uuid, error: error.toWire() }, 'a domain could not be looked at');
    return [unknown(error.message)];
  }
}

function unknown(reason: string): DiskChain {
  return { kind: 'unknown', target: '', bases: [], reason };
}
