// What a process tells systemd of itself (sd_notify(3)): a datagram to NOTIFY_SOCKET. Node sends none on unix sockets, so libc does.
// It comes from the main process itself, so that units may refuse those of all others (NotifyAccess=main).

import { libc } from './libc.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;

/** Tells `READY=1`, `WATCHDOG=1`, … Nothing happens outside systemd. @throws Error where systemd does not take it at once */
export async function tellSystemd(state: string, env = process.env): Promise<void> {
  const { NOTIFY_SOCKET } = env;
  if (NOTIFY_SOCKET === undefined) return;
  const { socket, sendto, close, errno } = await libc();
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new Error(`no socket for systemd: errno ${errno()}`);
  try {
    const [text, address] = [Buffer.from(state), addressOf(NOTIFY_SOCKET)];
    const sent = sendto(fd, text, text.length, MSG_DONTWAIT, address, address.length);
    if (sent !== text.length) throw new Error(`systemd was not told ${state}: errno ${errno()}`);
  } finally {
    close(fd);
  }
}

/** struct sockaddr_un of unix(7); an `@` begins an abstract name. */
function addressOf(path: string): Buffer {
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  const isAbstract = path.startsWith('@');
  return Buffer.concat([family, Buffer.from(isAbstract ? `\0${path.slice(1)}` : `${path}\0`)]);
}
