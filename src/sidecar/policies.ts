// The snapshot policies that are in force: loaded at start, and again whenever the folder changes.

import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Logger, pino } from 'pino';
import { type PolicyProblem, PolicyStore, schedulesIn } from '../snapshot/policy.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Policy } from '../wire/vocabulary.ts';
import { createCheck, systemdCalendar } from './calendar.ts';
import { POLICIES_DEFAULT } from './config/schema.ts';

const FILES_MAX = 1000;
const FILE_BYTES_MAX = 1024 * 1024;

export interface Policies {
  readonly current: readonly Policy[];
  readonly problems: readonly PolicyProblem[];
  /** The folder is not there, and it is not the one of which that may be so. */
  readonly isMissing: boolean;
  /** Takes up what the folder holds now; a file with an error leaves its last good version in force. @throws OperatingError */
  load(): Promise<void>;
}

/** `folder` is asked at each load: a reload may name another. */
export function openPolicies(folder: () => string, log: Logger): Policies {
  const store = new PolicyStore();
  const findRefused = createCheck(systemdCalendar);
  let problems: readonly PolicyProblem[] = [];
  let told: readonly string[] | undefined;
  let isMissing = false;
  return {
    get current() {
      return store.policies;
    },
    get isMissing() {
      return isMissing;
    },
    get problems() {
      return problems;
    },
    async load() {
      const path = folder();
      const found = await readFolder(path);
      const files = found ?? new Map<string, string>();
      const loaded = store.load(files, await findRefused(schedulesIn(files)));
      // Whoever configures no folder may well have no policy.
      isMissing = found === undefined && path !== POLICIES_DEFAULT;
      const all = [...(isMissing ? [missing(path)] : []), ...loaded.problems];
      const fresh = all.filter((each) => !problems.some((old) => isDeepStrictEqual(old, each)));
      for (const problem of fresh) log.error({ problem }, 'the policies have an error');
      problems = all;
      const names = loaded.policies.map((policy) => policy.name);
      if (!isDeepStrictEqual(names, told)) log.info({ folder: path, policies: names }, IN_FORCE);
      told = names;
    },
  };
}

/** A folder of policies, with siphond or without: what is right, and what is wrong in it. Never throws for what is wrong with files. */
export async function lookAtPolicies(
  folder: string,
): Promise<Pick<Policies, 'current' | 'problems'>> {
  const policies = openPolicies(() => folder, pino({ level: 'silent' }));
  try {
    await policies.load();
    return policies;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { current: [], problems: [{ where: folder, what: error.message }] };
  }
}

const IN_FORCE = 'policies in force';

function missing(folder: string): PolicyProblem {
  return { where: folder, what: 'this folder of policies does not exist: none is in force' };
}

/** undefined: there is no such folder. */
async function readFolder(folder: string): Promise<ReadonlyMap<string, string> | undefined> {
  const files = new Map<string, string>();
  try {
    const names = await readdir(folder);
    for (const name of names.filter((each) => each.endsWith('.toml')).slice(0, FILES_MAX)) {
      const path = join(folder, name);
      const found = await stat(path, { throwIfNoEntry: false }); // it may be gone again
      if (found?.isFile() && found.size <= FILE_BYTES_MAX)
        files.set(path, await readFile(path, 'utf8'));
    }
    return files;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new OperatingError({ code: 'unavailable', op: 'read policies', subject: folder, cause });
  }
}
