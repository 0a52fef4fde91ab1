// npm test: unit tests on this machine, then lab hosts with siphon installed in them for all that needs real parts: the whole on
// trixie, a smoke of the other releases and of clients that are older than their cluster.
//   node scripts/test.ts [--soak] [--release LAB]… [--only KIND] [FILE…]
// LAB: bookworm, trixie, forky: all of it there; mixed: the smoke on each of its hosts. FILEs choose among the test files by a part
// of their names. A skipped test fails the run.

import { globSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { command, type Lab, labFor, ROOT } from './command.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    soak: { type: 'boolean', default: false },
    only: { type: 'string' },
    release: { type: 'string', multiple: true },
  },
});

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  todo: number;
}

/** The Debian of each host. The first has the Ceph: 16 in bookworm, 18 in trixie, 20 in forky. */
const LABS = {
  bookworm: ['bookworm'],
  trixie: ['trixie'],
  forky: ['forky'],
  mixed: ['forky', 'bookworm', 'trixie'],
} as const;
type LabName = keyof typeof LABS;

/** Where each kind of test runs, how many files at a time, and how long the kind may take at most. */
const KINDS = {
  unit: { globs: ['test/unit/**/*.test.ts'], inLab: false, concurrency: 2, minutesMax: 5 },
  parts: {
    globs: ['packages/ceph-napi/test/**/*.test.ts', 'test/lab/!(whole|smoke)/**/*.test.ts'],
    inLab: true,
    concurrency: 2,
    minutesMax: values.soak ? 40 : 15,
  },
  // These share the host's one libvirtd and its installed siphon, which some of them kill: one file at a time.
  whole: {
    globs: ['packages/node-libvirt/test/**/*.test.ts', 'test/lab/whole/**/*.test.ts'],
    inLab: true,
    concurrency: 1,
    minutesMax: values.soak ? 60 : 30,
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

interface Step {
  readonly kind: Kind;
  /** Of the kind's files those with this in their names, or without that. */
  readonly part?: string;
  readonly not?: string;
}

const WHOLE: readonly Step[] = [{ kind: 'parts' }, { kind: 'whole' }, { kind: 'outside' }];
/** The package's test has hosts of all releases itself. */
const WHOLE_BUT_PACKAGE: readonly Step[] = [
  { kind: 'parts' },
  { kind: 'whole' },
  { kind: 'outside', not: 'package' },
];
const SMOKE: readonly Step[] = [{ kind: 'smoke' }];

/** What runs in which labs, in this order. */
function plan(): readonly (readonly [LabName, readonly Step[]])[] {
  const asked = values.release?.map((name) => {
    if (Object.hasOwn(LABS, name)) return name as LabName;
    throw new Error(`--release: ${Object.keys(LABS).join(', ')}, not '${name}'`);
  });
  const stepsOf = (name: LabName) =>
    LABS[name].length > 1 ? SMOKE : name === 'trixie' ? WHOLE : WHOLE_BUT_PACKAGE;
  return (
    asked?.map((name) => [name, stepsOf(name)] as const) ?? [
      ['trixie', WHOLE],
      // libvirt 9 does not say why a domain stopped: whether it moved away has to be seen.
      ['bookworm', [...SMOKE, { kind: 'outside', part: 'migration' }]],
      ['mixed', SMOKE],
    ]
  );
}

const total: Tally = { passed: 0, failed: 0, skipped: 0, todo: 0 };
const ended: string[] = [];

async function runAll(): Promise<boolean> {
  let isGreen = await runKind({ kind: 'unit' });
  for (const [name, steps] of plan()) isGreen = (await runIn(name, steps)) && isGreen;
  return isGreen;
}

/** Brings up a lab when the first kind that needs it comes. */
async function runIn(name: LabName, steps: readonly Step[]): Promise<boolean> {
  let isGreen = true;
  const inLab = steps.filter((step) => KINDS[step.kind].inLab && filesOf(step).length > 0);
  if (inLab.length > 0) {
    await using lab = await labWithSiphon(name);
    for (const host of lab.hosts) {
      const release = LABS[name][lab.hosts.indexOf(host)];
      for (const step of inLab) {
        const at = { name: `${release} (${name} ${host})`, lab, host };
        isGreen = (await runKind(step, at)) && isGreen;
      }
    }
  }
  for (const step of steps) {
    if (!KINDS[step.kind].inLab) isGreen = (await runKind(step, { name })) && isGreen;
  }
  return isGreen;
}

async function labWithSiphon(name: LabName): Promise<Lab> {
  if ((await command(['node', 'scripts/build.ts'], 60)) !== 0) throw new Error('the build failed');
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await labFor('test', LABS[name]));
  for (const host of lab.hosts) {
    const prepare = ['bash', `${ROOT}/test/lab/support/prepare-host.sh`];
    const prepared = await lab.exec(prepare, 120, {}, host);
    if (prepared !== 0) throw new Error(`siphon could not be installed in ${host} of ${name}`);
  }
  stack.move();
  return lab;
}

function filesOf({ kind, part = '', not }: Step): string[] {
  if (values.only !== undefined && values.only !== kind) return [];
  return globSync([...KINDS[kind].globs], { cwd: ROOT })
    .filter((file) => file.includes(part) && (not === undefined || !file.includes(not)))
    .filter((file) => positionals.length === 0 || positionals.some((each) => file.includes(each)))
    .toSorted();
}

interface Place {
  readonly name: string;
  readonly lab?: Lab;
  readonly host?: string;
}

async function runKind(step: Step, at?: Place): Promise<boolean> {
  const files = filesOf(step);
  if (files.length === 0) return true;
  const { kind } = step;
  const name = at === undefined ? kind : `${kind} on ${at.name}`;
  console.log(`\n== ${name}: ${files.length} files`);
  const tallyFile = path.join(ROOT, `.tally-${kind}-${process.pid}.log`);
  const argv = [
    `${ROOT}/node_modules/.bin/node`,
    '--test',
    `--test-concurrency=${KINDS[kind].concurrency}`,
    '--test-timeout=300000',
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${ROOT}/test/support/tally-reporter.ts`,
    `--test-reporter-destination=${tallyFile}`,
    ...files.map((file) => path.join(ROOT, file)),
  ];
  const env: Record<string, string> = values.soak ? { SIPHON_SOAK: '1' } : {};
  const seconds = KINDS[kind].minutesMax * 60;
  const { lab, host } = at ?? {};
  const code = lab
    ? await lab.exec(argv, seconds, env, host)
    : await command(argv, seconds, at ? { ...env, SIPHON_LAB_RELEASE: at.name } : env);
  return addTally(tallyFile, name, code);
}

/** A run that left no tally died: that is a failure, whatever its exit code said. */
function addTally(file: string, name: string, code: number): boolean {
  try {
    const tally = JSON.parse(readFileSync(file, 'utf8')) as Tally;
    for (const key of Object.keys(total) as (keyof Tally)[]) total[key] += tally[key];
    ended.push(`${name}: ${tally.passed} passed, ${tally.failed} failed`);
    return code === 0;
  } catch (cause) {
    console.error(`the tests of ${name} left no tally:`, cause);
    ended.push(`${name}: died (${code})`);
    return false;
  } finally {
    rmSync(file, { force: true });
  }
}

let isGreen = false;
try {
  isGreen = await runAll();
} catch (error) {
  console.error(error);
}
if (total.skipped + total.todo > 0) {
  console.error(
    `${total.skipped} skipped, ${total.todo} to do: a test that does not run is a defect`,
  );
  isGreen = false;
}
for (const line of ended) console.log(line);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = isGreen && total.failed === 0 && total.passed > 0 ? 0 : 1;
