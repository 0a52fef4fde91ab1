// npm test: unit tests on this machine, and lab hosts with siphon installed in them for all that needs real parts: the whole on
// trixie, a smoke of the other releases and of clients that are older than their cluster.
//   node scripts/test.ts [--soak] [--release LAB]… [--only KIND] [FILE…]
// LAB: bookworm, trixie, forky: all of it there; mixed: the smoke on each of its hosts. FILEs choose among the test files by a part
// of their names. A skipped test fails the run. Two lanes run side by side (scripts/test-plan.ts); what the second one prints
// comes in one piece, when the first one has ended. A few files that failed are run once more, alone.

import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { loadavg } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { command, type Lab, labFor, ROOT } from './command.ts';
import {
  filesOf,
  KINDS,
  LABS,
  type LabName,
  type Plan,
  plansOfLanes,
  type Step,
} from './test-plan.ts';
import { failedFiles, type Lane, type Run, runKind, say, sumOf, type Tally } from './test-run.ts';

/** Files that failed: so many are run once more, alone. */
const AGAIN_MAX = 4;
/** Of each run: so many are told once more at the end. */
const FAILURES_MAX = 12;

const runs: Run[] = [];
const deaths: string[] = [];

async function runAll(): Promise<void> {
  // Once for all: hosts of both lanes install what is in dist.
  if ((await command(['node', 'scripts/build.ts'], 60)) !== 0) throw new Error('the build failed');
  const [first = [], ...others] = plansOfLanes();
  const behind = others.map((plan, index) => runBehind(plan, index + 2));
  await runLane({ number: 1 }, first);
  for (const text of await Promise.all(behind)) process.stdout.write(text);
}

/** Keeps what it prints to itself: no lane's lines stand among another's. */
async function runBehind(plan: Plan, number: number): Promise<string> {
  const file = path.join(ROOT, `.lane-${number}-${process.pid}.log`);
  const output = openSync(file, 'w');
  try {
    await runLane({ number, output }, plan);
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(output);
    rmSync(file);
  }
}

/** Does not throw: the other lanes go on. */
async function runLane(lane: Lane, plan: Plan): Promise<void> {
  try {
    for (const [name, steps] of plan) await runIn(lane, name, steps);
  } catch (error) {
    say(lane, inspect(error));
    deaths.push(`lane ${lane.number}: died`);
  }
}

/** Brings up a lab for those that run in one. */
async function runIn(lane: Lane, name: LabName | undefined, steps: readonly Step[]): Promise<void> {
  const inLab = steps.filter((step) => KINDS[step.kind].inLab);
  if (name !== undefined && inLab.length > 0) {
    await using lab = await labWithSiphon(lane, name);
    for (const [index, host] of lab.hosts.entries()) {
      const place = { title: `${LABS[name][index]} (${name} ${host})`, labName: name, lab, host };
      for (const step of inLab) runs.push(await runKind(lane, step, filesOf(step), place));
    }
  }
  const place = name && { title: name, labName: name };
  for (const step of steps) {
    if (!KINDS[step.kind].inLab) runs.push(await runKind(lane, step, filesOf(step), place));
  }
}

async function labWithSiphon({ number, output }: Lane, name: LabName): Promise<Lab> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await labFor(`test-${number}`, LABS[name], output));
  for (const host of lab.hosts) {
    const prepare = ['bash', `${ROOT}/test/lab/support/prepare-host.sh`];
    const prepared = await lab.exec(prepare, 120, {}, host);
    if (prepared !== 0) throw new Error(`siphon could not be installed in ${host} of ${name}`);
  }
  stack.move();
  return lab;
}

/**
 * Two cores and two lanes: what failed there is run once more, in a lab of its own and with nothing beside it. Only a few files, and
 * none where a process crashed or a run died: that may be rare, and is there. Both outcomes are printed: what passes only then is a weakness to mend.
 */
async function runFailedAgain(): Promise<void> {
  const red = runs.filter(({ isGreen }) => !isGreen);
  const counts = red.map((run) => failedFiles(run).length);
  const hasCrashed = red.some(({ files = new Map() }) => sumOf(files.values()).crashed > 0);
  if (deaths.length > 0 || hasCrashed || counts.includes(0) || sum(counts) > AGAIN_MAX) return;
  for (const run of red) run.again = await runAgain(run);
}

async function runAgain(run: Run): Promise<Run> {
  const { step, place } = run;
  const lane = { number: 1 };
  await using lab = place?.lab && (await labWithSiphon(lane, place.labName));
  const again = await runKind(
    lane,
    step,
    failedFiles(run),
    place && { ...place, ...(lab && { lab }) },
  );
  return { ...again, title: `${again.title}, once more` };
}

const sum = (counts: readonly number[]) => counts.reduce((all, each) => all + each, 0);

/** The tallies that count: of what was run again, the second. */
function talliesOf({ files = new Map(), again }: Run): readonly Tally[] {
  return [...new Map([...files, ...(again?.files ?? [])]).values()];
}

/** Of the machine's processors since it is on, in hundredths of a second: all, and what others on its hardware had instead (proc(5)). */
function ticks(): { readonly all: number; readonly stolen: number } {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const [, ...counts] = line.trim().split(/ +/).map(Number);
  return { all: sum(counts.slice(0, 8)), stolen: counts[7] ?? 0 };
}

/** A machine that others slow down is not told from a slow siphon by anything else. */
function machineSince(before: ReturnType<typeof ticks>): string {
  const now = ticks();
  const share = (now.stolen - before.stolen) / (now.all - before.all);
  return `the machine: ${(100 * share).toFixed(1)} % of its time stolen, load ${loadavg()[2]?.toFixed(1)}`;
}

function lineOf({ title, files }: Run): string {
  if (files === undefined) return `${title}: died`;
  const { passed, failed } = sumOf(files.values());
  return `${title}: ${passed} passed, ${failed} failed`;
}

const before = ticks();
try {
  await runAll();
  await runFailedAgain();
} catch (error) {
  console.error(error);
  deaths.push('the run died');
}
const total = sumOf(runs.flatMap(talliesOf));
const notRun = total.skipped + total.todo;
if (notRun > 0) console.error(`${notRun} skipped or to do: a test that does not run is a defect`);
const all = runs.flatMap((run) => [run, run.again ?? []].flat());
// Last, for one who sees only the end.
for (const { title, files = new Map<string, Tally>() } of all) {
  for (const failure of sumOf(files.values()).failures.slice(0, FAILURES_MAX)) {
    console.log(`\nfailed: ${title}: ${failure}`);
  }
}
for (const run of all) console.log(lineOf(run));
for (const death of deaths) console.log(death);
console.log(machineSince(before));
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
const isGreen = runs.every((run) => run.isGreen || run.again?.isGreen) && deaths.length === 0;
process.exitCode = isGreen && notRun === 0 && total.failed === 0 && total.passed > 0 ? 0 : 1;
