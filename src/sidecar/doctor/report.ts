// Findings for people: what, why, what to type.

import type { Finding } from './findings.ts';

export function report(findings: readonly Finding[], notes: readonly Finding[]): string {
  const told = findings.map(
    ({ severity, code, subject, what, why, type }) =>
      `${severity.toUpperCase()} ${code}: ${subject}: ${what}\n  ${why}\n${type.map((each) => `    ${each}`).join('\n')}`,
  );
  const noted = notes.map(({ code, subject, what }) => `note ${code}: ${subject}: ${what}`);
  const sum = findings.length === 0 ? 'Nothing is wrong.' : `${findings.length} found.`;
  return [...told, ...noted, sum].join('\n');
}
