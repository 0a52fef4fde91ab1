// Whether an image is, to the byte, as one of its snapshots: only then may what changed since that snapshot be written over it.

import { allocatedExtents, changedExtents, type Image, ImageReader, type Pool } from 'ceph-napi';
import { isMapped, missesCuts } from '../../../rbd-export/set/diff-traits.ts';
import { OperatingError } from '../../../wire/errors.ts';
import type { Session } from '../ceph/connections.ts';
import { inImage, openImage } from '../ceph/open.ts';

interface Base {
  readonly imageId: string;
  readonly snap: string;
  /** For messages. */
  readonly subject: string;
}

const CHUNK_BYTES = 4 * 1024 * 1024;

/**
 * What was touched since is compared: a rollback writes what was there already.
 * @throws OperatingError mismatch
 */
export async function assertUnchanged(session: Session, pool: Pool, base: Base): Promise<void> {
  const { imageId, snap, subject } = base;
  await using head = await openImage(session, pool, { id: imageId });
  await using was = await openImage(session, pool, { id: imageId }, { snap });
  await inImage(session, head, 'compare with snapshot', subject, async () => {
    const sizeBytes = await head.size();
    if (sizeBytes !== (await was.size())) throw changed(base, 'it has another size');
    const [now, then] = [ImageReader.attach(head), ImageReader.attach(was)];
    const [a, b] = [0, 1].map(() => Buffer.alloc(CHUNK_BYTES)) as [Buffer, Buffer];
    for (const [offset, length] of await touched(head, was, snap)) {
      const end = Math.min(offset + length, sizeBytes);
      for (let at = offset; at < end; at += CHUNK_BYTES) {
        const size = Math.min(CHUNK_BYTES, end - at);
        await Promise.all([now.read(a.subarray(0, size), at), then.read(b.subarray(0, size), at)]);
        if (a.compare(b, 0, size, 0, size) !== 0) throw changed(base, `it differs near byte ${at}`);
      }
    }
  });
}

/** What may differ, and more. */
async function touched(head: Image, was: Image, snap: string) {
  if (!missesCuts() || ((await isMapped(head)) && (await isMapped(was)))) {
    return await changedExtents(head, { fromSnapshot: snap });
  }
  return [...(await allocatedExtents(head)), ...(await allocatedExtents(was))];
}

function changed({ subject, snap }: Base, what: string): OperatingError {
  const why = `it was written to since its snapshot ${snap}: ${what}`;
  const hint = `To have it as it was imported, losing what was written since: rbd snap rollback ${subject}@${snap}`;
  return new OperatingError({ code: 'mismatch', op: 'import', subject, why, hint });
}
