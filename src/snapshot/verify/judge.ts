// What was seen of a guest that was booted from a set, to what that proves. Pure.

import type { CheckedFilesystem, Proof, ProofLevel } from '../../wire/verify-api.ts';
import type { GuestLook } from '../../wire/verify-protocol.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';
import { plain } from './script.ts';

type Answer = Extract<GuestLook, { kind: 'answers' }>;

/** How far the boot came. */
export type Boot =
  | { readonly kind: 'not-begun'; readonly why: string }
  | { readonly kind: 'ended'; readonly afterMs: number }
  | { readonly kind: 'silent'; readonly afterMs: number; readonly why: string }
  | { readonly kind: 'up'; readonly afterMs: number; readonly answer: Answer };

/** What became of the look at the filesystems. */
export type Checks =
  | { readonly kind: 'looked'; readonly found: readonly CheckedFilesystem[] }
  | { readonly kind: 'not'; readonly why: string };

export interface Seen {
  readonly boot: Boot;
  readonly checks: Checks;
}

/** More are not kept with a set. */
const KEPT_MAX = 64;

export function judge(
  { boot, checks }: Seen,
  wanted: ProofLevel,
  leftOut: SnapshotSet['leftOut'],
  nowMs: number,
): Proof {
  const base = { atMs: nowMs, wanted, filesystems: [], checks: [] };
  if (boot.kind !== 'up') {
    return { ...base, isProven: false, why: `${whyNotUp(boot)}${besides(leftOut)}` };
  }
  const { afterMs, answer } = boot;
  const found = checks.kind === 'looked' ? checks.found.slice(0, KEPT_MAX) : [];
  const filesystems = answer.filesystems.slice(0, KEPT_MAX);
  const seen = {
    ...base,
    bootMs: Math.round(afterMs),
    agent: plain(answer.agent),
    ...(answer.os !== undefined && { os: plain(answer.os) }),
    filesystems: filesystems.map(({ mountpoint, device, type, disks }) => {
      return { mountpoint: plain(mountpoint), device: plain(device), type: plain(type), disks };
    }),
    checks: found,
  };
  const why = whyNothing(answer) ?? whyDamaged(found);
  if (why !== undefined) return { ...seen, isProven: false, why: `${why}${besides(leftOut)}` };
  const whyNot = whyNotChecked(checks);
  if (whyNot === undefined) return { ...seen, isProven: true, level: 'checked' };
  const reached = { ...seen, level: 'agent', whyNotChecked: whyNot } as const;
  if (wanted === 'agent') return { ...reached, isProven: true };
  return { ...reached, isProven: false, why: `'checked' is wanted (verify.level): ${whyNot}` };
}

function whyNotUp(boot: Exclude<Boot, { kind: 'up' }>): string {
  if (boot.kind === 'not-begun') return `it does not start: ${plain(boot.why)}`;
  const after = `${Math.round(boot.afterMs / 1000)} s`;
  if (boot.kind === 'ended') return `it turned itself off ${after} after its start`;
  const todo =
    'a guest without qemu-guest-agent cannot be proven: install it; one that boots for longer: verify.boot_timeout';
  return `its agent did not answer within ${after} (${plain(boot.why)}); ${todo}`;
}

function whyNothing({ filesystems, whyNoFilesystems }: Answer): string | undefined {
  if (whyNoFilesystems !== undefined)
    return `its agent does not tell its filesystems: ${plain(whyNoFilesystems)}`;
  return filesystems.length > 0
    ? undefined
    : 'its agent answers, and no filesystem of its disks is mounted';
}

function whyDamaged(found: readonly CheckedFilesystem[]): string | undefined {
  const damaged = found.filter(({ result }) => result === 'damaged');
  return damaged.length === 0 ? undefined : damaged.map(named).join('; ');
}

function whyNotChecked(checks: Checks): string | undefined {
  if (checks.kind === 'not') return plain(checks.why);
  const left = checks.found.filter(({ result }) => result === 'unchecked');
  if (left.length > 0) return left.slice(0, 4).map(named).join('; ');
  const isAny = checks.found.some(({ result }) => result === 'clean');
  return isAny ? undefined : 'no filesystem was found that has a check';
}

/** `vda1 (ext4): why` */
function named({ target, partition, type, why = 'damaged' }: CheckedFilesystem): string {
  return `${target}${partition ?? ''} (${type}): ${why}`;
}

/** A guest may have wanted what is not in its set. */
function besides(leftOut: SnapshotSet['leftOut']): string {
  if (leftOut.length === 0) return '';
  return `; not in the set: ${leftOut.map(({ target }) => target).join(', ')}`;
}
