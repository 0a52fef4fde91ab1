// Which bases the overlays on this host lean on, whether a domain has them or not: files that begin as a qcow2 does, in the
// folders where overlays lie. Unknown use is use: what a look could not see counts for every base.
//
// A guest may write a qcow2 header into its raw disk. It can only make bases stay so; and what a domain has as raw is left out.

import type { Dir } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { baseId } from '../domain/base-path.ts';
import type { Domain } from '../domain/domain.ts';
import { OperatingError } from '../wire/errors.ts';
import { type ChainReaders, chainEndOf } from './chain.ts';
import { onDisk } from './files.ts';
import { createHeaderReader } from './headers.ts';
import type { CacheParts } from './parts.ts';

/** How far a look goes; what is beyond is unknown. */
const DEPTH_MAX = 3;
const FILES_MAX = 20_000;
const DOMAIN_FOLDERS_MAX = 4000;
const LOOK_MS_MAX = 10_000;
/** The inventory names each domain's disks several times in this. */
const RAW_MS = 3_600_000;

/** What one look saw. */
export interface OverlayLook {
  /** An overlay's path, by the id of the base that it leans on. */
  readonly byBase: ReadonlyMap<string, string>;
  /** Why there may be more. */
  readonly unknown?: string | undefined;
}

export interface Overlays {
  /** Where this domain's disks lie, overlays may lie too. */
  note(domain: Domain): void;
  /** Looks at all folders; the look begins after the call. Never rejects for what the disk does not tell. */
  look(): Promise<OverlayLook>;
}

export function createOverlays(
  { settings, hiddenFolders }: Pick<CacheParts, 'settings' | 'hiddenFolders'>,
  readers: ChainReaders,
): Overlays {
  const headers = createHeaderReader(FILES_MAX);
  const near: Nearby = {
    folders: new Set(),
    rawDisks: new LRUCache({ max: FILES_MAX, ttl: RAW_MS }),
    hidden: hiddenFolders,
    readers: { ...readers, readHeader: (path) => headers.read(path) },
  };
  // One look at a time; whoever asks meanwhile joins the next one.
  let last: Promise<unknown> = Promise.resolve();
  let next: Promise<OverlayLook> | undefined;
  const begin = () => {
    next = undefined;
    return bounded(new Look(near, settings.overlayFolders));
  };
  return {
    note: (domain) => noteDisks(near, domain),
    look() {
      next ??= last.then(begin, begin);
      last = next;
      return next;
    },
  };
}

interface Nearby {
  /** Where domains' disks lie. */
  readonly folders: Set<string>;
  readonly rawDisks: LRUCache<string, true>;
  readonly hidden: readonly string[];
  readonly readers: ChainReaders;
}

function noteDisks({ folders, rawDisks }: Nearby, { disks }: Domain): void {
  for (const { source, format } of disks) {
    if (source.kind !== 'file') continue;
    // One more than the bound tells a look that it is exceeded.
    if (folders.size <= DOMAIN_FOLDERS_MAX) folders.add(dirname(source.path));
    if (format === undefined || format === 'raw') rawDisks.set(source.path, true);
    else rawDisks.delete(source.path);
  }
}

async function bounded(look: Look): Promise<OverlayLook> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, LOOK_MS_MAX);
  try {
    const run = look.run().then(() => 'done' as const);
    if ((await Promise.race([run, late])) !== 'done')
      look.stop(`the look at them took over ${LOOK_MS_MAX / 1000} s`);
  } finally {
    clearTimeout(timer);
  }
  return { byBase: look.byBase, unknown: look.unknown };
}

class Look implements OverlayLook {
  readonly byBase = new Map<string, string>();
  unknown: string | undefined;
  readonly #near: Nearby;
  readonly #folders: readonly string[];
  #files = 0;
  #isOver = false;

  constructor(near: Nearby, folders: readonly string[]) {
    this.#near = near;
    this.#folders = folders;
  }

  async run(): Promise<void> {
    const { folders: domainFolders } = this.#near;
    for (const folder of this.#folders) await this.#lookInto(folder, DEPTH_MAX);
    for (const folder of domainFolders) {
      if (this.#folders.some((each) => isWithin(folder, each))) continue;
      // Only the folder itself: a disk in / must not mean the whole disk.
      if (!(await this.#lookInto(folder, 0))) domainFolders.delete(folder);
    }
    if (domainFolders.size > DOMAIN_FOLDERS_MAX)
      this.stop(`domains have disks in over ${DOMAIN_FOLDERS_MAX} folders`);
  }

  stop(why: string): void {
    this.unknown ??= why;
    this.#isOver = true;
  }

  /** `depth`: levels that are looked into; 0: the folder's files alone. False: proved not to be there. */
  async #lookInto(path: string, depth: number): Promise<boolean> {
    const { readers, hidden } = this.#near;
    if (readers.roots.some((root) => isWithin(path, root))) return true;
    if (hidden.some((folder) => isWithin(path, folder))) {
      this.unknown ??= `siphond does not see the host's ${path}`;
      return true;
    }
    try {
      await onDisk('look for overlays', path, async () => {
        await this.#lookThrough(await opendir(path), path, depth);
      });
      return true;
    } catch (error) {
      return !this.#isAbsent(error);
    }
  }

  async #lookThrough(folder: Dir, path: string, depth: number): Promise<void> {
    for await (const entry of folder) {
      const inside = join(path, entry.name);
      if (this.#isOver) return;
      if (entry.isFile()) await this.#lookAt(inside);
      else if (entry.isDirectory() && depth > 1) await this.#lookInto(inside, depth - 1);
      else if (entry.isDirectory() && depth === 1)
        this.unknown ??= `${inside} is more than ${DEPTH_MAX} folders deep`;
    }
  }

  async #lookAt(path: string): Promise<void> {
    const { rawDisks, readers } = this.#near;
    if (rawDisks.has(path)) return;
    this.#files += 1;
    if (this.#files > FILES_MAX) return this.stop(`there are over ${FILES_MAX} files`);
    // A name that is not UTF-8 cannot be opened by what is left of it.
    if (path.includes('\u{fffd}')) this.unknown ??= `${path}: its name is not UTF-8`;
    try {
      const header = await readers.readHeader(path);
      if (header.kind === 'not-qcow2') return;
    } catch (error) {
      this.#isAbsent(error);
      return;
    }
    const end = await chainEndOf(path, readers);
    if (end.kind === 'base') this.byBase.set(baseId(end.base.ids), path);
    if (end.kind === 'unknown') this.unknown ??= `${path}: ${end.reason}`;
  }

  /** It went while the look was under way, or was never there; any other error leaves it unknown. */
  #isAbsent(error: unknown): boolean {
    if (!(error instanceof OperatingError)) throw error;
    if (error.code === 'not-found') return true;
    this.unknown ??= error.message;
    return false;
  }
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
}
