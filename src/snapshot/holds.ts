// Snapshots of running domains: armed, all held together under their guards, taken in parallel, and let go. A commit of the
// monitors that was missed lets the guests go at once; what comes late is removed, and it is tried again.

import { allOf } from '../wire/all-of.ts';
import { fromWire, OperatingError } from '../wire/errors.ts';
import type { Arm, ArmMethods, Held, HoldMethods } from '../wire/hold-protocol.ts';
import type { CephPort, LibvirtPort } from '../wire/ports.ts';
import type { DiskAt } from '../wire/worker-protocol.ts';
import { DEADLINE_MS, GUARD_MS, HELD_MS } from './deadlines.ts';
import type { HoldLeads, HoldPlan } from './hold-plan.ts';

/** One domain that is to be held. */
export interface Member {
  readonly domainUuid: string;
  readonly disks: readonly (DiskAt & { readonly snap: string })[];
  readonly plan: HoldPlan;
  /** Removes what of its snapshots is there: their names are used again. @throws OperatingError: something may be left */
  readonly discard: () => Promise<void>;
}

type Described = ArmMethods['describePrepared']['result'][number];
export interface Got {
  readonly kind: 'got';
  /** In the order of the disks; what a write to each of them waited at most, in ms. */
  readonly made: readonly (Described & { readonly stallMs: number })[];
  readonly held: Held;
  /** Absent: it could not be let go, which its guard does. */
  readonly let?: HoldMethods['release']['result'];
  /** Commits that were missed before. */
  readonly misses: number;
}
export interface Failed {
  readonly kind: 'failed';
  readonly error: OperatingError;
  /** Its snapshots were asked for: they may be there, or come yet. */
  readonly wasAsked: boolean;
}

export interface HoldParts {
  readonly libvirt: LibvirtPort;
  readonly leads: HoldLeads;
  /** Resolves after so many ms, or early when the signal aborts. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly log: {
    readonly warn: (fields: object, message: string) => void;
  };
  readonly counts: HoldCounts;
}

export interface HoldCounts {
  /** The commit that so many guests were held for. */
  commitMissed(guests: number): void;
  /** A guest was let go after so long, in ms. */
  guestHeld(ms: number): void;
}

/** The last one waits for whichever commit comes: on a host where a hold takes longer than foreseen, a long hold is better than no set. */
const ATTEMPTS_MAX = 4;
/** For the snapshots, whatever the ticks say. */
const HOLD_MS_MAX = 3000;
const FREEZE_MS_MAX = 2000;

/** Rejects with defects alone. An outcome for each member, in their order; all that are got share one instant. */
export async function takeHeld(
  parts: HoldParts,
  ceph: CephPort,
  members: readonly Member[],
): Promise<readonly (Got | Failed)[]> {
  const ended = new Map<Member, Got | Failed>();
  let left = members;
  for (let misses = 0; left.length > 0; misses += 1) {
    const hands = left.map((member): Hand => ({ member, misses }));
    const isLast = misses + 1 === ATTEMPTS_MAX;
    await tryOnce({ ...parts, ceph, isPatient: isLast }, hands);
    for (const { member, outcome } of hands) {
      if (outcome !== undefined && outcome.kind !== 'missed') ended.set(member, outcome);
      else if (isLast)
        ended.set(member, { kind: 'failed', error: missedAll(member), wasAsked: false });
    }
    left = members.filter((member) => !ended.has(member));
    if (left.length > 0) {
      parts.counts.commitMissed(left.length);
      const domains = left.map(({ domainUuid }) => domainUuid);
      parts.log.warn(
        { domains },
        'the commit was missed; the guests were let go, and it is tried again',
      );
    }
  }
  return members.map((member) => ended.get(member) as Got | Failed);
}

type World = HoldParts & {
  readonly ceph: CephPort;
  /** Holds beyond the commit that was foreseen, within the bound. */
  readonly isPatient: boolean;
};

