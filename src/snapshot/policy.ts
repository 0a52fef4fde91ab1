// Snapshot policies, `/etc/siphon/policies.d/*.toml`: which domains leave a set behind when they stop, and how many are kept.
// A file with an error changes nothing: its last good version stays in force.

import picomatch from 'picomatch';
import { parse, TomlError } from 'smol-toml';
import { z } from 'zod';
import type { ReleaseReason, Wanted } from '../wire/vocabulary.ts';

/** What is asked for where nobody says more. */
export const WANTED_DEFAULT: Wanted = { devices: 'all', quiesce: 'try', instant: 'auto' };

/** The reasons that a policy may name: after the others the guest runs elsewhere, or never ran. */
export const POLICY_REASONS = ['shutdown', 'destroyed', 'crashed', 'daemon', 'unknown'] as const;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const NAME_ALLOWED = 'a name of letters, digits, . _ -, at most 64 long';
const KEEP_ALLOWED = 'a whole number from 1 to 1000';
const GLOBS_ALLOWED = 'a list of at least one glob, each of 1 to 256 characters';
const ON_ALLOWED = `a list of at least one of ${POLICY_REASONS.join(', ')}`;

const Policy = z.strictObject({
  name: z.string({ error: NAME_ALLOWED }).regex(NAME, { error: NAME_ALLOWED }),
  domains: z
    .array(
      z
        .string({ error: GLOBS_ALLOWED })
        .min(1, { error: GLOBS_ALLOWED })
        .max(256, { error: GLOBS_ALLOWED }),
      { error: GLOBS_ALLOWED },
    )
    .min(1, { error: GLOBS_ALLOWED })
    .max(1000, { error: GLOBS_ALLOWED }),
  on: z
    .array(z.enum(POLICY_REASONS, { error: ON_ALLOWED }), { error: ON_ALLOWED })
    .min(1, { error: ON_ALLOWED })
    .default(['shutdown']),
  keep_last: z
    .int({ error: KEEP_ALLOWED })
    .min(1, { error: KEEP_ALLOWED })
    .max(1000, { error: KEEP_ALLOWED }),
});
const File = z.strictObject({ policy: z.array(Policy).default([]) });

export interface Policy {
  readonly name: string;
  /** Globs on the domain's name. */
  readonly domains: readonly string[];
  readonly on: readonly ReleaseReason[];
  /** So many of its sets stay for each domain. */
  readonly keepLast: number;
}

/** `where` is `FILE:LINE`, or the file alone. */
export interface PolicyProblem {
  readonly where: string;
  readonly what: string;
}

export interface LoadedPolicies {
  readonly policies: readonly Policy[];
  readonly problems: readonly PolicyProblem[];
}

/** Keeps each file's last good version across loads. */
export class PolicyStore {
  #good = new Map<string, readonly Policy[]>();
  #policies: readonly Policy[] = [];

  get policies(): readonly Policy[] {
    return this.#policies;
  }

  /** All files that are there now: path to text. A file that is no longer among them takes its policies along. */
  load(files: ReadonlyMap<string, string>): LoadedPolicies {
    const good = new Map<string, readonly Policy[]>();
    const problems: PolicyProblem[] = [];
    const names = new Set<string>();
    const inForce: Policy[] = [];
    for (const path of [...files.keys()].toSorted()) {
      const read = readPolicies(path, files.get(path) ?? '', names);
      problems.push(...read.problems);
      const kept = read.problems.length === 0 ? read.policies : this.#good.get(path);
      if (kept === undefined) continue;
      good.set(path, kept);
      for (const policy of kept) {
        // Retention goes by name: of two policies with one name, each would prune the other's sets.
        if (names.has(policy.name)) continue;
        names.add(policy.name);
        inForce.push(policy);
      }
    }
    this.#good = good;
    this.#policies = inForce;
    return { policies: this.#policies, problems };
  }
}

/** The first policy, in the order of files and within them, that names the domain and the reason, where that is known. */
export function matchPolicy(
  policies: readonly Policy[],
  domainName: string,
  reason: ReleaseReason | undefined,
): Policy | undefined {
  return policies.find(
    ({ on, domains }) =>
      (reason === undefined || on.includes(reason)) &&
      domains.some((glob) => matches(glob, domainName)),
  );
}

/** A domain's name is one word to a glob: libvirt allows no slash in it. */
function matches(glob: string, domainName: string): boolean {
  return picomatch.isMatch(domainName, glob, { dot: true, nonegate: true, noextglob: true });
}

/** Policies of one file, or its problems. `taken`: names that other files have given already. */
function readPolicies(path: string, text: string, taken: ReadonlySet<string>): LoadedPolicies {
  const document = parseToml(text);
  if ('problem' in document) {
    const where = `${path}:${document.line}`;
    return { policies: [], problems: [{ where, what: document.problem }] };
  }
  const result = File.safeParse(document.value);
  if (!result.success) {
    const problems = result.error.issues.flatMap((issue) => problemsOf(path, text, issue));
    return { policies: [], problems };
  }
  const policies = result.data.policy.map(({ keep_last: keepLast, ...rest }) => ({
    ...rest,
    keepLast,
  }));
  return { policies, problems: repeatedNames(path, text, policies, taken) };
}

function parseToml(text: string): { value: unknown } | { problem: string; line: number } {
  try {
    return { value: parse(text) };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [problem = 'not TOML'] = error.message.split('\n');
    return { problem, line: error.line };
  }
}

function problemsOf(path: string, text: string, issue: z.core.$ZodIssue): PolicyProblem[] {
  const [, index, key] = issue.path;
  const at = typeof index === 'number' ? index : undefined;
  if (issue.code === 'unrecognized_keys') {
    const allowed = at === undefined ? '[[policy]]' : Object.keys(Policy.shape).join(', ');
    return issue.keys.map((each) => ({
      where: `${path}:${lineOf(text, at, each)}`,
      what: `unknown key '${each}'; allowed: ${allowed}`,
    }));
  }
  const where = `${path}:${lineOf(text, at, typeof key === 'string' ? key : undefined)}`;
  return [{ where, what: typeof key === 'string' ? `${key}: ${issue.message}` : issue.message }];
}

function repeatedNames(
  path: string,
  text: string,
  policies: readonly Policy[],
  taken: ReadonlySet<string>,
): PolicyProblem[] {
  const seen = new Set(taken);
  return policies.flatMap(({ name }, index) => {
    const isRepeated = seen.has(name);
    seen.add(name);
    const where = `${path}:${lineOf(text, index, 'name')}`;
    const loses = taken.has(name) ? ": this file's is not in force" : '';
    return isRepeated ? [{ where, what: `another policy is named '${name}'${loses}` }] : [];
  });
}

/** The line of a key in the policy of that index (undefined: above all policies), else of its header, else 1. */
function lineOf(text: string, index: number | undefined, key: string | undefined): number {
  let policy = -1;
  let header = 1;
  for (const [at, line] of text.split('\n').entries()) {
    if (/^\s*\[\[\s*policy\s*\]\]/.test(line)) {
      policy += 1;
      if (policy === index) header = at + 1;
    }
    const named = /^\s*\[*\s*["']?([^"'=\]\s]+)["']?\s*[=\].]/.exec(line)?.[1];
    if (named === key && (index === undefined || policy === index)) return at + 1;
  }
  return header;
}
