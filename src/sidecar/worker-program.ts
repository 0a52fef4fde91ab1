// The one child program: beside this file's bundle where it is bundled, else in its room's sources.

import { fileURLToPath } from 'node:url';
import type { WorkerProgram } from '../worker/supervisor/index.ts';

export function workerProgram(): WorkerProgram {
  const isBundled = !import.meta.url.endsWith('.ts');
  const entry = new URL(isBundled ? './worker.mjs' : '../worker/main.ts', import.meta.url);
  return { execPath: process.execPath, args: [fileURLToPath(entry)] };
}