/** A member in one attempt. */
interface Hand {
  readonly member: Member;
  readonly misses: number;
  prepared?: string;
  isGuarded?: true;
  held?: Held;
  creating?: Promise<ArmMethods['createPrepared']['result']>;
  /** All of them had come when the guest was let go. */
  isInTime?: boolean;
  let?: HoldMethods['release']['result'];
  /** From here on no step does anything with it. */
  outcome?: Got | Failed | { readonly kind: 'missed' };
}

async function tryOnce(world: World, hands: readonly Hand[]): Promise<void> {
  try {
    await each(hands, (hand) => prepare(world, hand));
    await ride(world, hands);
    await each(hands, (hand) => judge(world, hand));
  } finally {
    await Promise.all(hands.map((hand) => drop(world, hand)));
  }
}

const goingOn = (hands: readonly Hand[]) => hands.filter(({ outcome }) => outcome === undefined);

/** In parallel, with each that goes on. */
async function each(hands: readonly Hand[], step: (hand: Hand) => Promise<void>): Promise<void> {
  await allOf(goingOn(hands).map((hand) => step(hand).catch((error) => fail(hand, error))));
}

/** An operating error is an outcome. */
function fail(hand: Hand, error: unknown): void {
  if (!(error instanceof OperatingError)) throw error;
  hand.outcome = { kind: 'failed', error, wasAsked: hand.creating !== undefined };
}

async function prepare({ ceph }: World, hand: Hand): Promise<void> {
  const { disks } = hand.member;
  hand.prepared = (await ceph.call('prepareSnapshots', { disks }, DEADLINE_MS.look)).prepared;
}

/** From the first hold to the last release, nothing here waits but for the snapshots, and for them within the bound. */
async function ride(world: World, hands: readonly Hand[]): Promise<void> {
  const riding = goingOn(hands);
  if (riding.length === 0) return;
  try {
    const boarding = board(world);
    await each(riding, (hand) => guard(world, hand));
    const commit = await nextCommit(world, goingOn(riding), boarding);
    if (commit === undefined) return;
    await each(riding, (hand) => hold(world, hand));
    await createAll(world, goingOn(riding), commit);
  } finally {
    await allOf(riding.map((hand) => letGo(world, hand)));
  }
}

/** The monitors are asked while the guards are set; whoever wants to know how that went awaits it. */
function board({ ceph }: World): Promise<ArmMethods['board']['result']> {
  const boarding = ceph.call('board', {}, DEADLINE_MS.arm);
  boarding.catch(() => undefined);
  return boarding;
}

interface Commit {
  /** By the clock of performance.now(): who asks later is too late. */
  readonly dueAtMs: number;
  /** Snapshots that have not come when this settles have missed it. One that cannot be waited for is as good as over. */
  readonly over: Promise<unknown>;
}

/** Nobody can say when it comes: within the bound of the hold it has to do. */
const whichever = (): Commit => ({
  dueAtMs: Number.POSITIVE_INFINITY,
  over: new Promise(() => undefined),
});

/** undefined: there is nobody to hold, or the monitors are not well. */
async function nextCommit(
  { ceph, leads, isPatient, log }: World,
  hands: readonly Hand[],
  boarding: ReturnType<typeof board>,
): Promise<Commit | undefined> {
  if (hands.length === 0) return undefined;
  const leadMs = Math.max(...hands.map(({ member }) => leads.of(member.plan)));
  try {
    const armed = await ceph.call('arm', { ...(await boarding), leadMs }, DEADLINE_MS.arm);
    if ('unforeseen' in armed) log.warn({ why: armed.unforeseen }, 'the guests may be held longer');
    if ('unforeseen' in armed || isPatient) return whichever();
    const dueAtMs = performance.now() + armed.leftMs;
    return { dueAtMs, over: end(ceph, armed) };
  } catch (error) {
    for (const hand of hands) fail(hand, error);
    return undefined;
  }
}

