// Which policy asks for a set at an event of a domain, and what of: facts to a decision that says why, also of the policies
// that do not. The one place where policies are matched: hooks, libvirt's events, operators and `siphon policy test` ask here.

import picomatch from 'picomatch';
import type { DomainWish, Stated } from '../domain/wish.ts';
import type { Considered, Evaluation, Take } from '../wire/evaluation.ts';
import type { KeepCounts } from '../wire/keep.ts';
import {
  LIFECYCLE_NAMES,
  type LifecycleName,
  POLICY_REASONS,
  type Policy,
  type PolicyEvent,
  RELEASE_REASONS,
  type ReleaseReason,
  type SetEvent,
  type Wanted,
} from '../wire/vocabulary.ts';
import { whyNever } from './decide.ts';
import { WANTED_DEFAULT } from './policy-shape.ts';

export interface DomainFacts {
  readonly name: string;
  readonly uuid: string;
  readonly wish: DomainWish;
}

export interface EventFacts {
  readonly event: SetEvent;
  /** Of a release; absent: libvirt has not told it yet, and any that a policy may name is meant. */
  readonly reason?: ReleaseReason;
  readonly lifecycle?: LifecycleName;
  /** Of `scheduled`: policies whose time has come; absent: that of any that has a schedule. */
  readonly elapsed?: readonly string[];
}

/** An event as `on` of a policy names it, or a reason of libvirt's; undefined: there is no such. */
export function parseEvent(word: string): EventFacts | undefined {
  const reason = RELEASE_REASONS.find((each) => each === word);
  if (reason !== undefined) return { event: 'release', reason };
  const lifecycle = LIFECYCLE_NAMES.find((each) => `lifecycle:${each}` === word);
  if (lifecycle !== undefined) return { event: 'lifecycle', lifecycle };
  const event = (['prepare', 'started', 'stopped', 'scheduled', 'manual'] as const).find(
    (each) => each === word,
  );
  return event && { event };
}

export function evaluate(
  policies: readonly Policy[],
  domain: DomainFacts,
  event: EventFacts,
): Evaluation {
  const never = event.reason === undefined ? undefined : whyNever(event.reason);
  const problem = problemOf(domain.wish, policies);
  const wish = problem === undefined ? domain.wish : UNREADABLE;
  const considered = consider(policies, { ...domain, wish }, event);
  const seen = { considered, ...(problem !== undefined && { problem }) };
  const isManual = event.event === 'manual';
  const atRelease = releasePolicy(policies, domain, event);
  if (atRelease !== undefined)
    return { kind: 'nothing', why: `policy '${atRelease}' has one taken of this stop`, ...seen };
  if (never !== undefined)
    return {
      kind: 'nothing',
      why: `none is ever taken after '${event.reason}': ${never}`,
      ...seen,
    };
  if (wish.kind === 'off' && !isManual)
    return { kind: 'nothing', why: "the domain's own metadata says off", ...seen };
  const first = considered.find(({ verdict }) => verdict === 'first');
  const policy = policies.find(({ name }) => name === first?.policy);
  if (policy === undefined || first === undefined) {
    if (!isManual)
      return { kind: 'nothing', why: `no policy asks for a set of it ${at(event)}`, ...seen };
    return {
      kind: 'take',
      wanted: wantedOf(WANTED_DEFAULT, wish),
      why: 'an operator asks',
      ...seen,
    };
  }
  const { name } = policy;
  if (event.elapsed?.includes(name) === false)
    return { kind: 'nothing', why: `policy '${name}' has its own schedule`, ...seen };
  const wanted = wantedOf(policy, wish);
  return {
    kind: 'take',
    wanted,
    policy: { name, ...keepOf(policy, wish) },
    why: `policy '${name}': ${first.why}`,
    ...seen,
  };
}

/** Of one stop there is one set: the hook hears of it before libvirt tells that it has `stopped`. */
function releasePolicy(
  policies: readonly Policy[],
  domain: DomainFacts,
  { event, reason }: EventFacts,
): string | undefined {
  if (event !== 'stopped' || reason === undefined) return undefined;
  const asked = evaluate(policies, domain, { event: 'release', reason });
  return asked.kind === 'take' ? asked.policy?.name : undefined;
}

/** Of what an operator's set is: that there is to be one nobody but the operator says. */
export function evaluateManual(
  policies: readonly Policy[],
  domain: DomainFacts,
): Omit<Take, 'kind'> {
  const asked = evaluate(policies, domain, { event: 'manual' });
  return asked.kind === 'take' ? asked : { wanted: WANTED_DEFAULT };
}

/** What a policy keeps of a domain, which may say so itself. */
export function keepOf({ keepLast, keepPeriods }: KeepCounts, wish: DomainWish): KeepCounts {
  const said = wish.kind === 'stated' ? wish : undefined;
  return {
    keepLast: said?.keepLast ?? keepLast,
    keepPeriods: { ...keepPeriods, ...said?.keepPeriods },
  };
}

