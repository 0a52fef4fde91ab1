// What must not be in anybody's way: the lowest priority for disks and processors (ioprio_set(2), setpriority(2)).

import { readdirSync } from 'node:fs';
import { setPriority } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { libc } from '../systemd/libc.ts';

/** asm/unistd.h */
const IOPRIO_SET: Readonly<Partial<Record<string, number>>> = { x64: 251, arm64: 30 };
/** linux/ioprio.h */
const IOPRIO_WHO_PROCESS = 1;
const IOPRIO_CLASS_IDLE = 3 << 13;
const NICEST = 19;

/** For all threads of this process; those that begin later begin so. undefined: it is done; else why not. */
export async function becomeIdle(): Promise<string | undefined> {
  const { syscall, errno } = await libc();
  const number = IOPRIO_SET[process.arch];
  if (number === undefined) return `siphon does not know how on ${process.arch}`;
  for (const thread of readdirSync('/proc/self/task').map(Number)) {
    if (syscall(number, IOPRIO_WHO_PROCESS, thread, IOPRIO_CLASS_IDLE) !== 0)
      return `ioprio_set: ${getSystemErrorName(-errno())}`;
    try {
      setPriority(thread, NICEST);
    } catch (error) {
      return (error as Error).message;
    }
  }
  return undefined;
}
