// How far a diff of librbd's can be believed.

import { abilities, feature, type Image } from 'ceph-napi';

/** Whether its object map tells which objects changed: without asking the OSDs, and of any librbd rightly. */
export async function isMapped(image: Image): Promise<boolean> {
  const { objectMapInvalid, fastDiffInvalid } = await image.flags();
  const hasMap = ((await image.features()) & feature.fastDiff) !== 0;
  return hasMap && !objectMapInvalid && !fastDiffInvalid;
}

/**
 * librbd of Ceph 16, and of 17 and 18 up to 18.2.2, does not tell what a discard cut off at an object's end (tracker.ceph.com 63770); nor
 * does `rbd export-diff` then. A library that has this function is newer; of others it cannot be told.
 */
export function missesCuts(): boolean {
  return !abilities().some((one) => one.symbol === 'rbd_diff_iterate3' && one.present);
}
