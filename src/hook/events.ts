// One call of libvirt's hook, as the installed filter tells it, to what it means; and the names of the files that the filter
// spools. The filter's words are a fixed list (siphon-hook.sh): nothing of a domain is in a URL or a name.

import { type Domain, parseDomain } from '../domain/domain.ts';
import { stripPasswords } from '../domain/strip-passwords.ts';
import { OperatingError } from '../wire/errors.ts';
import { RELEASE_REASONS, type ReleaseReason } from '../wire/vocabulary.ts';

export const HOOK_OPERATIONS = ['prepare', 'migrate', 'restore', 'release'] as const;
export type HookOperation = (typeof HOOK_OPERATIONS)[number];

/** A call as it came: the filter's argv words, its process id, and the XML from its stdin. */
export interface HookRequest {
  readonly operation: string;
  readonly subOperation: string;
  readonly extra: string;
  /** The filter's process: a call that was answered and spooled as well is known by it. */
  readonly pid?: number;
  readonly xml: string;
}

interface EventFacts {
  readonly domain: Domain;
  /** Without passwords. */
  readonly xml: string;
  /** When libvirt called, ms since the epoch. */
  readonly atMs: number;
  /** Caught up from the spool: libvirt did not wait for an answer, and much may have happened since. */
  readonly isLate: boolean;
  readonly pid?: number;
}
export type StartEvent = EventFacts & { readonly kind: 'prepare' | 'migrate' | 'restore' };
export type ReleaseEvent = EventFacts & {
  readonly kind: 'release';
  /** libvirt before 10.5.0 gives none. */
  readonly reason?: ReleaseReason;
};
export type HookEvent = StartEvent | ReleaseEvent;

/** @throws OperatingError `usage`: not an operation of the filter's, or not a domain's XML. */
export function parseHookEvent(
  request: HookRequest,
  when: { readonly atMs: number; readonly isLate: boolean },
): HookEvent {
  const kind = HOOK_OPERATIONS.find((each) => each === request.operation);
  if (kind === undefined) {
    const why = `only ${HOOK_OPERATIONS.join(', ')} are asked of siphond`;
    throw new OperatingError({
      code: 'usage',
      op: 'read hook call',
      subject: request.operation,
      why,
    });
  }
  const domain = parseDomain(request.xml);
  const pid = request.pid === undefined ? {} : { pid: request.pid };
  const facts = { domain, xml: stripPasswords(request.xml), ...when, ...pid };
  return kind === 'release' ? { kind, ...reasonOf(request.extra), ...facts } : { kind, ...facts };
}

/** libvirt's word for why a domain was released, from the filter's; a word that we do not know is `unknown`. */
function reasonOf(extra: string): { readonly reason?: ReleaseReason } {
  if (extra === 'none') return {};
  const known = RELEASE_REASONS.find((each) => each.replaceAll(' ', '-') === extra);
  return { reason: known ?? 'unknown' };
}

/** What the name of a spooled file says; its content is the XML. */
export type SpooledCall = Omit<HookRequest, 'xml'> & {
  readonly pid: number;
  readonly atMs: number;
};

const SPOOLED = /^([0-9]{16,20})-([0-9]{1,10})-([a-z]{1,20})\.([a-z]{1,20})\.([a-z-]{1,20})\.xml$/;

/** The name of a whole spooled file to its call; null for whatever else is in the folder. */
export function parseSpoolName(name: string): SpooledCall | null {
  const [, ns, pid, operation, subOperation, extra] = SPOOLED.exec(name) ?? [];
  if (!ns || !pid || !operation || !subOperation || !extra) return null;
  const atMs = Number(BigInt(ns) / 1_000_000n);
  return { operation, subOperation, extra, pid: Number(pid), atMs };
}

/** The filter leaves this file in a full spool: events were lost. */
export const SPOOL_DROPPED = 'dropped';

/** The spool's names in the order of their events. Whatever is not an event is left out. */
export function orderSpool(names: readonly string[]): readonly string[] {
  return names
    .flatMap((name) => ({ name, call: parseSpoolName(name) }))
    .filter((each) => each.call !== null)
    .toSorted((a, b) => (a.call?.atMs ?? 0) - (b.call?.atMs ?? 0) || compare(a.name, b.name))
    .map((each) => each.name);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** Late releases after which the same domain came up again: its disks are no longer what they were. */
export function supersededReleases(events: readonly HookEvent[]): ReadonlySet<HookEvent> {
  const superseded = new Set<HookEvent>();
  const startedLater = new Set<string>();
  for (const event of events.toReversed()) {
    if (event.kind !== 'release') startedLater.add(event.domain.uuid);
    else if (startedLater.has(event.domain.uuid)) superseded.add(event);
  }
  return superseded;
}
