// The hook's spool: events that siphond could not take when they came, caught up in their order. A file is removed when its
// event is recorded; one that cannot be read is set aside in `bad/`, for people. It has a folder on disk, and one in memory for
// when that disk is full.

import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import {
  type HookEvent,
  orderSpool,
  parseHookEvent,
  parseSpoolName,
  SPOOL_DROPPED,
} from '../hook/events.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Config } from './config/load.ts';

/** As much XML as is held at once; more is taken in the next round. */
const ROUND_BYTES_MAX = 64 * 1024 * 1024;
const FILE_BYTES_MAX = 16 * 1024 * 1024;
const BAD = 'bad';

/** On disk, and in memory beside the hook's socket: as the filter knows them. */
export function spoolFolders({ hook, api }: Pick<Config, 'hook' | 'api'>): readonly string[] {
  return [hook.spool, join(dirname(api.hookSocket), 'spool')];
}

export interface SpoolParts {
  readonly folders: readonly string[];
  /** Returns when all are recorded. */
  readonly catchUp: (events: readonly HookEvent[]) => Promise<void>;
  /** Events were lost: what libvirt says now must be looked at. */
  readonly onDropped: () => void;
  readonly log: Logger;
}

export interface Spool {
  /** Takes everything that is there. @throws OperatingError: the rest stays, for the next time */
  drain(signal: AbortSignal): Promise<void>;
  /** How many events wait. */
  count(): Promise<number>;
}

/** Makes the folders that are not there. */
export async function openSpool(parts: SpoolParts): Promise<Spool> {
  const { folders } = parts;
  for (const folder of folders) await mkdir(folder, { recursive: true, mode: 0o700 });
  return {
    async drain(signal) {
      while (!signal.aborted && (await drainRound(parts))) {
        // Until a round finds nothing.
      }
      for (const folder of folders) await tellDropped(parts, folder);
    },
    count: async () => (await waitingIn(folders)).length,
  };
}

interface Waiting {
  readonly folder: string;
  readonly name: string;
}

/** In the order of their events, wherever they are. */
async function waitingIn(folders: readonly string[]): Promise<readonly Waiting[]> {
  const found = new Map<string, Waiting>();
  for (const folder of folders)
    for (const name of await entriesOf(folder)) found.set(name, { folder, name });
  return orderSpool([...found.keys()]).flatMap((name) => found.get(name) ?? []);
}

async function entriesOf(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    // The hook makes the folder when it needs it, and its uninstallation removes an empty one.
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new OperatingError({ code: 'unavailable', op: 'read spool', subject: folder, cause });
  }
}

/** Whether there was anything. */
async function drainRound(parts: SpoolParts): Promise<boolean> {
  const { folders, catchUp, log } = parts;
  const waiting = await waitingIn(folders);
  const taken: (Waiting & { event: HookEvent })[] = [];
  let bytes = 0;
  for (const each of waiting) {
    const event = await readEvent(log, each);
    if (event === undefined) continue;
    taken.push({ ...each, event });
    bytes += event.xml.length;
    if (bytes >= ROUND_BYTES_MAX) break;
  }
  if (taken.length > 0) {
    log.info({ events: taken.length }, 'catching up with the spool');
    await catchUp(taken.map((each) => each.event));
  }
  for (const { folder, name } of taken) await rm(join(folder, name), { force: true });
  return waiting.length > 0;
}

/** undefined: it was no event, and was set aside. */
async function readEvent(log: Logger, { folder, name }: Waiting): Promise<HookEvent | undefined> {
  const call = parseSpoolName(name);
  try {
    if (call === null)
      throw new OperatingError({ code: 'usage', op: 'read spooled event', subject: name });
    const xml = await readXml(join(folder, name));
    return parseHookEvent({ ...call, xml }, { atMs: call.atMs, isLate: true });
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    log.warn({ file: name, error: error.toWire() }, 'a spooled event cannot be read: set aside');
    await setAside(folder, name);
    return undefined;
  }
}

async function readXml(file: string): Promise<string> {
  const fields = { op: 'read spooled event', subject: file } as const;
  try {
    await using handle = await open(
      file,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    const { size } = await handle.stat();
    if (size > FILE_BYTES_MAX)
      throw new OperatingError({ ...fields, code: 'usage', why: `it has ${size} bytes` });
    return await handle.readFile('utf8');
  } catch (cause) {
    if (cause instanceof OperatingError) throw cause;
    throw new OperatingError({ ...fields, code: 'unavailable', cause });
  }
}

async function setAside(folder: string, name: string): Promise<void> {
  await mkdir(join(folder, BAD), { recursive: true, mode: 0o700 });
  await rename(join(folder, name), join(folder, BAD, name)).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    },
  );
}

async function tellDropped({ log, onDropped }: SpoolParts, folder: string): Promise<void> {
  if (!(await entriesOf(folder)).includes(SPOOL_DROPPED)) return;
  log.warn({ folder }, 'the spool was full, and events were lost: libvirt is looked at anew');
  onDropped();
  await rm(join(folder, SPOOL_DROPPED), { force: true });
}
