// Snapshot policies, `/etc/siphon/policies.d/*.toml`: which domains leave a set behind, when, and how many are kept.
// A file with an error changes nothing: its last good version stays in force.

import { parse, TomlError } from 'smol-toml';
import type { z } from 'zod';
import { SCHEDULE_ALLOWED } from '../wire/schedule.ts';
import type { Policy } from '../wire/vocabulary.ts';
import { POLICY_FILE, POLICY_KEYS, toPolicy } from './policy-shape.ts';

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

  /**
   * All files that are there now: path to text. A file that is no longer among them takes its policies along. `refused`: schedules
   * that are none, and why.
   */
  load(
    files: ReadonlyMap<string, string>,
    refused: ReadonlyMap<string, string> = new Map(),
  ): LoadedPolicies {
    const good = new Map<string, readonly Policy[]>();
    const problems: PolicyProblem[] = [];
    const names = new Set<string>();
    const inForce: Policy[] = [];
    for (const path of [...files.keys()].toSorted()) {
      const read = readPolicies(path, files.get(path) ?? '', { taken: names, refused });
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

/** The schedules of all files, as far as these can be read: whether each is one, others know. */
export function schedulesIn(files: ReadonlyMap<string, string>): ReadonlySet<string> {
  const others = { taken: new Set<string>(), refused: new Map<string, string>() };
  const policies = [...files].flatMap(([path, text]) => readPolicies(path, text, others).policies);
  return new Set(policies.flatMap(({ schedule }) => schedule?.calendar ?? []));
}

interface Others {
  /** Names that other files have given already. */
  readonly taken: ReadonlySet<string>;
  readonly refused: ReadonlyMap<string, string>;
}

/** Policies of one file, or its problems. */
function readPolicies(path: string, text: string, { taken, refused }: Others): LoadedPolicies {
  const document = parseToml(text);
  if ('problem' in document) {
    const where = `${path}:${document.line}`;
    return { policies: [], problems: [{ where, what: document.problem }] };
  }
  const result = POLICY_FILE.safeParse(document.value);
  if (!result.success) {
    const problems = result.error.issues.flatMap((issue) => problemsOf(path, text, issue));
    return { policies: [], problems };
  }
  const policies = result.data.policy.map(toPolicy);
  const problems = policies.flatMap(({ schedule }, index) => {
    const why = refused.get(schedule?.calendar ?? '');
    const where = `${path}:${lineOf(text, index, 'schedule')}`;
    return why === undefined ? [] : [{ where, what: `schedule: ${SCHEDULE_ALLOWED}: ${why}` }];
  });
  return { policies, problems: [...repeatedNames(path, text, policies, taken), ...problems] };
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
    const allowed = at === undefined ? '[[policy]]' : POLICY_KEYS.join(', ');
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
