// Whether a domain may be held, and what is to be done next to let one go. Pure.

import type { DomainStatus } from 'node-libvirt';
import type { Holdable } from '../../../wire/hold-protocol.ts';

/** What the guest's agent says of its filesystems. `absent`: there is none; `silent`: it did not say. */
export type FreezeFacts =
  | { readonly kind: 'thawed' | 'frozen' }
  | { readonly kind: 'absent' | 'silent'; readonly why: string };

export interface DomainFacts {
  readonly status: DomainStatus;
  /** libvirt's name of the job that keeps others from changing the domain; undefined: there is none. */
  readonly job?: string;
  readonly blockJobs: readonly { readonly disk: string; readonly type: string }[];
  readonly freeze: FreezeFacts;
}

/** virDomainPausedReason, in its order. */
const PAUSED_REASONS = [
  'unknown',
  'user',
  'migration',
  'save',
  'dump',
  'I/O error',
  'watchdog',
  'from snapshot',
  'shutting down',
  'snapshot',
  'crashed',
  'starting up',
  'post-copy',
  'post-copy failed',
  'API error',
] as const;
type PausedReason = (typeof PAUSED_REASONS)[number];

/** Of a suspend of ours; `unknown` where libvirtd was restarted in the middle of it. */
const OURS: readonly PausedReason[] = ['user', 'unknown'];
/** These end by themselves. */
const PASSING: readonly PausedReason[] = [
  'migration',
  'save',
  'dump',
  'shutting down',
  'snapshot',
  'starting up',
  'post-copy',
];

const pausedReason = (status: DomainStatus): PausedReason =>
  PAUSED_REASONS[status.reason] ?? 'unknown';

/** What is somebody else's goes before; a guest whose agent says nothing is not known to be frozen. */
export function judgeHoldable(facts: DomainFacts): Holdable {
  const state = judgeState(facts.status, facts.job);
  if (state.kind !== 'running') return state;
  const [blockJob] = facts.blockJobs;
  if (blockJob) return busy(`a block job is under way on ${blockJob.disk}: ${blockJob.type}`);
  if (facts.freeze.kind === 'frozen') return busy('its filesystems are frozen already');
  return state;
}

/** The part of {@link judgeHoldable} that no agent and no disk has to be asked for. */
export function judgeState(status: DomainStatus, job: string | undefined): Holdable {
  const { state } = status;
  if (state === 'shutoff' || state === 'none') return { kind: 'off' };
  if (state === 'paused') return judgePaused(pausedReason(status));
  if (state !== 'running' && state !== 'blocked') return still(NOT_RUNNING[state]);
  return job === undefined ? { kind: 'running' } : busy(`a job is under way: ${job}`);
}

const NOT_RUNNING = {
  shutdown: 'it is shutting down',
  crashed: 'it has crashed',
  pmsuspended: 'it sleeps',
} as const;

function judgePaused(reason: PausedReason): Holdable {
  const why = `it is paused already: ${reason}`;
  return PASSING.includes(reason) ? busy(why) : still(why);
}

const busy = (why: string): Holdable => ({ kind: 'busy', why });
const still = (why: string): Holdable => ({ kind: 'busy', why, isStill: true });

/** What a hold has begun, and is not known to be undone. */
export interface Left {
  readonly resume: boolean;
  readonly thaw: boolean;
}

export type LetGoStep =
  /** Also of a domain that runs: the answer proves that no suspend is on its way. */
  | { readonly step: 'resume' | 'thaw' }
  | { readonly step: 'wait'; readonly why: string }
  | { readonly step: 'end' }
  /** The suspend is not ours any more. */
  | { readonly step: 'leave-paused' };

/** The next step to let a domain go; `status` undefined: what was held does not run any more. A suspended guest cannot thaw. */
export function nextLetGoStep(left: Left, status: DomainStatus | undefined): LetGoStep {
  if (!left.resume && !left.thaw) return { step: 'end' };
  if (!status || OVER.includes(status.state)) return { step: 'end' };
  if (status.state === 'paused') return stepOfPaused(left, pausedReason(status));
  if (status.state === 'running' || status.state === 'blocked')
    return { step: left.resume ? 'resume' : 'thaw' };
  return { step: 'wait', why: NOT_RUNNING[status.state as keyof typeof NOT_RUNNING] };
}

const OVER: readonly DomainStatus['state'][] = ['none', 'shutoff', 'crashed'];

function stepOfPaused(left: Left, reason: PausedReason): LetGoStep {
  if (PASSING.includes(reason)) return { step: 'wait', why: `it is paused: ${reason}` };
  if (!left.resume) return { step: 'wait', why: `somebody else has paused it: ${reason}` };
  return { step: OURS.includes(reason) ? 'resume' : 'leave-paused' };
}

/** Whether a freeze was refused because the guest is frozen already, which is then not ours (qemu-ga's words). */
export function isFrozenAlready(why: string): boolean {
  return /in frozen state/.test(why);
}
