// The bases under a starting domain: found, leased, filled where they are missing, and waited for within the call's budget.

import type { Domain } from '../domain/domain.ts';
import { OperatingError, type WireError } from '../wire/errors.ts';
import {
  type BaseFact,
  type BaseState,
  decideStart,
  type StartDecision,
  type Verdict,
} from './decide.ts';
import type { StartEvent } from './events.ts';
import type { BaseStanding, BasesPort, DiskNeeds, HookLog, RunningFill } from './ports.ts';

export interface EnsureParts {
  readonly bases: BasesPort;
  readonly log: HookLog;
  readonly now: () => number;
}

export interface Budget {
  readonly deadlineMs: number;
  /** Aborted at the deadline, and when the filter has left. */
  readonly timeUp: AbortSignal;
  /** Whether no later call of the same domain has overtaken this one. */
  readonly isLatest: () => boolean;
}

/** Never rejects for an operating error: what could not be told allows. */
export async function ensureBases(
  parts: EnsureParts,
  event: StartEvent,
  budget: Budget,
): Promise<Verdict> {
  const { bases, log, now } = parts;
  const { domain, kind: operation } = event;
  const needs = await walkChains(parts, domain, budget.timeUp);
  if (operation === 'prepare' && budget.isLatest()) bases.leaseRunning(domain, idsOf(needs));
  const fills = startFills(bases, needs);
  const decide = () =>
    decideStart({
      operation,
      domainName: domain.name,
      bases: factsOf(needs, fills),
      nowMs: budget.timeUp.aborted ? budget.deadlineMs : now(),
      deadlineMs: budget.deadlineMs,
    });
  let decision: StartDecision = decide();
  while (decision.kind === 'wait') {
    await firstOf(
      decision.for.flatMap((id) => fills.get(id)?.settled ?? []),
      budget.timeUp,
    );
    decision = decide();
  }
  if (decision.kind === 'refuse') {
    // After this refusal of `prepare`, libvirt calls `release` too; it may be lost.
    if (operation === 'prepare' && budget.isLatest()) bases.endRunning(domain.uuid);
    log.warn({ domain: domain.uuid, operation, why: decision.message }, 'start refused');
  }
  return decision;
}

/** What a domain stands on. What cannot be told in time is unknown, and does not stop it. */
export async function walkChains(
  { bases, log }: Pick<EnsureParts, 'bases' | 'log'>,
  domain: Domain,
  timeUp: AbortSignal,
): Promise<readonly DiskNeeds[]> {
  try {
    const needs = await within(bases.needsOf(domain, timeUp), timeUp);
    const unknown = needs.filter((disk) => disk.unknown !== undefined);
    if (unknown.length > 0)
      log.warn({ domain: domain.uuid, unknown }, 'a chain is not known whole');
    return needs;
  } catch (error) {
    if (!(error instanceof OperatingError) && !timeUp.aborted) throw error;
    const why = error instanceof Error ? error.message : String(error);
    log.warn({ domain: domain.uuid, why }, 'chains are unknown; allowed');
    return [];
  }
}

/** A fill that this call waits for. */
interface Awaited {
  readonly fill: RunningFill;
  readonly standing: BaseStanding;
  readonly settled: Promise<void>;
  outcome?: { readonly error: WireError | undefined };
}

function startFills(bases: BasesPort, needs: readonly DiskNeeds[]): ReadonlyMap<string, Awaited> {
  const fills = new Map<string, Awaited>();
  for (const id of idsOf(needs)) {
    const standing = bases.standingOf(id);
    if (standing.kind === 'present') continue;
    fills.set(id, awaitFill(bases.fill(id), standing));
  }
  return fills;
}

function awaitFill(fill: RunningFill, standing: BaseStanding): Awaited {
  const settled = fill.ended.then((error) => {
    awaited.outcome = { error };
  });
  const awaited: Awaited = { fill, standing, settled };
  return awaited;
}

function factsOf(
  needs: readonly DiskNeeds[],
  fills: ReadonlyMap<string, Awaited>,
): readonly BaseFact[] {
  return needs.flatMap(({ target, bases }) =>
    bases.map((base) => ({ target, id: base.id, name: base.name, ...stateOf(fills.get(base.id)) })),
  );
}

function stateOf(awaited: Awaited | undefined): BaseState {
  if (awaited === undefined) return { state: 'present' };
  const { fill, outcome, standing } = awaited;
  const isSuspect = standing.kind === 'suspect';
  const doubt = isSuspect && standing.doubt !== undefined && { doubt: standing.doubt };
  if (outcome?.error !== undefined)
    return { state: 'failed', isSuspect, ...doubt, error: outcome.error };
  if (outcome !== undefined) return { state: 'present' };
  if (!fill.isResolved()) return { state: 'unanswered', ...doubt };
  const progress = fill.progress();
  return { state: 'filling', ...(progress === undefined ? {} : { progress }) };
}

/** Each once. */
export function idsOf(needs: readonly DiskNeeds[]): readonly string[] {
  return [...new Set(needs.flatMap((disk) => disk.bases.map((base) => base.id)))];
}

/** Until one of them settles, or time is up. */
async function firstOf(settled: readonly Promise<void>[], timeUp: AbortSignal): Promise<void> {
  await within(Promise.race(settled), timeUp).catch((error: unknown) => {
    if (!timeUp.aborted) throw error;
  });
}

/** The promise's outcome, or a rejection when the signal aborts. */
async function within<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
