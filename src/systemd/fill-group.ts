// Fill workers in a control group of their own, in the part of the tree that systemd gave this unit (Delegate=): siphond moves
// itself into one leaf, and its fill workers into another, which is limited. What a host does not offer is left out, and said.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type FillLimits, groupOf, planFillGroup } from './fill-group-plan.ts';

const TREE = '/sys/fs/cgroup';
const OWN = 'siphond';
const FILLS = 'fills';

export interface FillGroup {
  /** Moves a process there. It never throws: a fill outside is better than none, and is told. */
  readonly adopt: (pid: number) => void;
  readonly standing: FillGroupStanding;
}

export interface FillGroupStanding {
  /** What is in force: `memory.max=2147483648`. */
  readonly limits: readonly string[];
  /** Controllers that this host does not give; what they would limit is not limited. */
  readonly absent: readonly string[];
  /** Why there is no group, or not all of its limits. */
  readonly why?: string;
}

export interface FillGroupParts {
  readonly limits: FillLimits;
  readonly env?: NodeJS.ProcessEnv;
  /** For tests: another tree, another place in it. */
  readonly tree?: string;
  readonly warn: (text: string) => void;
}

/** Makes the group where the unit says that the tree is ours. Before any worker is started. */
export function openFillGroup(parts: FillGroupParts): FillGroup {
  const { limits, env = process.env, tree = TREE, warn } = parts;
  if (env['SIPHON_DELEGATED_CGROUP'] !== 'yes')
    return without('this siphond was not given a control group by its unit');
  try {
    const group = groupOf(readFileSync('/proc/self/cgroup', 'utf8'));
    if (group === undefined) return without('this host has no unified control groups');
    return make(path.join(tree, group), limits, warn);
  } catch (error) {
    warn((error as Error).message);
    return without((error as Error).message);
  }
}

function without(why: string): FillGroup {
  return { adopt: () => undefined, standing: { limits: [], absent: [], why } };
}

function make(root: string, wanted: FillLimits, warn: (text: string) => void): FillGroup {
  for (const name of [OWN, FILLS]) makeGroup(path.join(root, name));
  // A group that passes controllers on holds no processes itself (cgroup-v2.rst, "no internal process").
  writeFileSync(path.join(root, OWN, 'cgroup.procs'), String(process.pid));
  const available = readFileSync(path.join(root, 'cgroup.controllers'), 'utf8').split(/\s+/);
  const plan = planFillGroup(available, wanted);
  const failed: string[] = [];
  const write = (file: string, value: string): boolean => {
    try {
      writeFileSync(path.join(root, file), value);
      return true;
    } catch (error) {
      failed.push((error as Error).message);
      return false;
    }
  };
  for (const controller of plan.enable) write('cgroup.subtree_control', `+${controller}`);
  const inForce = plan.limits.filter(({ file, value }) => write(path.join(FILLS, file), value));
  for (const each of failed) warn(each);
  return {
    adopt(pid) {
      try {
        writeFileSync(path.join(root, FILLS, 'cgroup.procs'), String(pid));
      } catch (error) {
        warn(`a fill worker is not in its group: ${(error as Error).message}`);
      }
    },
    standing: {
      limits: inForce.map(({ file, value }) => `${file}=${value}`),
      absent: plan.absent,
      ...(failed.length > 0 && { why: failed.join('; ') }),
    },
  };
}

/** Not recursive: in a kernel's own tree that does not end where a folder cannot be made. */
function makeGroup(folder: string): void {
  try {
    mkdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
