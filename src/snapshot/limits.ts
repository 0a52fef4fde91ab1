// What keeps a set from being taken though it is wanted: a cluster that is full or unwell, an image that has snapshots enough. Pure.

import type { ClusterHealth } from '../wire/worker-protocol.ts';

export interface Limits {
  /** The worst health of a cluster in which sets are still taken. */
  readonly worstHealth: 'ok' | 'warn' | 'any';
  /** Of a cluster's raw space, in percent: from here on none is taken. */
  readonly fullPercent: number;
  /** Snapshots of an image, whoever made them: from here on it is said, and none is taken. */
  readonly softSnapshots: number;
  readonly hardSnapshots: number;
}

/** Of one disk. */
export interface SnapshotCount {
  readonly target: string;
  readonly snapshots: number;
}

export interface LimitFacts {
  readonly health: ClusterHealth;
  readonly images: readonly SnapshotCount[];
}

export type LimitDecision =
  | { readonly kind: 'go'; readonly warnings: readonly string[] }
  | { readonly kind: 'stop'; readonly why: string };

export function decideLimits({ health, images }: LimitFacts, limits: Limits): LimitDecision {
  const why = whyUnwell(health, limits) ?? whyFull(health, limits);
  if (why !== undefined) return { kind: 'stop', why };
  const many = images.find(({ snapshots }) => snapshots >= limits.hardSnapshots);
  if (many !== undefined) {
    const { target, snapshots } = many;
    const limit = `the limit is ${limits.hardSnapshots} (snapshot.image_limit)`;
    return { kind: 'stop', why: `disk ${target} has ${snapshots} snapshots; ${limit}` };
  }
  const warnings = images
    .filter(({ snapshots }) => snapshots >= limits.softSnapshots)
    .map(({ target, snapshots }) => {
      return `disk ${target} has ${snapshots} snapshots; none is taken from ${limits.hardSnapshots} on`;
    });
  return { kind: 'go', warnings };
}

const RANKS = { ok: 0, warn: 1, any: 2 } as const;
const RANK_OF: Readonly<Record<string, number>> = { HEALTH_OK: 0, HEALTH_WARN: 1 };

function whyUnwell({ status, checks }: ClusterHealth, { worstHealth }: Limits): string | undefined {
  const rank = RANK_OF[status] ?? 2;
  if (rank <= RANKS[worstHealth]) return undefined;
  const told = checks.length === 0 ? '' : ` (${checks.join(', ')})`;
  return `the cluster is unwell: ${status}${told}; sets are taken up to '${worstHealth}' (snapshot.worst_health)`;
}

/** Ceph's own words for it, each about some OSD or pool: a cluster may be far from full as a whole. */
const FULL_CHECKS = [
  'OSD_NEARFULL',
  'OSD_BACKFILLFULL',
  'OSD_FULL',
  'POOL_NEARFULL',
  'POOL_NEAR_FULL',
  'POOL_BACKFILLFULL',
  'POOL_FULL',
];

function whyFull(
  { checks, totalBytes, usedBytes }: ClusterHealth,
  limits: Limits,
): string | undefined {
  const said = checks.find((each) => FULL_CHECKS.includes(each));
  if (said !== undefined) return `the cluster is near full: ${said}`;
  const percent = totalBytes === 0 ? 0 : (100 * usedBytes) / totalBytes;
  if (percent < limits.fullPercent) return undefined;
  return `the cluster is ${Math.floor(percent)} % full; none is taken from ${limits.fullPercent} % on (snapshot.full)`;
}

/** How long to wait before a set that is in no hurry, so that hosts do not ask the monitors all at once. `random`: from 0 to 1. */
export function jitterOf(maxMs: number, random: number): number {
  return Math.floor(maxMs * random);
}
