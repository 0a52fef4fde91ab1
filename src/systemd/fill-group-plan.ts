// The control group of fill workers: which limits are written where, of those that this host's controllers offer. Pure.

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
  const files = [
    { controller: 'cpu', file: 'cpu.weight', value: wanted.cpuWeight },
    { controller: 'io', file: 'io.weight', value: `default ${wanted.ioWeight}` },
    { controller: 'memory', file: 'memory.max', value: wanted.memoryBytes },
    { controller: 'pids', file: 'pids.max', value: wanted.tasks },
  ];
  const offered = files.filter(({ controller }) => available.includes(controller));
  return {
    enable: offered.map(({ controller }) => controller),
    limits: offered.map(({ file, value }) => ({ file, value: String(value) })),
    absent: files.filter((each) => !offered.includes(each)).map(({ controller }) => controller),
  };
}

/** Where a process is in the one hierarchy, by /proc/PID/cgroup (cgroups(7)); undefined where it has none. */
export function groupOf(text: string): string | undefined {
  return /^0::(\/.*)$/m.exec(text)?.[1];
}
