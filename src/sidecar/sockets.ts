// The three sockets: from systemd (sd_listen_fds(3)) where it gives them, else our own. A file that is not a socket is never
// removed, nor the socket of another siphond that lives.

import { once } from 'node:events';
import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { OperatingError } from '../wire/errors.ts';

const FIRST_FD = 3; // SD_LISTEN_FDS_START
const CONNECT_MS_MAX = 1000;

export interface SocketPlace {
  /** systemd's FileDescriptorName. */
  readonly name: 'siphon.socket' | 'siphon-read.socket' | 'siphon-hook.socket';
  readonly path: string;
  readonly mode: number;
}

/**
 * Takes the descriptors that systemd passed to this process, by name, and removes the variables, so that no child takes
 * them for its own.
 */
export function takeActivation(env: NodeJS.ProcessEnv, pid: number): ReadonlyMap<string, number> {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID'])
    delete env[name];
  if (Number(LISTEN_PID) !== pid) return new Map();
  const names = (LISTEN_FDNAMES ?? '').split(':').slice(0, Number(LISTEN_FDS));
  return new Map(names.map((name, index) => [name, FIRST_FD + index]));
}

/** Makes a server listen at a place. @throws OperatingError busy (another siphond lives there), refused (not a socket) */
export async function listenAt(
  server: Server,
  place: SocketPlace,
  given: ReadonlyMap<string, number>,
): Promise<void> {
  const fd = given.get(place.name);
  if (fd !== undefined) return listen(server, { fd });
  await mkdir(dirname(place.path), { recursive: true, mode: 0o755 });
  await removeStale(place.path);
  // The umask is set around the bind, which is synchronous: at no moment is the socket open to others.
  const umask = process.umask(0o177);
  try {
    const listening = listen(server, { path: place.path });
    process.umask(umask);
    await listening;
  } finally {
    process.umask(umask);
  }
  await chmod(place.path, place.mode);
}

async function listen(server: Server, at: { fd: number } | { path: string }): Promise<void> {
  server.listen(at);
  await once(server, 'listening');
}

async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return;
  const refusal = { op: 'listen', subject: path } as const;
  if (!found.isSocket()) {
    throw new OperatingError({
      ...refusal,
      code: 'refused',
      why: 'a file is there that is not a socket',
    });
  }
  if (await isAnswered(path)) {
    throw new OperatingError({ ...refusal, code: 'busy', why: 'another siphond listens there' });
  }
  await unlink(path);
}

/** Whether somebody accepts there. Only "connection refused" proves that nobody does. */
async function isAnswered(path: string): Promise<boolean> {
  const socket = connect({ path });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_MS_MAX) });
    return true;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    return !['ECONNREFUSED', 'ENOENT'].includes(code);
  } finally {
    socket.destroy();
  }
}
