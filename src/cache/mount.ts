// What this process's mounts say: whether guests see the bases through a read-only one, and what is hidden. Pure: the caller reads /proc/self/mountinfo (proc_pid_mountinfo(5)).

export const MOUNTINFO_PATH = '/proc/self/mountinfo';

/** Whether the topmost mount exactly at `path` is read-only; false where none is. */
export function isMountedReadOnly(mountInfo: string, path: string): boolean {
  const options = mountInfo
    .split('\n')
    .map((line) => line.split(' '))
    .findLast(([, , , , at]) => at !== undefined && unescapeMount(at) === path)?.[5];
  return options?.split(',').includes('ro') ?? false;
}

/** Folders of which this process has its own, and does not see the host's: systemd.exec(5), PrivateTmp=. */
export function privateFolders(mountInfo: string): string[] {
  return mountInfo
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , , root = '']) => /\/systemd-private-[^/]+\/tmp$/.test(root))
    .flatMap(([, , , , at]) => (at === undefined ? [] : unescapeMount(at)));
}

/** Space, tab, newline and backslash are written as \ooo. */
function unescapeMount(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
