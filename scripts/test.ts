// npm test: unit tests on this machine, and lab hosts with siphon installed in them for all that needs real parts: the whole on
// trixie, a smoke of the other releases and of clients that are older than their cluster.
//   node scripts/test.ts [--soak] [--release LAB]… [--only KIND] [FILE…]
// LAB: bookworm, trixie, forky: all of it there; mixed: the smoke on each of its hosts. FILEs choose among the test files by a part
// of their names. A skipped test fails the run. Two lanes run side by side (scripts/test-plan.ts); what the second one prints
// comes in one piece, when the first one has ended.

import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';
import { command, type Lab, labFor, ROOT } from './command.ts';
import {
  filesOf,
  isSoak,
  KINDS,
  LABS,
  type LabName,
  type Plan,
  plansOfLanes,
  type Step,
} from './test-plan.ts';

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  todo: number;
}

interface Lane {
  readonly number: number;
  readonly plan: Plan;
  /** Where it prints: the terminal, or a descriptor. */
  readonly output?: number;
}

const total: Tally = { passed: 0, failed: 0, skipped: 0, todo: 0 };
const ended: string[] = [];

async function runAll(): Promise<boolean> {
  // Once for all: hosts of both lanes install what is in dist.
  if ((await command(['node', 'scripts/build.ts'], 60)) !== 0) throw new Error('the build failed');
  const [first = [], ...others] = plansOfLanes();
  const behind = others.map((plan, index) => runBehind(plan, index + 2));
  let isGreen = await runLane({ number: 1, plan: first });
  for (const { isGreen: isGreenToo, text } of await Promise.all(behind)) {
    process.stdout.write(text);
    isGreen &&= isGreenToo;
  }
  return isGreen;
}

/** Keeps what it prints to itself: no lane's lines stand among another's. */
async function runBehind(plan: Plan, number: number): Promise<{ isGreen: boolean; text: string }> {
  const file = path.join(ROOT, `.lane-${number}-${process.pid}.log`);
  const output = openSync(file, 'w');
  try {
    const isGreen = await runLane({ number, plan, output });
    return { isGreen, text: readFileSync(file, 'utf8') };
  } finally {
    closeSync(output);
    rmSync(file);
  }
}

/** Does not throw: the other lanes go on. */
async function runLane(lane: Lane): Promise<boolean> {
  let isGreen = true;
  try {
    for (const [name, steps] of lane.plan) isGreen = (await runIn(lane, name, steps)) && isGreen;
    return isGreen;
  } catch (error) {
    say(lane, inspect(error));
    ended.push(`lane ${lane.number}: died`);
    return false;
  }
}

function say({ output }: Lane, text: string): void {
  if (output === undefined) console.log(text);
  else writeSync(output, `${text}\n`);
}

/** Brings up a lab for those that run in one. */
async function runIn(
  lane: Lane,
  name: LabName | undefined,
  steps: readonly Step[],
): Promise<boolean> {
  let isGreen = true;
  const inLab = steps.filter((step) => KINDS[step.kind].inLab);
  if (name !== undefined && inLab.length > 0) {
    await using lab = await labWithSiphon(lane, name);
    for (const [index, host] of lab.hosts.entries()) {
      for (const step of inLab) {
        const at = { name: `${LABS[name][index]} (${name} ${host})`, lab, host };
        isGreen = (await runKind(lane, step, at)) && isGreen;
      }
    }
  }
  for (const step of steps) {
    if (KINDS[step.kind].inLab) continue;
    isGreen = (await runKind(lane, step, name && { name })) && isGreen;
  }
  return isGreen;
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

interface Place {
  readonly name: string;
  readonly lab?: Lab;
  readonly host?: string;
}

async function runKind(lane: Lane, step: Step, at?: Place): Promise<boolean> {
  const { kind } = step;
  const { concurrency, minutesMax } = KINDS[kind];
  const files = filesOf(step);
  const name = at === undefined ? kind : `${kind} on ${at.name}`;
  say(lane, `\n== ${name}: ${files.length} files`);
  const tallyFile = path.join(ROOT, `.tally-${lane.number}-${process.pid}.log`);
  const argv = [
    `${ROOT}/node_modules/.bin/node`,
    '--test',
    `--test-concurrency=${concurrency}`,
    '--test-timeout=300000',
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${ROOT}/test/support/tally-reporter.ts`,
    `--test-reporter-destination=${tallyFile}`,
    ...files.map((file) => path.join(ROOT, file)),
  ];
  const env: Record<string, string> = isSoak ? { SIPHON_SOAK: '1' } : {};
  const { lab, host } = at ?? {};
  const release = at ? { SIPHON_LAB_RELEASE: at.name } : {};
  const code = lab
    ? await lab.exec(argv, minutesMax * 60, env, host)
    : await command(argv, minutesMax * 60, { ...env, ...release }, lane.output);
  return addTally(lane, tallyFile, name, code);
}

/** A run that left no tally died: that is a failure, whatever its exit code said. */
function addTally(lane: Lane, file: string, name: string, code: number): boolean {
  try {
    const tally = JSON.parse(readFileSync(file, 'utf8')) as Tally;
    for (const key of Object.keys(total) as (keyof Tally)[]) total[key] += tally[key];
    ended.push(`${name}: ${tally.passed} passed, ${tally.failed} failed`);
    return code === 0;
  } catch (cause) {
    say(lane, `the tests of ${name} left no tally: ${inspect(cause)}`);
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
