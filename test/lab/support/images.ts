// Source images for tests, made by tools that are not siphon's.

import { after } from 'node:test';
import { must, run, sh } from './host.ts';

/** Where a test, or a whole file of tests, puts what must be undone at its end. */
export interface Cleanup {
  after(undo: () => Promise<unknown>): void;
}

/** A file's own: undone last made first when its tests have ended. */
export function fileCleanup(): Cleanup {
  const undos: (() => Promise<unknown>)[] = [];
  after(async () => {
    for (const undo of undos.toReversed()) await undo();
  });
  return { after: (undo) => void undos.push(undo) };
}

/** An image with its snapshots, should it be there. */
export async function removeImage(image: string): Promise<void> {
  await run('rbd', ['snap', 'purge', '--no-progress', image]);
  await run('rbd', ['rm', '--no-progress', image]);
}

let count = 0;

/** A pool of this test file's own, initialised for RBD and removed with all that is in it. */
export async function freshPool(t: Cleanup): Promise<string> {
  count += 1;
  const pool = `t${process.pid}x${count}`;
  await must('ceph', 'osd', 'pool', 'create', pool, '8');
  t.after(() => must('ceph', 'osd', 'pool', 'rm', pool, pool, '--yes-i-really-really-mean-it'));
  await must('rbd', 'pool', 'init', pool);
  return pool;
}

/** A scratch folder on the host's real disk, removed afterwards. */
export async function scratchFolder(t: Cleanup): Promise<string> {
  const folder = await must('mktemp', '-d', '/var/lib/siphon/scratch-XXXXXX');
  await must('chmod', '755', folder); // QEMU's user reads overlays here
  t.after(() => run('rm', ['-rf', folder]));
  return folder;
}

/** A sparse raw file of `mebibytes`, with random data in each of `dataAt` (a MiB each), plus `extraBytes` at its end. */
export async function rawFile(
  path: string,
  mebibytes: number,
  dataAt: readonly number[],
  extraBytes = 0,
): Promise<string> {
  await must('truncate', '-s', String(mebibytes * 2 ** 20 + extraBytes), path);
  for (const at of dataAt) {
    await sh(`dd if=/dev/urandom of='${path}' bs=1M count=1 seek=${at} conv=notrunc status=none`);
  }
  return path;
}

/** Imports a file as POOL/IMAGE and takes @snap of it; gives the source's name. */
export async function importSource(file: string, image: string, snap = 'snap'): Promise<string> {
  await must('rbd', 'import', '--no-progress', file, image);
  await must('rbd', 'snap', 'create', '--no-progress', `${image}@${snap}`);
  return `rbd:${image}@${snap}`;
}

/** An image of `mebibytes` of random bytes: for fills that take a while, and whose holes would be seen. */
export async function bigSource(image: string, mebibytes: number): Promise<string> {
  await sh(`head -c ${mebibytes}M /dev/urandom | rbd import --no-progress - '${image}'`);
  await must('rbd', 'snap', 'create', '--no-progress', `${image}@snap`);
  return `rbd:${image}@snap`;
}
