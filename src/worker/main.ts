// The one child program: `node main.ts ROLE`, started by the supervisor, or by systemd, with a socket on file descriptor 3. Its
// lifetime is the socket's. libvirt and librbd are loaded here, and only those that the role needs. `node main.ts guard URI DOMAIN`,
// started by systemd, has no socket: it does its one thing and ends.

import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { inspect } from 'node:util';
import { startWatchdog } from '../systemd/watchdog.ts';
import { confine } from './confine.ts';
import { exitNow, kill } from './exit.ts';
import { serve } from './serve.ts';

const SOCKET_FD = 3;
/** How long calls may take to clean up (a partial file) when siphond is gone. */
const SETTLE_MS = 3000;

const [role, uri, domain] = process.argv.slice(2);

if (role === 'guard' && uri !== undefined && domain !== undefined) {
  const { runGuard } = await import('./guard.ts');
  void runGuard(uri, domain);
} else {
  work();
}

function work(): void {
  const stream = new Socket({ fd: SOCKET_FD, readable: true, writable: true });
  const roles = {
    ceph: async () => (await import('./roles/ceph.ts')).startCephRole,
    libvirt: async () => (await import('./roles/libvirt.ts')).startLibvirtRole,
    fill: async () => (await import('./roles/fill.ts')).startFillRole,
    transfer: async () => (await import('./roles/transfer.ts')).startTransferRole,
  };
  serve({
    stream,
    roles: confine(roles, { role, uri }),
    onEnd: (settled, cause) => {
      if (cause) process.stderr.write(`worker: ${cause.message}\n`);
      const end = () => void exitNow(cause ? 1 : 0);
      setTimeout(end, SETTLE_MS);
      settled.then(end, end);
    },
  });
  startWatchdog({ warn: (text) => process.stderr.write(`worker: ${text}\n`) });
  // systemd and terminals signal the whole group; siphond decides when its workers end.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.on(signal, () => undefined);
}

// A defect ends the worker, and its last line is what siphond reports.
process.on('uncaughtException', (error: unknown) => {
  writeSync(2, `${inspect(error)}\ndefect: ${String(error).split('\n')[0]}\n`);
  kill();
});
