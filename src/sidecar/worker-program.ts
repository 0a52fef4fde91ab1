// The one child program: beside this file's bundle where it is bundled, else in its room's sources. The libvirt worker is another
// user's, where a unit says so.

import { fileURLToPath } from 'node:url';
import type { ChildProgram, WorkerProgram } from '../worker/supervisor/index.ts';

export function workerProgram(): ChildProgram {
  const isBundled = !import.meta.url.endsWith('.ts');
  const entry = new URL(isBundled ? './worker.mjs' : '../worker/main.ts', import.meta.url);
  return { execPath: process.execPath, args: [fileURLToPath(entry)] };
}

/** A socket of systemd's where siphond's unit names it. */
export function libvirtProgram(env = process.env): WorkerProgram {
  const socketPath = env['SIPHON_LIBVIRT_WORKER'];
  return socketPath === undefined ? workerProgram() : { socketPath };
}
