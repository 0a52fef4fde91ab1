// Signs of life for systemd's watchdog (sd_watchdog_enabled(3)): from this process's own event loop, so that they cease with it.

import { tellSystemd } from './notify.ts';

/** Three signs in the time in which systemd wants one. */
const SIGNS = 3;

export interface WatchdogParts {
  readonly env?: NodeJS.ProcessEnv;
  /** Why this process, though its event loop turns, does not do its work; undefined: it does. */
  readonly whyUnwell?: () => string | undefined;
  readonly tell?: (state: string) => Promise<void>;
  readonly warn: (text: string) => void;
}

/** Ms between two signs; undefined: nobody watches this process. */
export function signEveryMs(env: NodeJS.ProcessEnv, pid: number): number | undefined {
  const usec = Number(env['WATCHDOG_USEC']);
  const isOurs = env['WATCHDOG_PID'] === undefined || Number(env['WATCHDOG_PID']) === pid;
  return usec > 0 && isOurs ? usec / 1000 / SIGNS : undefined;
}

/** Says now, and again and again, that this process is alive and well. What is not said is systemd's to judge. */
export function startWatchdog(parts: WatchdogParts): Disposable {
  const { env = process.env, whyUnwell, warn, tell = tellSystemd } = parts;
  const everyMs = signEveryMs(env, process.pid);
  if (everyMs === undefined) return { [Symbol.dispose]: () => undefined };
  const sign = () => {
    const why = whyUnwell?.();
    if (why === undefined) tell('WATCHDOG=1').catch((error: Error) => warn(error.message));
    else warn(`the watchdog is not told that all is well: ${why}`);
  };
  sign();
  const timer = setInterval(sign, everyMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
