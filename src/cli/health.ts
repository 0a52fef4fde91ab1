// What `siphon check` makes of what siphond says: one word, one line, and numbers that can be drawn. Nagios' plugin conventions:
// 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. Pure.

import type { JobsAnswer, SnapshotsAnswer, StatusAnswer } from '../wire/api.ts';
import type { OperatingError } from '../wire/errors.ts';
import type { Proof } from '../wire/verify-api.ts';

export interface HealthFacts {
  readonly status: StatusAnswer;
  /** The newest first. */
  readonly jobs: JobsAnswer['jobs'];
  readonly sets: SnapshotsAnswer['sets'];
  readonly nowMs: number;
}

export interface HealthBounds {
  /** A job that failed is told for so long. */
  readonly failedMs: number;
  /** A job that is open for longer is told. */
  readonly openMs: number;
  /** A domain whose newest set is older is told; not stated: none is. */
  readonly setAgeMs?: number;
}

type Level = 'OK' | 'WARNING' | 'CRITICAL' | 'UNKNOWN';
const EXITS: Readonly<Record<Level, number>> = { OK: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3 };

export interface Health {
  readonly level: Level;
  readonly exit: number;
  /** Without a line break. */
  readonly line: string;
}

interface Finding {
  readonly level: 'WARNING' | 'CRITICAL';
  readonly what: string;
}

export function decideHealth(facts: HealthFacts, bounds: HealthBounds): Health {
  const { status, sets } = facts;
  const jobs = jobFindings(facts, bounds);
  const overdue = overdueDomains(facts, bounds);
  const findings = [
    ...standingFindings(status),
    ...trustFindings(status.trust),
    ...jobs.findings,
    ...some(overdue, 'WARNING', (names) => `no new set of ${names}`),
    ...some(unprovenDomains(sets), 'WARNING', (names) => `not proven restorable: ${names}`),
  ];
  const isCritical = findings.some(({ level }) => level === 'CRITICAL');
  const level = isCritical ? 'CRITICAL' : findings.length > 0 ? 'WARNING' : 'OK';
  const numbers = {
    clusters: status.clusters.filter(({ state }) => state === 'connected').length,
    problems: status.problems.length,
    jobs_open: status.jobsOpen,
    jobs_failed: jobs.failed,
    spooled: status.spooled,
    sets: sets.length,
    sets_overdue: overdue.length,
    unverified: status.trust.unverified,
    cache: `${status.cache.allocatedBytes}B`,
  };
  const drawn = Object.entries(numbers).map(([name, value]) => `${name}=${value}`);
  const good = `${numbers.clusters} clusters, ${status.cache.bases} bases, ${sets.length} sets`;
  const said = findings.length > 0 ? findings.map(({ what }) => what).join('; ') : good;
  return healthOf(level, `${said} | ${drawn.join(' ')}`);
}

/** siphond gave no answer: it is down, or this user may not ask, which says nothing of siphond. */
export function unansweredHealth(error: OperatingError): Health {
  return healthOf(error.code === 'unavailable' ? 'CRITICAL' : 'UNKNOWN', error.message);
}

function healthOf(level: Level, said: string): Health {
  const line = `SIPHON ${level} - ${said}`.replaceAll(/\s+/g, ' ');
  return { level, exit: EXITS[level], line };
}

function standingFindings({
  clusters,
  libvirt,
  paused,
  problems,
  spooled,
}: StatusAnswer): Finding[] {
  const away = clusters.filter(({ state }) => state !== 'connected').map(({ name }) => name);
  const isLibvirtAway = libvirt.state !== 'connected';
  const told = problems.map(({ where, what }) => `${where}: ${what}`);
  return [
    ...some(away, 'CRITICAL', (names) => `no answer of cluster ${names}`),
    ...some(isLibvirtAway ? ['libvirt'] : [], 'CRITICAL', () => 'no answer of libvirt'),
    ...some(told, 'WARNING', (each) => each),
    ...some(
      paused.map(({ work }) => work),
      'WARNING',
      (works) => `paused: ${works}`,
    ),
    ...some(spooled > 0 ? [spooled] : [], 'WARNING', (count) => `${count} hook events wait`),
  ];
}

