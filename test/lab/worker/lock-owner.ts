// Another client of a disk, as QEMU is one.

import { type ChildProcess, spawn } from 'node:child_process';
import type { ImageAt } from '../../../src/wire/worker-protocol.ts';
import type { Cleanup } from '../support/images.ts';

/** Holds the image's exclusive lock, and writes once for each line that it gets. */
export async function holdLock(t: Cleanup, { pool, image }: ImageAt): Promise<ChildProcess> {
  const script = `
import rados, rbd, sys, time
c = rados.Rados(conffile='/etc/ceph/ceph.conf'); c.connect()
i = rbd.Image(c.open_ioctx('${pool}'), '${image}'); i.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE); i.write(b'x', 0)
print('held', flush=True)
for line in sys.stdin: i.write(b'y', 0); i.flush(); print('written', flush=True)`;
  const child = spawn('python3', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(async () => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child;
}
