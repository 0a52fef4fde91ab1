// Watches folders, and pokes whoever looks after them. What changed is looked up there, so that a lost or repeated event
// does no harm.

import { mkdir } from 'node:fs/promises';
import { watch } from 'chokidar';
import type { Logger } from 'pino';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';

export interface FolderWatch {
  readonly folder: string;
  /** Levels below it that are watched; a bound on watches. */
  readonly depth: number;
  /** The path of what came, changed or went. */
  readonly onChange: (path: string) => void;
  /** Whether a name below the folder is of no concern. */
  readonly isIgnored?: (path: string) => boolean;
}

/** Resolves when the folder is watched; what is there already is told by no event. @throws OperatingError: it cannot be made */
export async function watchFolder(options: FolderWatch, log: Logger): Promise<AsyncDisposable> {
  const { folder, depth, onChange, isIgnored } = options;
  await makeFolder(folder);
  const watcher = watch(folder, {
    depth,
    ignoreInitial: true,
    ...(isIgnored === undefined ? {} : { ignored: (path: string) => isIgnored(path) }),
  });
  watcher.on('all', (_, path) => onChange(path));
  // Watching is a shortcut: the start's own look, and the next event, still come.
  watcher.on('error', (error) => log.warn({ folder, err: error }, 'watching a folder failed'));
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  watcher.once('ready', resolve);
  await ready;
  return { [Symbol.asyncDispose]: () => watcher.close() };
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o755 });
  } catch (cause) {
    const code = codeOfErrno(-((cause as NodeJS.ErrnoException).errno ?? 0));
    throw new OperatingError({ code, op: 'make folder', subject: folder, cause });
  }
}

export interface Follower extends AsyncDisposable {
  /** Watches this folder, and no longer the one before. One call at a time. @throws OperatingError */
  follow(folder: string): Promise<void>;
}

/** Watches one folder at a time. */
export function createFollower(options: Omit<FolderWatch, 'folder'>, log: Logger): Follower {
  let followed: { readonly folder: string; readonly watch: AsyncDisposable } | undefined;
  const leave = async () => {
    await followed?.watch[Symbol.asyncDispose]();
    followed = undefined;
  };
  return {
    async follow(folder) {
      if (followed?.folder === folder) return;
      await leave();
      followed = { folder, watch: await watchFolder({ ...options, folder }, log) };
    },
    [Symbol.asyncDispose]: leave,
  };
}
