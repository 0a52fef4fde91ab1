// Which disks of a domain a set holds, and why the others are left out.

import type { DiskSource, RbdSource } from '../domain/disk-source.ts';
import type { Disk, Domain } from '../domain/domain.ts';
import { formatImage } from '../wire/source.ts';
import type { Devices, SnapshotSet } from '../wire/vocabulary.ts';

export interface ChosenDisk {
  readonly target: string;
  readonly source: RbdSource;
}

export interface Choice {
  readonly chosen: readonly ChosenDisk[];
  readonly leftOut: SnapshotSet['leftOut'];
}

export function chooseDisks(domain: Pick<Domain, 'disks'>, devices: Devices = 'all'): Choice {
  const chosen = new Map<string, ChosenDisk>();
  const leftOut: { target: string; why: string }[] = [];
  for (const { target, source, ...disk } of domain.disks) {
    const why = whyNot(disk, source);
    const image = source.kind === 'rbd' ? formatImage(source) : '';
    const same = chosen.get(image);
    if (source.kind !== 'rbd' || why !== undefined) leftOut.push({ target, why: why ?? '' });
    else if (same !== undefined) leftOut.push({ target, why: `the same image as ${same.target}` });
    else chosen.set(image, { target, source });
  }
  return narrow({ chosen: [...chosen.values()], leftOut }, devices);
}

/** Of what could be taken, what is asked for. What is asked for and is not there is said to be left out, too. */
function narrow({ chosen, leftOut }: Choice, devices: Devices): Choice {
  if (devices === 'all') return { chosen, leftOut };
  const wanted = devices === 'root' ? chosen.slice(0, 1).map(({ target }) => target) : devices;
  const known = [...chosen, ...leftOut].map(({ target }) => target);
  const absent = wanted.filter((target) => !known.includes(target));
  return {
    chosen: chosen.filter(({ target }) => wanted.includes(target)),
    leftOut: [
      ...leftOut,
      ...chosen
        .filter(({ target }) => !wanted.includes(target))
        .map(({ target }) => ({ target, why: 'not asked for' })),
      ...absent.map((target) => ({ target, why: 'the domain has no such disk' })),
    ],
  };
}

function whyNot(disk: Pick<Disk, 'device' | 'isReadOnly'>, source: DiskSource): string | undefined {
  if (source.kind === 'none') return 'an empty drive';
  if (source.kind !== 'rbd') return `not in RBD (${source.kind})`;
  if (source.snapshot !== undefined) return 'opened at a snapshot';
  if (disk.device === 'cdrom' || disk.device === 'floppy') return `a ${disk.device}`;
  return disk.isReadOnly ? 'read-only' : undefined;
}
