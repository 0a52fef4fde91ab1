// libvirt's default event loop, run on a pool thread while anybody holds it: keepalives, close and domain events need it.
//
// virEventRunDefaultImpl sleeps in poll() until a socket or timer is due, so nothing spins; it is called again and again, and a
// timer that is due at once wakes it to stop. The alternative, virEventRegisterImpl with sockets watched by libuv, cannot be
// had from JavaScript: libvirt calls it on pool threads with its locks held, and JavaScript's thread would wait for those.

import { promisify } from 'node:util';
import { api } from './call.ts';
import { LibvirtError } from './errors.ts';
import { declare, local, nativeFunction, type Pointer } from './library.ts';

const virEventRegisterDefaultImpl = local('int virEventRegisterDefaultImpl(void)');
const virEventRunDefaultImpl = declare('int virEventRunDefaultImpl(void)', 'libvirt');
const virEventAddTimeout = local(
  'int virEventAddTimeout(int frequency, virEventTimeoutCallback cb, void *opaque, virFreeCallback ff)',
);
const virEventRemoveTimeout = declare('int virEventRemoveTimeout(int timer)', 'libvirt');

let holders = 0;
let isRunning = false;
let removeTimeout: Pointer | null = null;

/** Runs the loop until the hold is disposed of, and others' too. It keeps the process alive. Call before virConnectOpen. */
export function holdEventLoop(): Disposable {
  if (removeTimeout === null) register();
  holders++;
  if (!isRunning) void run();
  let isHeld = true;
  return {
    [Symbol.dispose]() {
      if (!isHeld) return;
      isHeld = false;
      if (--holders === 0) wake();
    },
  };
}

/** Counts once a process, and must come before the first connection. Implements: virEventRegisterDefaultImpl. */
function register(): void {
  api();
  if (virEventRegisterDefaultImpl() < 0) throw failed('virEventRegisterDefaultImpl');
  removeTimeout = virEventRemoveTimeout.address();
  // process.exit() joins the pool's threads: one that sleeps in the loop would hold it for ever.
  process.on('exit', wake);
}

/**
 * A failure here is a defect or a lack of memory: nothing that hangs on events would work, so the process dies of it.
 * Implements: virEventRunDefaultImpl.
 */
async function run(): Promise<void> {
  isRunning = true;
  const runOnce = promisify(nativeFunction(virEventRunDefaultImpl).async);
  const isHeld = (): boolean => holders > 0;
  while (isHeld()) {
    if ((await runOnce()) < 0) throw failed('virEventRunDefaultImpl');
  }
  isRunning = false;
}

/**
 * A timer that is due at once, whose callback removes it: virEventRemoveTimeout(timer) ignores the second argument.
 * Implements: virEventAddTimeout, virEventRemoveTimeout.
 */
function wake(): void {
  if (removeTimeout !== null && virEventAddTimeout(0, removeTimeout, null, null) < 0) {
    throw failed('virEventAddTimeout');
  }
}

function failed(call: string): LibvirtError {
  return new LibvirtError(call, 0, 0, 'failed');
}
