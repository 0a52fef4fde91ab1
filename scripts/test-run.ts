// One run of one kind of test, in a lab or on this machine: what it printed, and what each file did.

import { readFileSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';
import { command, type Lab, ROOT } from './command.ts';
import { isSoak, KINDS, type LabName, type Step } from './test-plan.ts';

export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  todo: number;
  /** Of test processes: native code failed. */
  crashed: number;
  /** Tests and why. */
  failures: string[];
}

export interface Lane {
  readonly number: number;
  /** Where it prints: the terminal, or a descriptor. */
  readonly output?: number;
}

export interface Place {
  /** As it is printed. */
  readonly title: string;
  readonly labName: LabName;
  /** Of those that run in one. */
  readonly lab?: Lab;
  readonly host?: string;
}

export interface Run {
  readonly title: string;
  readonly step: Step;
  readonly place: Place | undefined;
  /** By path; absent: it died. */
  readonly files?: ReadonlyMap<string, Tally>;
  readonly isGreen: boolean;
  /** Its failed files, once more. */
  again?: Run;
}

/** Runs `files` of the step. */
export async function runKind(
  lane: Lane,
  step: Step,
  files: readonly string[],
  place?: Place,
): Promise<Run> {
  const { kind } = step;
  const title = place === undefined ? kind : `${kind} on ${place.title}`;
  say(lane, `\n== ${title}: ${files.length} files`);
  const seconds = KINDS[kind].minutesMax * 60;
  const tallyFile = path.join(ROOT, `.tally-${lane.number}-${process.pid}.log`);
  const argv = [
    `${ROOT}/node_modules/.bin/node`,
    '--test',
    `--test-concurrency=${KINDS[kind].concurrency}`,
    `--test-timeout=${isSoak ? seconds * 1000 : 300_000}`,
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${ROOT}/test/support/tally-reporter.ts`,
    `--test-reporter-destination=${tallyFile}`,
    ...files.map((file) => path.join(ROOT, file)),
  ];
  const env: Record<string, string> = isSoak ? { SIPHON_SOAK: '1' } : {};
  const { lab, host } = place ?? {};
  const release = place ? { SIPHON_LAB_RELEASE: place.title } : {};
  const code = lab
    ? await lab.exec(argv, seconds, env, host)
    : await command(argv, seconds, { ...env, ...release }, lane.output);
  try {
    return { title, step, place, isGreen: code === 0, files: talliesIn(tallyFile) };
  } catch (cause) {
    // Whatever its exit code said.
    say(lane, `the tests of ${title} left no tally (${code}): ${inspect(cause)}`);
    return { title, step, place, isGreen: false };
  }
}

export function say({ output }: Lane, text: string): void {
  if (output === undefined) console.log(text);
  else writeSync(output, `${text}\n`);
}

/** Of all files. */
export function sumOf(tallies: Iterable<Tally>): Tally {
  const sum = { passed: 0, failed: 0, skipped: 0, todo: 0, crashed: 0 };
  const keys = Object.keys(sum) as (keyof typeof sum)[];
  const failures: string[] = [];
  for (const tally of tallies) {
    for (const key of keys) sum[key] += tally[key];
    failures.push(...tally.failures);
  }
  return { ...sum, failures };
}

/** Files of a run in which a test failed. */
export function failedFiles({ files = new Map() }: Run): readonly string[] {
  return [...files].flatMap(([file, { failed }]) =>
    failed > 0 ? [path.relative(ROOT, file)] : [],
  );
}

function talliesIn(file: string): ReadonlyMap<string, Tally> {
  try {
    return new Map(Object.entries(JSON.parse(readFileSync(file, 'utf8')) as Record<string, Tally>));
  } finally {
    rmSync(file, { force: true });
  }
}
