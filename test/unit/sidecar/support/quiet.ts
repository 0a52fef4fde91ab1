// A log that keeps its lines, and a folder that goes with its test.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog } from '../../../../src/sidecar/log.ts';

export function keptLog() {
  const lines: string[] = [];
  return { lines, log: createLog('debug', { write: (line: string) => lines.push(line) }) };
}

export async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'siphon-test-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Waits for a condition, at most 5 s. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + 5000;
  while (!(await condition())) {
    if (Date.now() > deadlineMs) throw new Error(`never came true: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
