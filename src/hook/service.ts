// Answers hook calls within their budget: chains, fills, leases and the room of snapshots, in one visible order. Calls may be
// lost, repeated and overlap; each leaves the same behind however often it comes.

import { refuseReplacing, type Verdict } from './decide.ts';
import { ensureBases, idsOf, walkChains } from './ensure-bases.ts';
import {
  type HookEvent,
  type HookRequest,
  parseHookEvent,
  type StartEvent,
  supersededReleases,
} from './events.ts';
import type { BasesPort, HookLog, SnapshotsPort } from './ports.ts';
import { RecentCalls } from './recent-calls.ts';

export interface HookConfig {
  /** How long `prepare` may wait for fills. */
  readonly fillWaitMs: number;
  /** How long any other call may. */
  readonly elsewhereMs: number;
}

export interface HookParts {
  readonly bases: BasesPort;
  readonly snapshots: SnapshotsPort;
  /** The job that puts disks of the domain back, and is not done: what they are now is neither. */
  readonly replacing: (domainUuid: string) => string | undefined;
  readonly config: HookConfig;
  readonly log: HookLog;
  readonly now: () => number;
}

export interface HookService {
  /** One live call. The signal: the filter has left, and nobody waits any more. @throws OperatingError usage */
  answer(request: HookRequest, signal: AbortSignal): Promise<Verdict>;
  /** Events from the spool, in their order; returns when all are recorded. Those that were answered already are left out. */
  catchUp(events: readonly HookEvent[]): Promise<void>;
}

export function createHookService(parts: HookParts): HookService {
  const recent = new RecentCalls();
  return {
    async answer(request, signal) {
      const event = parseHookEvent(request, { atMs: parts.now(), isLate: false });
      recent.add(event);
      try {
        const verdict = await answerEvent(parts, recent, event, signal);
        tellAnswer(parts, event, verdict);
        if (signal.aborted && event.kind !== 'release') recent.forget(event);
        return verdict;
      } catch (error) {
        recent.forget(event);
        throw error;
      }
    },
    async catchUp(events) {
      const fresh = events.filter((event) => recent.standingOf(event) !== 'answered');
      const superseded = supersededReleases(fresh);
      for (const event of fresh) {
        const isOvertaken = recent.standingOf(event) === 'overtaken' || superseded.has(event);
        await handleLate(parts, recent, event, isOvertaken);
      }
    },
  };
}

function tellAnswer({ log, now }: HookParts, event: HookEvent, verdict: Verdict): void {
  const { kind, domain, atMs } = event;
  const reason = kind === 'release' ? { reason: event.reason } : {};
  const told = { domain: domain.uuid, name: domain.name, event: kind, ...reason };
  log.info({ ...told, verdict: verdict.kind, ms: now() - atMs }, 'hook answered');
}

/** Whatever rejects was not taken: the filter then spools the event. */
async function answerEvent(
  parts: HookParts,
  recent: RecentCalls,
  event: HookEvent,
  signal: AbortSignal,
): Promise<Verdict> {
  if (event.kind !== 'release') return answerStart(parts, recent, event, signal);
  parts.snapshots.onRelease(event);
  parts.bases.endRunning(event.domain.uuid);
  return { kind: 'allow' };
}

/** Even a budget of 0 has time to read headers. */
const WALK_MS_MIN = 250;

async function answerStart(
  parts: HookParts,
  recent: RecentCalls,
  event: StartEvent,
  signal: AbortSignal,
): Promise<Verdict> {
  const { config, now, snapshots } = parts;
  const replacing = parts.replacing(event.domain.uuid);
  if (replacing !== undefined) return refuseReplacing(replacing);
  const budgetMs = event.kind === 'prepare' ? config.fillWaitMs : config.elsewhereMs;
  const deadlineMs = now() + budgetMs;
  const timeUp = AbortSignal.any([signal, AbortSignal.timeout(Math.max(budgetMs, WALK_MS_MIN))]);
  const isLatest = () => recent.isLatest(event);
  const [verdict] = await Promise.all([
    ensureBases(parts, event, { deadlineMs, timeUp, isLatest }),
    event.kind === 'prepare'
      ? snapshots.onPrepare(event.domain.uuid, deadlineMs, event)
      : undefined,
  ]);
  return verdict;
}

/** Nobody waits, but a cluster may be down. */
const LATE_WALK_MS = 10_000;

async function handleLate(
  parts: HookParts,
  recent: RecentCalls,
  event: HookEvent,
  isOvertaken: boolean,
): Promise<void> {
  const { bases, log, snapshots } = parts;
  const facts = { domain: event.domain.uuid, event: event.kind, atMs: event.atMs };
  if (isOvertaken) {
    log.warn(facts, 'spooled event left out: the domain has come up, or gone down, again since');
    return;
  }
  log.info(facts, 'caught up from the spool');
  if (event.kind === 'release') {
    snapshots.onRelease(event);
    bases.endRunning(event.domain.uuid);
  } else if (event.kind === 'prepare') {
    await snapshots.onPrepare(event.domain.uuid, event.atMs);
    const needs = await walkChains(parts, event.domain, AbortSignal.timeout(LATE_WALK_MS));
    // The walk may have taken long.
    if (recent.standingOf(event) === 'fresh') bases.leaseRunning(event.domain, idsOf(needs));
  }
}
