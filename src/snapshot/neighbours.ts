// Whose software else works on a domain's images. A snapshot that is left on one of them keeps that software from deleting it.

import type { DiskOwner, SnapshotSet } from '../wire/vocabulary.ts';

const UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
/** nova/virt/libvirt/driver.py: `UUID_disk`, and with what follows its other disks (`_disk.config`, `_disk.eph0`, `_disk.swap`). */
const NOVA = new RegExp(`^${UUID}_disk(?:\\.[A-Za-z0-9_-]+)?$`);
/** cinder.conf, volume_name_template: `volume-%s`. */
const CINDER = new RegExp(`^volume-${UUID}(?:\\.[A-Za-z0-9_-]+)?$`);

/** By the image's name, which is all that there is to tell by. */
export function ownerOf({ image }: { readonly image: string }): DiskOwner | undefined {
  if (NOVA.test(image)) return 'nova';
  return CINDER.test(image) ? 'cinder' : undefined;
}

/** Whether a set keeps somebody else from deleting an image of theirs. */
export function isInTheirWay({ disks }: Pick<SnapshotSet, 'disks'>): boolean {
  return disks.some(({ owner }) => owner !== undefined);
}
