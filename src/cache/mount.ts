// Whether guests see the bases through a read-only mount. Pure: the caller reads /proc/self/mountinfo (proc_pid_mountinfo(5)).

export const MOUNTINFO_PATH = '/proc/self/mountinfo';

/** Whether the topmost mount exactly at `path` is read-only; false where none is. */
export function isMountedReadOnly(mountInfo: string, path: string): boolean {
  const options = mountInfo
    .split('\n')
    .map((line) => line.split(' '))
    .findLast(([, , , , at]) => at !== undefined && unescapeMount(at) === path)?.[5];
  return options?.split(',').includes('ro') ?? false;
}

/** Space, tab, newline and backslash are written as \ooo. */
function unescapeMount(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
