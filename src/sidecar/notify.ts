// What siphond tells systemd. Node sends no datagrams on unix sockets, so that systemd's own tool does, which speaks for
// its parent (systemd-notify(1)); the unit says NotifyAccess=all for a siphond that is not root.

import { execa } from 'execa';
import type { Logger } from 'pino';

const NOTIFY_MS_MAX = 5000;

/** Nothing happens outside systemd. A failure is logged: siphond works on, and systemd's own timeout decides. */
export async function notify(state: 'ready' | 'stopping', log: Logger): Promise<void> {
  if (process.env['NOTIFY_SOCKET'] === undefined) return;
  const told = await execa('systemd-notify', [`--${state}`], {
    timeout: NOTIFY_MS_MAX,
    reject: false,
  });
  if (told.failed) log.warn({ err: told }, `systemd was not told: ${state}`);
}