/**
 * Stands for metadata that cannot be read. A set too many is pruned, one too few is missed when it is needed: so the policies apply.
 * But its owner may have asked not to hold the guest: it is not held.
 */
const UNREADABLE: Stated = { kind: 'stated', tags: [], quiesce: 'none', instant: 'none' };

/** What is wrong with a domain's own metadata, in the light of the policies in force. */
export function problemOf(wish: DomainWish, policies: readonly Policy[]): string | undefined {
  if (wish.kind === 'bad') return wish.problem;
  if (wish.kind !== 'stated' || wish.policy === undefined) return undefined;
  const isKnown = policies.some(({ name }) => name === wish.policy);
  return isKnown
    ? undefined
    : `it names policy '${wish.policy}', and none of that name is in force`;
}

function wantedOf(base: Wanted, wish: DomainWish): Wanted {
  const { devices, quiesce, instant } = base;
  const said = wish.kind === 'stated' ? wish : undefined;
  return {
    devices: said?.devices ?? devices,
    quiesce: said?.quiesce ?? quiesce,
    instant: said?.instant ?? instant,
  };
}

function consider(
  policies: readonly Policy[],
  domain: DomainFacts,
  event: EventFacts,
): readonly Considered[] {
  let isDecided = false;
  return policies.map((policy) => {
    const { name } = policy;
    const whyNot = whyNotOn(policy, event) ?? whyNotDomain(policy, domain);
    if (whyNot !== undefined) return { policy: name, verdict: 'no', why: whyNot };
    const verdict = isDecided ? 'also' : 'first';
    isDecided = true;
    return { policy: name, verdict, why: whyDomain(policy, domain) };
  });
}

function whyNotOn({ on, schedule }: Policy, event: EventFacts): string | undefined {
  if (event.event === 'scheduled') return schedule === undefined ? 'it has no schedule' : undefined;
  return wordsOf(event).some((each) => on.includes(each))
    ? undefined
    : `it asks for none ${at(event)} (on = ${on.join(', ')})`;
}

/** Whether any policy asks for anything at such an event: else nobody needs to look at the domain. */
export function mayAsk(policies: readonly Policy[], event: EventFacts): boolean {
  return policies.some((policy) => whyNotOn(policy, event) === undefined);
}

/** The words of `on` that mean this event. */
function wordsOf({ event, reason, lifecycle }: EventFacts): readonly PolicyEvent[] {
  if (event === 'lifecycle') return lifecycle === undefined ? [] : [`lifecycle:${lifecycle}`];
  if (event === 'scheduled') return [];
  if (event !== 'release') return [event];
  return POLICY_REASONS.filter((each) => reason === undefined || each === reason);
}

function at({ event, reason, lifecycle }: EventFacts): string {
  if (event === 'release') return reason === undefined ? 'when it stops' : `after '${reason}'`;
  if (event === 'scheduled') return 'by a schedule';
  return event === 'lifecycle' ? `at 'lifecycle:${lifecycle}'` : `at '${event}'`;
}

function whyNotDomain(policy: Policy, { name, uuid, wish }: DomainFacts): string | undefined {
  const named = wish.kind === 'stated' ? wish.policy : undefined;
  if (named !== undefined)
    return named === policy.name ? undefined : `the domain's own metadata names policy '${named}'`;
  const isAny = policy.domains.length === 0 && policy.uuids.length === 0;
  const isNamed = policy.domains.some((glob) => matches(glob, name)) || policy.uuids.includes(uuid);
  if (!isAny && !isNamed) return 'it is for other domains';
  const tags = wish.kind === 'stated' ? wish.tags : [];
  const missing = policy.tags.filter((tag) => !carries(tags, tag));
  return missing.length === 0
    ? undefined
    : `the domain's own metadata does not carry ${missing.join(', ')}`;
}

function whyDomain(policy: Policy, { name, uuid, wish }: DomainFacts): string {
  if (wish.kind === 'stated' && wish.policy !== undefined)
    return "the domain's own metadata names it";
  const glob = policy.domains.find((each) => matches(each, name));
  if (glob !== undefined) return `its glob '${glob}' is the domain's name`;
  if (policy.uuids.includes(uuid)) return "it names the domain's UUID";
  return `the domain's own metadata carries ${policy.tags.join(', ')}`;
}

/** `KEY` asks for the key with whatever value. */
function carries(tags: readonly string[], wanted: string): boolean {
  return tags.some((tag) => tag === wanted || tag.startsWith(`${wanted}=`));
}

/** A domain's name is one word to a glob: libvirt allows no slash in it. */
function matches(glob: string, domainName: string): boolean {
  return picomatch.isMatch(domainName, glob, { dot: true, nonegate: true, noextglob: true });
}
