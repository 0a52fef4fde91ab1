// Looks at what the config names on this host: files, sockets, disks, siphond.

import { readdir, readFile, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isMountedReadOnly, MOUNTINFO_PATH } from '../../cache/mount.ts';
import { orderSpool, parseSpoolName } from '../../hook/events.ts';
import type { BasesAnswer, StatusAnswer } from '../../wire/api.ts';
import type { Config } from '../config/load.ts';
import { spoolFolders } from '../spool.ts';
import { getJson, look, mayWriteIn } from './bounds.ts';
import type { DiskFacts, SiphondFacts, SocketFacts, SpoolFacts } from './facts.ts';

export function gatherSockets({ api }: Config): Promise<SocketFacts[]> {
  const wanted = [
    [api.socket, 0o660, 'siphon-admin'],
    [api.readSocket, 0o660, 'siphon-read'],
    [api.hookSocket, 0o600, 'root'],
  ] as const;
  return Promise.all(
    wanted.map(async ([path, modeWanted, groupWanted]) => {
      const { stdout } = await look('stat', '-c', '%F %a %G', path);
      const [, mode, group = ''] = /^socket (\d+) (\S+)$/.exec(stdout) ?? [];
      const found = mode === undefined ? {} : { mode: Number.parseInt(mode, 8), group };
      return { path, modeWanted, groupWanted, ...found };
    }),
  );
}

/** undefined: it could not be looked at, which for root says that it is not there. */
async function unlessAbsent<T>(looking: Promise<T>): Promise<T | undefined> {
  try {
    return await looking;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return undefined;
  }
}

export async function gatherSpool(config: Config): Promise<SpoolFacts> {
  const listed = async (folders: readonly string[]) =>
    (await Promise.all(folders.map((folder) => unlessAbsent(readdir(folder))))).flatMap(
      (names) => names ?? [],
    );
  const folders = spoolFolders(config);
  const names = orderSpool(await listed(folders));
  const bad = await listed(folders.map((folder) => `${folder}/bad`));
  const oldestMs = parseSpoolName(names[0] ?? '')?.atMs;
  return { events: names.length, bad: bad.length, ...(oldestMs !== undefined && { oldestMs }) };
}

export async function gatherDisk({ cache, state, publish }: Config): Promise<DiskFacts> {
  const [mount, folder, space, stateSpace, selinuxType, mayPublish] = await Promise.all([
    lookAtMount(cache),
    unlessAbsent(stat(cache.path)),
    unlessAbsent(statfs(cache.path)),
    unlessAbsent(statfs(dirname(state.path))),
    selinuxTypeOf(cache.path),
    publish.folder === undefined ? true : mayWriteIn('siphon', publish.folder),
  ]);
  return {
    mount,
    bases: folder === undefined ? 'missing' : (folder.mode & 0o001) === 0 ? 'closed' : 'open',
    ...(space && {
      freeBytes: space.bavail * space.bsize,
      totalBytes: space.blocks * space.bsize,
      canReflink: REFLINKS.includes(space.type),
    }),
    ...(stateSpace && { stateFreeBytes: stateSpace.bavail * stateSpace.bsize }),
    ...(selinuxType !== undefined && { selinuxType }),
    ...(!mayPublish && { isSnapshotsClosed: true }),
  };
}

/** statfs(2): XFS (made by a mkfs of this decade), Btrfs, bcachefs. */
const REFLINKS: readonly number[] = [0x58465342, 0x9123683e, 0xca451a4e];

async function lookAtMount({ path, mount }: Config['cache']): Promise<DiskFacts['mount']> {
  const [bases, view, parent, mountInfo] = await Promise.all([
    unlessAbsent(stat(path)),
    unlessAbsent(stat(mount)),
    unlessAbsent(stat(dirname(mount))),
    readFile(MOUNTINFO_PATH, 'utf8'),
  ]);
  if (view === undefined || bases === undefined || parent === undefined) return 'missing';
  const isView = bases.dev === view.dev && bases.ino === view.ino;
  if (isView) return isMountedReadOnly(mountInfo, mount) ? 'read-only' : 'writable';
  return mountInfo.includes(` ${mount} `) ? 'other' : 'missing';
}

async function selinuxTypeOf(path: string): Promise<string | undefined> {
  const enforces = await unlessAbsent(readFile('/sys/fs/selinux/enforce', 'utf8'));
  if (enforces?.trim() !== '1') return undefined;
  const { stdout } = await look('stat', '-c', '%C', path);
  return stdout.split(':')[2];
}

export async function gatherSiphond(config: Config): Promise<SiphondFacts & Known> {
  const { socket } = config.api;
  try {
    const [status, { bases }] = await Promise.all([
      getJson<StatusAnswer>(socket, '/v1/status'),
      getJson<BasesAnswer>(socket, '/v1/bases'),
    ]);
    const suspects = bases
      .filter(({ suspicion }) => suspicion?.of === 'bytes')
      .map(({ path }) => path);
    const sources = bases.map(({ ids, name }) => {
      return { fsid: ids.fsid, pool: name.pool, namespace: ids.namespace };
    });
    return { kind: 'answers', status, suspects, sources };
  } catch (error) {
    return { kind: 'silent', why: (error as Error).message, sources: [] };
  }
}

/** The pools that bases came from. */
export interface Known {
  readonly sources: readonly {
    readonly fsid: string;
    readonly pool: string;
    readonly namespace: string;
  }[];
}
