// What failed its check is moved aside, for whoever wants to know what was there: a file and a note beside it, under names that are no
// bases', for a while and within a bound.

import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Quarantined } from '../wire/quarantine-api.ts';
import { onDisk, quarantineFolder, removeFile, statFile, syncFolder } from './files.ts';
import type { CacheParts } from './parts.ts';

const NOTE_SUFFIX = '.json';
type Note = Pick<Quarantined, 'source' | 'why' | 'atMs'>;

export interface QuarantineLimits {
  readonly ageMs: number;
  readonly limitBytes: number;
}

/** Nothing of it. */
export const NONE: QuarantineLimits = { ageMs: -1, limitBytes: 0 };

export type QuarantineDecision = Quarantined & { readonly reason: string };

/** What goes: the oldest first. Pure. */
export function planQuarantine(
  files: readonly Quarantined[],
  { ageMs, limitBytes }: QuarantineLimits,
  nowMs: number,
): QuarantineDecision[] {
  let leftBytes = limitBytes;
  return files
    .toSorted((a, b) => b.atMs - a.atMs)
    .flatMap((file) => {
      if (nowMs - file.atMs > ageMs) return [{ ...file, reason: 'it is there for too long' }];
      leftBytes -= file.allocatedBytes;
      return leftBytes < 0 ? [{ ...file, reason: 'quarantine has no room for it' }] : [];
    })
    .toReversed();
}

export class Quarantine {
  readonly #parts: Pick<CacheParts, 'settings' | 'now'>;

  constructor(parts: Pick<CacheParts, 'settings' | 'now'>) {
    this.#parts = parts;
  }

  /** A file that may not be there, of a job; what there is no room for is left to whoever asks. @throws OperatingError */
  async take(path: string, jobId: string, { source, why }: Omit<Note, 'atMs'>): Promise<void> {
    const found = await statFile(path);
    if (found === undefined) return;
    const { settings, now } = this.#parts;
    if (found.allocatedBytes > settings.quarantine.limitBytes) return;
    const folder = quarantineFolder(settings.path);
    const note: Note = { source, why, atMs: now() };
    await onDisk('quarantine', path, async () => {
      // The note first: a file without one says nothing.
      await writeFile(join(folder, `${jobId}${NOTE_SUFFIX}`), JSON.stringify(note), {
        flush: true,
      });
      await rename(path, join(folder, jobId));
      await syncFolder(folder);
    });
    await this.trim();
  }

  /** @throws OperatingError */
  async list(): Promise<Quarantined[]> {
    const folder = quarantineFolder(this.#parts.settings.path);
    return await onDisk('list', folder, async () => {
      const names = (await readdir(folder)).filter((name) => name.endsWith(NOTE_SUFFIX));
      const found = await Promise.all(names.map((name) => readOne(folder, name)));
      return found.filter((each) => each !== undefined).toSorted((a, b) => a.atMs - b.atMs);
    });
  }

  /** Of a siphond that ended in the middle of a move or a removal. For one that has just begun: nobody else works here then. */
  async settle(): Promise<void> {
    const folder = quarantineFolder(this.#parts.settings.path);
    const names = new Set(await onDisk('list', folder, () => readdir(folder)));
    for (const name of names) {
      const isNote = name.endsWith(NOTE_SUFFIX);
      const other = isNote ? name.slice(0, -NOTE_SUFFIX.length) : `${name}${NOTE_SUFFIX}`;
      if (!names.has(other)) await removeFile(join(folder, name));
    }
  }

  /** What would go now. */
  async plan(limits: QuarantineLimits = this.#parts.settings.quarantine) {
    return planQuarantine(await this.list(), limits, this.#parts.now());
  }

  /** Removes what is too old, or too much; tells which. */
  async trim(limits?: QuarantineLimits): Promise<readonly QuarantineDecision[]> {
    const going = await this.plan(limits);
    for (const { path } of going) {
      await removeFile(path);
      await removeFile(`${path}${NOTE_SUFFIX}`);
    }
    return going;
  }
}

/** undefined: it is being moved, or removed. */
async function readOne(folder: string, name: string): Promise<Quarantined | undefined> {
  const id = name.slice(0, -NOTE_SUFFIX.length);
  const path = join(folder, id);
  const file = await statFile(path);
  if (file === undefined) return undefined;
  const note = noteOf(await readFile(join(folder, name), 'utf8'));
  const { source, why, atMs } = note ?? { source: id, why: 'its note is damaged', atMs: 0 };
  return { id, path, source, why, atMs, allocatedBytes: file.allocatedBytes };
}

/** undefined: it is not siphon's, or was cut off. */
function noteOf(text: string): Note | undefined {
  try {
    const { source, why, atMs } = JSON.parse(text) as Partial<Record<keyof Note, unknown>>;
    const isNote = typeof source === 'string' && typeof why === 'string' && Number.isFinite(atMs);
    return isNote ? { source, why, atMs: Number(atMs) } : undefined;
  } catch {
    return undefined;
  }
}
