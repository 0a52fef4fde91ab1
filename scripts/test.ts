// npm test: unit tests on this machine, then a lab host with siphon installed in it for all that needs real parts.
//   node scripts/test.ts [--soak] [--only unit|parts|whole|outside] [FILE…]
// FILEs choose among the test files by a part of their names. A skipped test fails the run.

import { globSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { command, type Lab, labFor, ROOT } from './command.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { soak: { type: 'boolean', default: false }, only: { type: 'string' } },
});

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  todo: number;
}

/** Where each kind of test runs, how many files at a time, and how long the kind may take at most. */
const KINDS = {
  unit: { globs: ['test/unit/**/*.test.ts'], inLab: false, concurrency: 2, minutesMax: 5 },
  parts: {
    globs: ['packages/ceph-napi/test/**/*.test.ts', 'test/lab/!(whole)/**/*.test.ts'],
    inLab: true,
    concurrency: 2,
    minutesMax: values.soak ? 40 : 15,
  },
  // These share the host's one libvirtd and its installed siphon, which some of them kill: one file at a time.
  whole: {
    globs: ['packages/node-libvirt/test/**/*.test.ts', 'test/lab/whole/**/*.test.ts'],
    inLab: true,
    concurrency: 1,
    minutesMax: values.soak ? 60 : 20,
  },
  outside: { globs: ['test/outside/**/*.test.ts'], inLab: false, concurrency: 1, minutesMax: 10 },
} as const;
type Kind = keyof typeof KINDS;

const total: Tally = { passed: 0, failed: 0, skipped: 0, todo: 0 };

/** Brings up the one lab of this run when the first kind that needs it comes. */
async function labWithSiphon(stack: AsyncDisposableStack): Promise<Lab> {
  if ((await command(['node', 'scripts/build.ts'], 60)) !== 0) throw new Error('the build failed');
  const lab = stack.use(await labFor('test'));
  const prepared = await lab.exec(['bash', `${ROOT}/test/lab/support/prepare-host.sh`], 120);
  if (prepared !== 0) throw new Error('siphon could not be installed in the lab host');
  return lab;
}

async function runAll(): Promise<boolean> {
  await using stack = new AsyncDisposableStack();
  let lab: Lab | undefined;
  let isGreen = true;
  for (const kind of Object.keys(KINDS) as Kind[]) {
    if (values.only !== undefined && values.only !== kind) continue;
    const files = filesOf(kind);
    if (files.length === 0) continue;
    if (KINDS[kind].inLab) lab ??= await labWithSiphon(stack);
    console.log(`\n== ${kind}: ${files.length} files`);
    isGreen = (await runKind(kind, files, KINDS[kind].inLab ? lab : undefined)) && isGreen;
  }
  return isGreen;
}

function filesOf(kind: Kind): string[] {
  return globSync([...KINDS[kind].globs], { cwd: ROOT })
    .filter((file) => positionals.length === 0 || positionals.some((part) => file.includes(part)))
    .toSorted();
}

async function runKind(
  kind: Kind,
  files: readonly string[],
  lab: Lab | undefined,
): Promise<boolean> {
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
  const env = values.soak ? { SIPHON_SOAK: '1' } : {};
  const seconds = KINDS[kind].minutesMax * 60;
  const code = lab ? await lab.exec(argv, seconds, env) : await command(argv, seconds, env);
  return addTally(tallyFile, kind) && code === 0;
}

/** A run that left no tally died: that is a failure, whatever its exit code said. */
function addTally(file: string, kind: Kind): boolean {
  try {
    const tally = JSON.parse(readFileSync(file, 'utf8')) as Tally;
    for (const key of Object.keys(total) as (keyof Tally)[]) total[key] += tally[key];
    return true;
  } catch (cause) {
    console.error(`the ${kind} tests left no tally:`, cause);
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
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = isGreen && total.failed === 0 && total.passed > 0 ? 0 : 1;
