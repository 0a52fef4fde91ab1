// What is wrong in a config, for people: each mistake with its file, its line, its key and what is allowed there.

import type { z } from 'zod';
import { keysAt } from './keys.ts';
import type { Place } from './locate.ts';

export interface ConfigProblem {
  readonly file: string;
  /** From 1; undefined where the file says nothing about it. */
  readonly line?: number;
  /** `cache.limit`; '' for the file itself. */
  readonly key: string;
  readonly what: string;
}

/** The problems of one issue; `find` knows the file and the line of a path. */
export function problemsOf(
  issue: z.core.$ZodIssue,
  find: (path: readonly PropertyKey[]) => { readonly file: string } & Partial<Place>,
): ConfigProblem[] {
  const at = (path: readonly PropertyKey[], what: string): ConfigProblem => {
    const { file, line } = find(path);
    const key = path.map(String).filter(Boolean).join('.');
    return { file, ...(line === undefined ? {} : { line }), key, what };
  };
  if (issue.code === 'unrecognized_keys') {
    const allowed = keysAt(issue.path);
    return issue.keys.map((key) =>
      at([...issue.path, key], `unknown key; allowed here: ${allowed.join(', ')}`),
    );
  }
  if (issue.code === 'invalid_key')
    return [at(issue.path, `must be ${issue.issues[0]?.message ?? 'another key'}`)];
  if (issue.code === 'invalid_type' && issue.expected === 'object')
    return [at(issue.path, 'must be a table')];
  if (issue.code === 'invalid_type' && issue.expected === 'record')
    return [at(issue.path, 'must be a table of tables')];
  return [at(issue.path, `must be ${issue.message}`)];
}

/** `FILE:LINE`, or `FILE` alone. */
export function placeOf({ file, line }: Pick<ConfigProblem, 'file' | 'line'>): string {
  return line === undefined ? file : `${file}:${line}`;
}

/** `KEY: WHAT`, or `WHAT` of the file itself. */
export function saying({ key, what }: Pick<ConfigProblem, 'key' | 'what'>): string {
  return key === '' ? what : `${key}: ${what}`;
}

/** `FILE:LINE: KEY: WHAT`, as an editor and a person read it. */
export function formatProblem(problem: ConfigProblem): string {
  return `${placeOf(problem)}: ${saying(problem)}`;
}
