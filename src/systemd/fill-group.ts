// Fill workers in a control group of their own, in the part of the tree that systemd gave this unit (Delegate=): siphond moves
// itself into one leaf, and its fill workers into another, which is limited. What a host does not offer is left out, and said.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  type FillGroupPlan,
  type FillLimits,
  groupOf,
  planFillGroup,
  planScrubGroup,
} from './fill-group-plan.ts';

const TREE = '/sys/fs/cgroup';
const OWN = 'siphond';
const FILLS = 'fills';
const SCRUBS = 'scrubs';

export interface FillGroup {
  /** Moves a process there. It never throws: a fill outside is better than none, and is told. */
  readonly adopt: (pid: number) => void;
  /** Where nobody is kept waiting. */
  readonly adoptIdle: (pid: number) => void;
  readonly standing: FillGroupStanding;
}

export interface FillGroupStanding {
  /** What is in force: `memory.max=2147483648`. */
  readonly limits: readonly string[];
  /** Controllers that this host does not give; what they would limit is not limited. */
  readonly absent: readonly string[];
  /** Of the scrub's group, likewise. */
  readonly scrubs?: readonly string[];
  /** Why there is no group, or not all of its limits. */
  readonly why?: string;
}

export interface FillGroupParts {
  /** As they are now; they are put in force before each fill. */
  readonly limits: () => FillLimits;
  readonly env?: NodeJS.ProcessEnv;
  /** For tests: another tree, another place in it. */
  readonly tree?: string;
  readonly warn: (text: string) => void;
}

/** Makes the group where the unit says that the tree is ours. Before any worker is started. */
export function openFillGroup(parts: FillGroupParts): FillGroup {
  const { env = process.env, tree = TREE, warn } = parts;
  if (env['SIPHON_DELEGATED_CGROUP'] !== 'yes')
    return without('this siphond was not given a control group by its unit');
  try {
    const group = groupOf(readFileSync('/proc/self/cgroup', 'utf8'));
    if (group === undefined) return without('this host has no unified control groups');
    return make(path.join(tree, group), parts);
  } catch (error) {
    warn((error as Error).message);
    return without((error as Error).message);
  }
}

function without(why: string): FillGroup {
  const adopt = () => undefined;
  return { adopt, adoptIdle: adopt, standing: { limits: [], absent: [], why } };
}

function make(root: string, { limits, warn }: FillGroupParts): FillGroup {
  for (const name of [OWN, FILLS, SCRUBS]) makeGroup(path.join(root, name));
  // A group that passes controllers on holds no processes itself (cgroup-v2.rst, "no internal process").
  writeFileSync(path.join(root, OWN, 'cgroup.procs'), String(process.pid));
  const available = readFileSync(path.join(root, 'cgroup.controllers'), 'utf8').split(/\s+/);
  const apply = () => {
    const found = limit(root, FILLS, planFillGroup(available, limits()));
    if (found.why !== undefined) warn(found.why);
    return found;
  };
  const move = (pid: number, group: string) => {
    try {
      writeFileSync(path.join(root, group, 'cgroup.procs'), String(pid));
    } catch (error) {
      warn(`a worker of ${group} is not in its group: ${(error as Error).message}`);
    }
  };
  let standing = apply();
  const idle = limit(root, SCRUBS, planScrubGroup(available));
  if (idle.why !== undefined) warn(`scrubs are not wholly idle: ${idle.why}`);
  return {
    get standing() {
      return { ...standing, scrubs: idle.limits };
    },
    adopt(pid) {
      standing = apply();
      move(pid, FILLS);
    },
    adoptIdle: (pid) => move(pid, SCRUBS),
  };
}

/** Writes the limits, each by itself: what the kernel takes is in force. */
function limit(
  root: string,
  group: string,
  { enable, limits, absent }: FillGroupPlan,
): FillGroupStanding {
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
  for (const controller of enable) write('cgroup.subtree_control', `+${controller}`);
  const inForce = limits.filter(({ file, value }) => write(path.join(group, file), value));
  return {
    limits: inForce.map(({ file, value }) => `${file}=${value}`),
    absent,
    ...(failed.length > 0 && { why: failed.join('; ') }),
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
