// A guest that writes a number to one disk, then to the next, and so on: whether snapshots of its disks are of one instant can be
// told by whoever reads them.

import { defineDomain, guestAnswers } from './domains.ts';
import { must, run, sh, until } from './host.ts';
import type { Cleanup } from './images.ts';

export interface Ordered {
  readonly name: string;
  /** In the order in which they are written. */
  readonly images: readonly string[];
}

/** Starts it: vda has a filesystem, which the agent can freeze; the others are written in order. `sizes` of those in MiB. */
export async function startOrdered(
  cleanup: Cleanup,
  name: string,
  sizes: readonly number[] = [8, 8],
): Promise<Ordered> {
  const root = `vms/${name}-root`;
  const images = sizes.map((_, index) => `vms/${name}-${index}`);
  const file = await must('mktemp', '-p', '/var/lib/siphon');
  await sh(`truncate -s 16M ${file}; mkfs.ext4 -q -F ${file}`);
  await must('rbd', 'import', '--no-progress', file, root);
  await must('rm', file);
  for (const [index, image] of images.entries()) {
    await must('rbd', 'create', '--size', `${sizes[index]}M`, image);
  }
  cleanup.after(async () => {
    for (const image of [root, ...images]) {
      await run('rbd', ['snap', 'purge', '--no-progress', image]);
      await run('rbd', ['rm', '--no-progress', image]);
    }
  });
  const targets = images.map((_, index) => `vd${'bcdefghij'.charAt(index)}`);
  await defineDomain(cleanup, {
    name,
    cmdline: `tiny.order=${targets.join(',')}`,
    disks: [root, ...images].map((image) => ({ kind: 'rbd' as const, image })),
  });
  await must('virsh', '-q', 'start', name);
  await guestAnswers(name);
  await until(`${name} writes`, async () => (await numbersAt(images)).every((n) => n > 0));
  return { name, images };
}

/** What stands at the beginning of each; 0: nothing yet. By `rbd` alone. */
export async function numbersAt(
  images: readonly string[],
  snap?: string,
): Promise<readonly number[]> {
  const at = snap === undefined ? '' : `@${snap}`;
  return Promise.all(
    images.map(async (image) => {
      const text = await sh(
        `rbd export --no-progress '${image}${at}' - | { head -c 512; cat >/dev/null; } | tr -d '\\0'`,
      );
      return Number(text);
    }),
  );
}

/** Whether the numbers can have stood there at one time: each is the next one's, or one ahead, and the whole at most one. */
export function areOfOneInstant(numbers: readonly number[]): boolean {
  const [first = 0] = numbers;
  const isFalling = numbers.every((n, index) => index === 0 || n <= (numbers[index - 1] ?? 0));
  return isFalling && first - (numbers.at(-1) ?? 0) <= 1;
}
