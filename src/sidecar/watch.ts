// Watches folders, and pokes whoever looks after them. What changed is looked up there, so that a lost or repeated event
// does no harm.

import { mkdir } from 'node:fs/promises';
import { watch } from 'chokidar';
import type { Logger } from 'pino';

export interface FolderWatch {
  readonly folder: string;
  /** Levels below it that are watched; a bound on watches. */
  readonly depth: number;
  /** The path of what came, changed or went. */
  readonly onChange: (path: string) => void;
  /** Whether a name below the folder is of no concern. */
  readonly isIgnored?: (path: string) => boolean;
}

/** Resolves when the folder is watched; what is there already is told by no event. */
export async function watchFolder(options: FolderWatch, log: Logger): Promise<AsyncDisposable> {
  const { folder, depth, onChange, isIgnored } = options;
  await mkdir(folder, { recursive: true, mode: 0o755 });
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
