// What of a hold a set needs, and how long before the monitors' commit it has to begin.

import type { Quiesce } from '../wire/hold-protocol.ts';
import type { WantedInstant } from '../wire/vocabulary.ts';

export interface HoldPlan {
  readonly kind: 'hold';
  readonly quiesce: Quiesce;
  readonly suspends: boolean;
}

/**
 * Of a domain that runs here. QEMU drains all disks as it stops: a guarantee for several. A freeze is none: swap, and whoever writes
 * to a disk without a filesystem, go on.
 */
export function planHold(wanted: {
  readonly disks: number;
  readonly quiesce: Quiesce;
  readonly instant: WantedInstant;
}): HoldPlan | { readonly kind: 'no-hold'; readonly why: string } {
  const { disks, quiesce, instant } = wanted;
  const suspends = instant === 'suspend' || (instant === 'auto' && disks > 1);
  if (suspends || quiesce !== 'none') return { kind: 'hold', quiesce, suspends };
  const why = disks === 1 ? 'one disk is one instant' : 'no instant of all disks was asked for';
  return { kind: 'no-hold', why };
}

/** Before anything was measured, in ms. On a loaded host with emulated guests; a freeze waits for the guest's writes. */
const FIRST_MS = { suspended: 120, frozen: 500 } as const;
const SLACK_MS = 40;
/** A lead of this much leaves no room in a commit's interval of a second. */
const LEAD_MS_MAX = 800;
const KEPT = 9;

/** Learns from each hold how long before a commit the next one has to begin: the median of the last ones, and some slack. */
export class HoldLeads {
  readonly #recent = { suspended: [] as number[], frozen: [] as number[] };

  /** In ms. */
  of(plan: HoldPlan): number {
    const took = this.#recent[kindOf(plan)].toSorted((a, b) => a - b);
    const median = took[Math.floor(took.length / 2)] ?? FIRST_MS[kindOf(plan)];
    return Math.min(Math.ceil(median) + SLACK_MS, LEAD_MS_MAX);
  }

  /** What a hold took until the guest was held, in ms. */
  note(plan: HoldPlan, tookMs: number): void {
    const kept = this.#recent[kindOf(plan)];
    kept.push(tookMs);
    if (kept.length > KEPT) kept.shift();
  }
}

function kindOf({ quiesce }: HoldPlan): 'suspended' | 'frozen' {
  return quiesce === 'none' ? 'suspended' : 'frozen';
}
