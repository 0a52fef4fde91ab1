// A guest that writes a number to one disk, then to the next, and so on: whether snapshots of its disks are of one instant can be
// told by whoever reads them.

import { defineDomain, guestAnswers } from './domains.ts';
import type { Guest } from './guest.ts';
import { must, run, sh, until } from './host.ts';
import type { Cleanup } from './images.ts';

export interface Ordered {
  readonly name: string;
  /** In the order in which they are written. */
  readonly images: readonly string[];
}

/**
 * Starts it: vda has a filesystem, which the agent can freeze; two more are written in order. `console` as in {@link Guest}.
 */
export async function startOrdered(
  cleanup: Cleanup,
  name: string,
  { console }: Pick<Guest, 'console'> = {},
): Promise<Ordered> {
  const root = `vms/${name}-root`;
  const images = [`vms/${name}-0`, `vms/${name}-1`];
  const file = await must('mktemp', '-p', '/var/lib/siphon');
  await sh(`truncate -s 16M ${file}; mkfs.ext4 -q -F ${file}`);
  await must('rbd', 'import', '--no-progress', file, root);
  await must('rm', file);
  for (const image of images) await must('rbd', 'create', '--size', '8M', image);
  cleanup.after(async () => {
    for (const image of [root, ...images]) {
      await run('rbd', ['snap', 'purge', '--no-progress', image]);
      await run('rbd', ['rm', '--no-progress', image]);
    }
  });
  await defineDomain(cleanup, {
    name,
    cmdline: 'tiny.order=vdb,vdc',
    ...(console !== undefined && { console }),
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
