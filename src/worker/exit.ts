// How a worker ends itself, whatever its native threads do.

/**
 * Ends the process at once. process.exit() joins libuv's threads and runs librados' destructors: a thread that waits in librados never
 * returns, and one that runs on may crash. _exit(2) does neither.
 */
export async function exitNow(code: number): Promise<never> {
  try {
    const { default: koffi } = await import('koffi');
    koffi.load('libc.so.6').func('void _exit(int status)')(code);
  } catch {
    // A library that cannot be loaded any more is no reason to stay.
  }
  return kill();
}

/** The same, where nothing can be waited for: as a crash. */
export function kill(): never {
  process.kill(process.pid, 'SIGKILL');
  throw new Error('SIGKILL does not return');
}
