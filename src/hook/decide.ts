// May a domain start? Facts about the bases under its disks to a verdict. Only what is certain refuses: a domain whose base
// is not there cannot start anyway, and libvirt's own message would not say why. What could not be told allows.

import type { WireError } from '../wire/errors.ts';
import type { JobProgress } from '../wire/journal.ts';
import { formatSize } from '../wire/size.ts';
import type { HookOperation } from './events.ts';

export type BaseState =
  | { readonly state: 'present' }
  /** Its fill has not begun: Ceph has not told yet what its source is. */
  | { readonly state: 'unanswered'; readonly doubt?: string }
  | { readonly state: 'filling'; readonly progress?: JobProgress }
  /** Not there, or not usable, and its fill ended so. `doubt`: nothing that is trusted vouches for it any more. */
  | {
      readonly state: 'failed';
      readonly isSuspect: boolean;
      readonly doubt?: string;
      readonly error: WireError;
    };
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
  const missing = facts.bases.filter((base) => base.state !== 'present');
  const [first] = missing;
  if (first === undefined) return { kind: 'allow' };
  if (facts.nowMs < facts.deadlineMs) {
    return { kind: 'wait', for: missing.map((base) => base.id), untilMs: facts.deadlineMs };
  }
  // After `migrate` and `restore` comes `prepare`, which has the longer budget and the last word.
  if (facts.operation !== 'prepare') return { kind: 'allow' };
  const unanswered = missing.find((base) => base.state === 'unanswered');
  if (unanswered !== undefined) return refuse(unansweredText(unanswered));
  return refuse(fillingText(first, missing.length - 1, facts));
}

type Failed = BaseFact & { readonly state: 'failed' };

function failedText(base: Failed): string {
  const { why, hint, code } = base.error;
  if (code === 'unavailable') return unavailableText(base);
  const state = stateText(base, 'could not');
  const advice = hint === undefined ? '' : `. ${hint}`;
  return `siphon: base for disk ${base.target} (${base.name}) ${state}: ${why ?? code}${advice}`;
}

const doubtText = (doubt: string): string => `is not trusted any more (${doubt})`;

function stateText({ isSuspect, doubt }: Failed, could: 'could not' | 'cannot'): string {
  if (!isSuspect) return 'is not here';
  const again = could === 'cannot' ? 'cannot be filled again now' : 'could not be filled again';
  return `${doubt === undefined ? 'is damaged' : doubtText(doubt)} and ${again}`;
}

function unavailableText(base: Failed): string {
  const { target, name, isSuspect, error } = base;
  const { op, subject, why, hint } = error;
  const advice = hint === undefined ? '' : `. ${hint}`;
  const state = isSuspect ? stateText(base, 'cannot') : 'cannot be filled now';
  const cause = `${op}: ${subject}: ${why ?? 'no answer'}`;
  return (
    `siphon: base for disk ${target} (${name}) ${state}: ${cause}; ` +
    `nothing was changed; try again later (siphon status tells what is down)${advice}`
  );
}

function unansweredText({ target, name, doubt }: BaseFact & { readonly doubt?: string }): string {
  const why = 'no monitor or OSD of its Ceph cluster has answered yet';
  const state = doubt === undefined ? '' : `${doubtText(doubt)}, and `;
  return (
    `siphon: base for disk ${target} (${name}) ${state}cannot be filled now: ${why}; ` +
    'nothing was changed; try again when it answers (siphon status tells)'
  );
}

function fillingText(base: BaseFact, others: number, facts: StartFacts): string {
  const progress = base.state === 'filling' ? base.progress : undefined;
  const remainingMs = progress?.remainingMs;
  const done = progress === undefined ? '' : `: ${formatProgress(progress)}`;
  const beside = others === 0 ? '' : ` (and ${others} more)`;
  const when = remainingMs === undefined ? 'in a minute' : `in about ${formatWait(remainingMs)}`;
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

/** `job`: what replaces the domain's disks now. */
export function refuseReplacing(job: string): Verdict {
  return refuse(
    `siphon: its disks are being put back from a snapshot set (siphon jobs: ${job}); start it again when that has ended`,
  );
}

function refuse(message: string): Verdict {
  return { kind: 'refuse', message: oneLine(message) };
}

/** Names are an operator's, or a tenant's: no line of theirs may pass for one of ours, nor reach a terminal's controls. */
function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim();
}
