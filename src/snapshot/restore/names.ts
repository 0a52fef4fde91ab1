// Ids of restores, and names of what they make. Pure.

import { OperatingError } from '../../wire/errors.ts';
import { formatImage } from '../../wire/source.ts';
import type { Devices, SetDisk, SnapshotSet } from '../../wire/vocabulary.ts';
import type { ImageAt } from '../../wire/worker-protocol.ts';
import { newSetId } from '../set-id.ts';

/** `r-20261120t231500z-9f3a1c2b` */
export function newRestoreId(nowMs: number): string {
  return `r-${newSetId(nowMs)}`;
}

/** A disk of the set, and the image that it becomes. */
export interface Destination {
  readonly disk: SetDisk;
  readonly to: ImageAt;
}

/** `root`: the first of the set's. Targets that it does not have are left out. */
export function disksOf({ disks }: SnapshotSet, devices: Devices = 'all'): readonly SetDisk[] {
  if (devices === 'all') return disks;
  if (devices === 'root') return disks.slice(0, 1);
  return disks.filter(({ target }) => devices.includes(target));
}

export function inPlace(disk: SetDisk): Destination {
  const { pool, namespace, image } = disk;
  return { disk, to: { pool, namespace, image } };
}

/** Beside the original, named by the new domain and the disk's target. */
export function besideFor(domainName: string) {
  return (disk: SetDisk): Destination => {
    const { pool, namespace, target } = disk;
    return { disk, to: { pool, namespace, image: `${domainName}-${target}` } };
  };
}

/** `POOL/[NAMESPACE/]IMAGE`. @throws OperatingError usage */
export function parseImage(text: string): ImageAt {
  const parts = text.split('/');
  const [pool = '', second = '', third] = parts;
  const at = third === undefined ? ['', second] : [second, third];
  const [namespace = '', image = ''] = at;
  const isWrong = parts.length < 2 || parts.length > 3 || parts.includes('');
  if (isWrong || /[@\p{Cc}]/u.test(text)) {
    const why = 'it is not POOL/IMAGE or POOL/NAMESPACE/IMAGE';
    throw new OperatingError({ code: 'usage', op: 'read image', subject: text, why });
  }
  return { pool, namespace, image };
}

export const nameOf = ({ to }: Destination): string => formatImage(to);
