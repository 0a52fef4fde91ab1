// Capabilities that systemd gave this process alone: from here on no program that it starts gets them (capabilities(7), "ambient").

import { readFileSync } from 'node:fs';
import { libc } from './libc.ts';

const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;

/**
 * Keeps what this process has, and hands nothing on. Before the first child, on the main thread: the ambient set is a thread's, and
 * children are made by this one. @throws Error
 */
export async function keepCapabilities(): Promise<void> {
  if (!hasAmbient(readFileSync('/proc/self/status', 'utf8'))) return;
  const { prctl, errno } = await libc();
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) !== 0)
    throw new Error(`capabilities would be handed on to workers: errno ${errno()}`);
}

/** Whether the text of /proc/PID/status tells of capabilities that a program started by it would have. */
export function hasAmbient(status: string): boolean {
  const found = /^CapAmb:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return found !== undefined && BigInt(`0x${found}`) !== 0n;
}