async function end(ceph: CephPort, { arm }: Arm): Promise<void> {
  await ceph.call('armEnd', { arm }, DEADLINE_MS.arm).catch((error: unknown) => {
    if (!(error instanceof OperatingError)) throw error;
  });
}

async function guard({ libvirt }: World, hand: Hand): Promise<void> {
  const { domainUuid: domain } = hand.member;
  hand.isGuarded = true;
  await libvirt.call('guard', { domain, deadlineMs: GUARD_MS }, DEADLINE_MS.guard);
}

async function hold({ libvirt, leads }: World, hand: Hand): Promise<void> {
  const { domainUuid: domain, plan } = hand.member;
  const { quiesce, suspends } = plan;
  const ask = { domain, quiesce, suspends, timeoutMs: FREEZE_MS_MAX, deadlineMs: HELD_MS };
  hand.held = await libvirt.call('hold', ask, DEADLINE_MS.hold);
  leads.note(plan, hand.held.tookMs);
}

/** Settles when all have come, or when they should have. */
async function createAll(world: World, hands: readonly Hand[], commit: Commit): Promise<void> {
  const { ceph, wait } = world;
  if (hands.length === 0 || performance.now() >= commit.dueAtMs) return;
  const creating = hands.map((hand) => {
    const { prepared = '' } = hand;
    return (hand.creating = ceph.call('createPrepared', { prepared }, DEADLINE_MS.snapshot));
  });
  const come = Promise.allSettled(creating).then(() => {
    for (const hand of hands) hand.isInTime = true;
  });
  const enough = new AbortController();
  await Promise.race([come, wait(HOLD_MS_MAX, enough.signal), commit.over]);
  enough.abort();
}

/** Also of one whose hold failed: libvirt's worker knows what it has begun. What cannot be let go here, its guard lets go. */
async function letGo({ libvirt, log, counts }: World, hand: Hand): Promise<void> {
  if (hand.isGuarded === undefined) return;
  const { domainUuid: domain } = hand.member;
  try {
    hand.let = await libvirt.call('release', { domain }, DEADLINE_MS.release);
    if (hand.let.holdMs > 0) counts.guestHeld(hand.let.holdMs);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    log.warn({ domain, error: error.toWire() }, 'a guest could not be let go: its guard does it');
  }
}

/** The guest runs again. */
async function judge(world: World, hand: Hand): Promise<void> {
  const { creating, held, isInTime, let: gone, prepared = '', misses, member } = hand;
  if (creating === undefined || held === undefined || isInTime !== true) {
    await creating; // what comes late can only be removed once it is there
    if (creating !== undefined) await member.discard();
    hand.outcome = { kind: 'missed' };
    return;
  }
  const created = await creating;
  for (const one of created) if (one.kind === 'failed') throw fromWire(one.error);
  const described = await world.ceph.call('describePrepared', { prepared }, DEADLINE_MS.look);
  const made = described.map((one, index) => {
    const { tookMs: stallMs } = created[index] as Extract<
      (typeof created)[number],
      { kind: 'made' }
    >;
    return { ...one, stallMs };
  });
  hand.outcome = { kind: 'got', made, held, ...(gone && { let: gone }), misses };
}

async function drop({ ceph }: World, { prepared }: Hand): Promise<void> {
  if (prepared === undefined) return;
  // It closes by itself, too.
  await ceph.call('dropPrepared', { prepared }, DEADLINE_MS.look).catch((error: unknown) => {
    if (!(error instanceof OperatingError)) throw error;
  });
}

function missedAll({ domainUuid }: Member): OperatingError {
  const why = `the snapshots did not come while it was held, ${ATTEMPTS_MAX} times in a row; the guest runs`;
  const hint = 'The cluster or this host is very busy: try again later.';
  return new OperatingError({
    code: 'busy',
    op: 'take snapshot set',
    subject: domainUuid,
    why,
    hint,
  });
}
