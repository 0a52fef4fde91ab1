// Facts in, findings out. Pure.

import { checkCeph } from './check-ceph.ts';
import { checkHost } from './check-host.ts';
import { checkSite } from './check-site.ts';
import type { Facts } from './facts.ts';
import type { Finding, Severity } from './findings.ts';

const ORDER: readonly Severity[] = ['wrong', 'risk', 'note'];

/** Everything that was found, what matters most first; notes are no findings and come last. */
export function diagnose(facts: Facts): Finding[] {
  const { site } = facts;
  const found = [
    ...checkHost(facts),
    ...(site === undefined ? [] : [...checkSite(facts, site), ...checkCeph(site)]),
  ];
  return withoutEchoes(found).toSorted(
    (a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity),
  );
}

/** What siphond reports as well is told once. */
function withoutEchoes(found: readonly Finding[]): Finding[] {
  const own = new Set(found.filter(({ code }) => code !== ECHO).map(({ subject }) => subject));
  return found.filter(({ code, subject }) => code !== ECHO || !own.has(subject));
}

const ECHO = 'siphond-problem';
