// The control groups of fill workers, and of the scrub: which limits are written where, of those that this host's controllers offer. Pure.

export interface FillLimits {
  readonly memoryBytes: number;
  readonly tasks: number;
  /** 1 to 10,000; any other group has 100. */
  readonly cpuWeight: number;
  readonly ioWeight: number;
}

export interface FillGroupPlan {
  /** For cgroup.subtree_control, each by itself. */
  readonly enable: readonly string[];
  /** Files of the group and what is written into them (cgroup-v2.rst). */
  readonly limits: readonly { readonly file: string; readonly value: string }[];
  /** Controllers that are not there: what they would limit is not limited. */
  readonly absent: readonly string[];
}

/** `available`: what cgroup.controllers says. */
export function planFillGroup(available: readonly string[], wanted: FillLimits): FillGroupPlan {
  return planGroup(available, [
    { controller: 'cpu', file: 'cpu.weight', value: wanted.cpuWeight },
    { controller: 'io', file: 'io.weight', value: `default ${wanted.ioWeight}` },
    { controller: 'memory', file: 'memory.max', value: wanted.memoryBytes },
    { controller: 'pids', file: 'pids.max', value: wanted.tasks },
  ]);
}

const SCRUB_BYTES = 512 * 1024 ** 2;
const SCRUB_TASKS = 256;

/** Of the one scrub that runs: whoever else wants the disk or a processor goes first (cgroup-v2.rst; io.prio.class is of Linux 5.14). */
export function planScrubGroup(available: readonly string[]): FillGroupPlan {
  return planGroup(available, [
    { controller: 'cpu', file: 'cpu.weight', value: 1 },
    { controller: 'io', file: 'io.weight', value: 'default 1' },
    { controller: 'io', file: 'io.prio.class', value: 'idle' },
    { controller: 'memory', file: 'memory.max', value: SCRUB_BYTES },
    { controller: 'pids', file: 'pids.max', value: SCRUB_TASKS },
  ]);
}

interface Limit {
  readonly controller: string;
  readonly file: string;
  readonly value: string | number;
}

function planGroup(available: readonly string[], files: readonly Limit[]): FillGroupPlan {
  const offered = files.filter(({ controller }) => available.includes(controller));
  const absent = files.filter((each) => !offered.includes(each));
  return {
    enable: [...new Set(offered.map(({ controller }) => controller))],
    limits: offered.map(({ file, value }) => ({ file, value: String(value) })),
    absent: [...new Set(absent.map(({ controller }) => controller))],
  };
}

/** Where a process is in the one hierarchy, by /proc/PID/cgroup (cgroups(7)); undefined where it has none. */
export function groupOf(text: string): string | undefined {
  return /^0::(\/.*)$/m.exec(text)?.[1];
}
