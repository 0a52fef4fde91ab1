// What npm test runs: which files, of which kind, in which labs, in which lane. The words of its command are read here.

import { globSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ROOT } from './command.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    soak: { type: 'boolean', default: false },
    only: { type: 'string' },
    release: { type: 'string', multiple: true },
  },
});

/** The large counts. */
export const isSoak = values.soak;
/** What nobody waits for may take its time. */
const isPatient = isSoak || values.release !== undefined;

/** The Debian of each host. The first has the Ceph: 16 in bookworm, 18 in trixie, 20 in forky. */
export const LABS = {
  bookworm: ['bookworm'],
  trixie: ['trixie'],
  forky: ['forky'],
  mixed: ['forky', 'bookworm', 'trixie'],
} as const;
export type LabName = keyof typeof LABS;

/** Where each kind of test runs, how many files at a time, and how long the kind may take at most. */
export const KINDS = {
  unit: {
    globs: ['test/unit/**/*.test.ts'],
    inLab: false,
    concurrency: 2,
    minutesMax: isSoak ? 60 : 8,
  },
  parts: {
    globs: ['packages/ceph-napi/test/**/*.test.ts', 'test/lab/!(whole|copies|smoke)/**/*.test.ts'],
    inLab: true,
    concurrency: 2,
    minutesMax: isPatient ? 40 : 30,
  },
  // These share the host's one libvirtd and its installed siphon, which some of them kill: one file at a time.
  whole: {
    globs: ['packages/node-libvirt/test/**/*.test.ts', 'test/lab/whole/**/*.test.ts'],
    inLab: true,
    concurrency: 1,
    minutesMax: isSoak ? 120 : isPatient ? 60 : 50,
  },
  // The same, of what is made from sets: in the other lane, which else ends first.
  copies: {
    globs: ['test/lab/copies/**/*.test.ts'],
    inLab: true,
    concurrency: 1,
    minutesMax: isSoak ? 120 : isPatient ? 40 : 30,
  },
  // What differs between releases: libraries and their headers, and one pass through both of siphon's jobs.
  smoke: {
    globs: ['packages/*/test/{library,bindings,headers}.test.ts', 'test/lab/smoke/**/*.test.ts'],
    inLab: true,
    concurrency: 1,
    minutesMax: 5,
  },
  outside: { globs: ['test/outside/**/*.test.ts'], inLab: false, concurrency: 1, minutesMax: 15 },
} as const;
type Kind = keyof typeof KINDS;

/** Side by side, in labs of their own: the whole mostly waits, for timeouts and for what it killed. */
const LANES: readonly (readonly Kind[])[] = [
  ['whole'],
  ['unit', 'parts', 'copies', 'outside', 'smoke'],
];

export interface Step {
  readonly kind: Kind;
  /** Of the kind's files those with this in their names, or without that. */
  readonly part?: string;
  readonly not?: string;
}

/** Steps and the lab that they are for, in order. */
export type Plan = readonly (readonly [LabName | undefined, readonly Step[]])[];

const WHOLE: readonly Step[] = [
  { kind: 'parts' },
  { kind: 'whole' },
  { kind: 'copies' },
  { kind: 'outside' },
];
/** The package's test has hosts of all releases itself. */
const WHOLE_BUT_PACKAGE: readonly Step[] = [
  { kind: 'parts' },
  { kind: 'whole' },
  { kind: 'copies' },
  { kind: 'outside', not: 'package' },
];
const SMOKE: readonly Step[] = [{ kind: 'smoke' }];

const DEFAULT: Plan = [
  ['trixie', WHOLE],
  // libvirt 9 does not say why a domain stopped: whether it moved away has to be seen.
  ['bookworm', [...SMOKE, { kind: 'outside', part: 'migration' }]],
  ['mixed', SMOKE],
];

/** All that is asked for, of each lane that has any of it. */
export function plansOfLanes(): readonly Plan[] {
  const all: Plan = [[undefined, [{ kind: 'unit' }]], ...(values.release?.map(wholeOf) ?? DEFAULT)];
  return LANES.map((kinds) =>
    all
      .map(([lab, steps]) => [lab, steps.filter((step) => isChosen(step, kinds))] as const)
      .filter(([, steps]) => steps.length > 0),
  ).filter((plan) => plan.length > 0);
}

function wholeOf(name: string): Plan[number] {
  const lab = Object.keys(LABS).find((each): each is LabName => each === name);
  if (lab === undefined) {
    throw new Error(`--release: ${Object.keys(LABS).join(', ')}, not '${name}'`);
  }
  return [lab, LABS[lab].length > 1 ? SMOKE : lab === 'trixie' ? WHOLE : WHOLE_BUT_PACKAGE];
}

const isChosen = (step: Step, kinds: readonly Kind[]): boolean =>
  kinds.includes(step.kind) && filesOf(step).length > 0;

export function filesOf({ kind, part = '', not }: Step): string[] {
  if (values.only !== undefined && values.only !== kind) return [];
  return globSync([...KINDS[kind].globs], { cwd: ROOT })
    .filter((file) => file.includes(part) && (not === undefined || !file.includes(not)))
    .filter((file) => positionals.length === 0 || positionals.some((each) => file.includes(each)))
    .toSorted();
}
