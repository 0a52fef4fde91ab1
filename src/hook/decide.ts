// May a domain start? Facts about the bases under its disks to a verdict. Only what is certain refuses: a domain whose base
// is not there cannot start anyway, and libvirt's own message would not say why. What could not be told allows.

import type { WireError } from '../wire/errors.ts';
import type { JobProgress } from '../wire/journal.ts';
import { formatSize } from '../wire/size.ts';
import type { HookOperation } from './events.ts';

export type BaseState =
  | { readonly state: 'present' }
  | { readonly state: 'filling'; readonly startedAtMs: number; readonly progress?: JobProgress }
  /** Not there, or not usable, and its fill ended so. */
  | { readonly state: 'failed'; readonly isSuspect: boolean; readonly error: WireError };
export type BaseFact = BaseState & {
  readonly id: string;
  readonly target: string;
  readonly name: string;
};

export interface StartFacts {
  readonly operation: Exclude<HookOperation, 'release'>;
  readonly domainName: string;
  readonly bases: readonly BaseFact[];
  readonly nowMs: number;
  /** The end of the call's budget. */
  readonly deadlineMs: number;
}

export type Verdict =
  | { readonly kind: 'allow' }
  /** `message`: one line, for whoever started the domain. */
  | { readonly kind: 'refuse'; readonly message: string };
export type StartDecision =
  | Verdict
  | { readonly kind: 'wait'; readonly for: readonly string[]; readonly untilMs: number };

export function decideStart(facts: StartFacts): StartDecision {
  const failed = facts.bases.find((base) => base.state === 'failed');
  if (failed !== undefined) return refuse(failedText(failed));
  const filling = facts.bases.filter((base) => base.state === 'filling');
  const [first] = filling;
  if (first === undefined) return { kind: 'allow' };
  if (facts.nowMs < facts.deadlineMs) {
    return { kind: 'wait', for: filling.map((base) => base.id), untilMs: facts.deadlineMs };
  }
  // After `migrate` and `restore` comes `prepare`, which has the longer budget and the last word.
  if (facts.operation !== 'prepare') return { kind: 'allow' };
  return refuse(fillingText(first, filling.length - 1, facts));
}

/** How long a fill will still take at its rate so far; null while there is none. */
export function estimateRemainingMs(progress: JobProgress, elapsedMs: number): number | null {
  const { doneBytes, totalBytes } = progress;
  if (doneBytes <= 0 || elapsedMs <= 0) return null;
  return (Math.max(0, totalBytes - doneBytes) / doneBytes) * elapsedMs;
}

type Failed = BaseFact & { readonly state: 'failed' };
type Filling = BaseFact & { readonly state: 'filling' };

function failedText(base: Failed): string {
  const { why, hint, code } = base.error;
  const state = base.isSuspect ? 'is damaged and could not be filled again' : 'is not here';
  const advice = hint === undefined ? '' : `. ${hint}`;
  return `siphon: base for disk ${base.target} (${base.name}) ${state}: ${why ?? code}${advice}`;
}

function fillingText(base: Filling, others: number, facts: StartFacts): string {
  const { progress } = base;
  const remainingMs =
    progress === undefined ? null : estimateRemainingMs(progress, facts.nowMs - base.startedAtMs);
  const done = progress === undefined ? '' : `: ${formatProgress(progress)}`;
  const beside = others === 0 ? '' : ` (and ${others} more)`;
  const when = remainingMs === null ? 'in a minute' : `in about ${formatWait(remainingMs)}`;
  return (
    `siphon: base for disk ${base.target} (${base.name})${beside} is being filled${done}; ` +
    `try again ${when}, or: siphon start ${shellWord(facts.domainName)}`
  );
}

function formatProgress({ doneBytes, totalBytes }: JobProgress): string {
  const percent =
    totalBytes > 0 ? Math.floor((100 * Math.min(doneBytes, totalBytes)) / totalBytes) : 0;
  return `${percent} % of ${formatSize(totalBytes)}`;
}

/** Rounded up to what a person would say: 5 s, 40 s, 3 min, 2 h. */
function formatWait(ms: number): string {
  const seconds = Math.max(5, Math.ceil(ms / 5000) * 5);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.ceil(ms / 60_000);
  return minutes < 120 ? `${minutes} min` : `${Math.ceil(ms / 3_600_000)} h`;
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function refuse(message: string): Verdict {
  return { kind: 'refuse', message: oneLine(message) };
}

/** Names are an operator's, or a tenant's: no line of theirs may pass for one of ours, nor reach a terminal's controls. */
function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim();
}
