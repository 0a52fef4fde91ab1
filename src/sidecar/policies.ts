// The snapshot policies that are in force: loaded at start, and again whenever the folder changes.

import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { type Policy, type PolicyProblem, PolicyStore } from '../snapshot/policy.ts';
import { OperatingError } from '../wire/errors.ts';

const FILES_MAX = 1000;
const FILE_BYTES_MAX = 1024 * 1024;

export interface Policies {
  readonly current: readonly Policy[];
  readonly problems: readonly PolicyProblem[];
  /** Takes up what the folder holds now; a file with an error leaves its last good version in force. @throws OperatingError */
  load(): Promise<void>;
}

export function openPolicies(folder: string, log: Logger): Policies {
  const store = new PolicyStore();
  let problems: readonly PolicyProblem[] = [];
  return {
    get current() {
      return store.policies;
    },
    get problems() {
      return problems;
    },
    async load() {
      const loaded = store.load(await readFolder(folder));
      problems = loaded.problems;
      for (const problem of problems) log.error({ problem }, 'a policy file has an error');
      log.info({ policies: loaded.policies.map((policy) => policy.name) }, 'policies in force');
    },
  };
}

async function readFolder(folder: string): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  try {
    const names = await readdir(folder);
    for (const name of names.filter((each) => each.endsWith('.toml')).slice(0, FILES_MAX)) {
      const path = join(folder, name);
      const found = await stat(path);
      if (found.isFile() && found.size <= FILE_BYTES_MAX)
        files.set(path, await readFile(path, 'utf8'));
    }
    return files;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return files;
    throw new OperatingError({ code: 'unavailable', op: 'read policies', subject: folder, cause });
  }
}