/** What came in unchecked where no rule says that it may, and what is here against a rule. */
function trustFindings({ unstated, refused, problems }: StatusAnswer['trust']): Finding[] {
  const told = problems.map(({ where, what }) => `${where}: ${what}`);
  const bases = (count: number) => (count === 1 ? '1 base' : `${count} bases`);
  const against = refused.map((each) => `trust rule ${each.rule} (${bases(each.bases)})`);
  return [
    ...some(
      unstated > 0 ? [unstated] : [],
      'WARNING',
      () => `${bases(unstated)} unverified, and no trust rule says so`,
    ),
    ...some(against, 'WARNING', (rules) => `here, and would be refused now by ${rules}`),
    ...some(told, 'WARNING', (each) => each),
  ];
}

const DAY_MS = 24 * 3_600_000;

function jobFindings({ jobs, nowMs }: HealthFacts, { failedMs, openMs }: HealthBounds) {
  const failed = jobs.filter((job) => isFailure(job) && nowMs - job.updatedAtMs <= failedMs);
  const all = jobs.filter(({ state }) => state === 'open');
  const open = all.filter(({ createdAtMs }) => nowMs - createdAtMs > openMs);
  const isVeryOld = open.some(({ createdAtMs }) => nowMs - createdAtMs > DAY_MS);
  const left = all.filter(({ kind, step }) => kind === 'import' && step === 'left');
  const subjects = (found: JobsAnswer['jobs']) =>
    found.map(({ kind, subject }) => `${kind} ${subject}`);
  return {
    failed: failed.length,
    findings: [
      ...some(subjects(failed), 'WARNING', (names) => `failed: ${names}`),
      ...some(
        left.map(({ subject }) => subject),
        'WARNING',
        (names) => `import left half done: ${names}`,
      ),
      ...some(
        subjects(open),
        isVeryOld ? 'CRITICAL' : 'WARNING',
        (names) => `open too long: ${names}`,
      ),
    ],
  };
}

/** A set that was decided against, or a request that was refused, is no failure. */
function isFailure({ state, error }: JobsAnswer['jobs'][number]): boolean {
  return state === 'failed' && error?.code !== 'refused';
}

/** Names of domains that have sets, the newest of which is too old. */
function overdueDomains({ sets, nowMs }: HealthFacts, { setAgeMs }: HealthBounds): string[] {
  if (setAgeMs === undefined) return [];
  const newest = new Map<string, { readonly name: string; readonly atMs: number }>();
  for (const { domainUuid, domainName: name, createdAtMs: atMs, state } of sets) {
    const known = newest.get(domainUuid);
    if (state === 'complete' && (known === undefined || known.atMs < atMs))
      newest.set(domainUuid, { name, atMs });
  }
  return [...newest.values()].filter(({ atMs }) => nowMs - atMs > setAgeMs).map(({ name }) => name);
}

/** Names of domains whose last proof failed. */
function unprovenDomains(sets: HealthFacts['sets']): string[] {
  const last = new Map<string, { readonly name: string; readonly proof: Proof }>();
  for (const { domainUuid, domainName: name, proof } of sets) {
    if (proof === undefined) continue;
    const known = last.get(domainUuid);
    if (known === undefined || known.proof.atMs < proof.atMs) last.set(domainUuid, { name, proof });
  }
  return [...last.values()].filter(({ proof }) => !proof.isProven).map(({ name }) => name);
}

const NAMED_MAX = 3;

/** One finding for all of a kind, which names the first few. */
function some(
  found: readonly (string | number)[],
  level: Finding['level'],
  say: (names: string) => string,
): Finding[] {
  if (found.length === 0) return [];
  const more = found.length > NAMED_MAX ? ` and ${found.length - NAMED_MAX} more` : '';
  return [{ level, what: say(found.slice(0, NAMED_MAX).join(', ') + more) }];
}
