// Holes are not taken on trust: what an object map says is one is asked for of the OSDs, a sample of it where that is much. librbd
// answers a read by the map alone, with zeros, whatever the OSDs have.

import { allocatedExtents, type Image } from 'ceph-napi';
import { OperatingError } from '../wire/errors.ts';
import { CHUNK_BYTES } from './slots.ts';
import { type Window, without } from './windows.ts';

/** Of an image’s holes so many pieces of 4 MiB are asked for: 1 % that is wrong is found in 92 of 100 cases. */
const PROBES_MAX = 256;
/** Under way at a time. */
const CONCURRENCY = 8;

interface Probed {
  readonly image: Image;
  readonly sizeBytes: number;
  /** For messages. */
  readonly subject: string;
}

/**
 * Asks for each object of some holes between `extents`, chosen at random if they are many.
 * @throws OperatingError corrupt: there is data; CephError
 */
export async function probeHoles(
  { image, sizeBytes, subject }: Probed,
  extents: Iterable<Window>,
  signal?: AbortSignal,
): Promise<void> {
  const windows = chooseProbes(without([[0, sizeBytes]], extents), PROBES_MAX, Math.random);
  const left = windows.values();
  const lane = async () => {
    for (const [offset, end] of left) {
      const how = { offset, length: end - offset, wholeObject: false, ...(signal && { signal }) };
      const [found] = await allocatedExtents(image, how);
      if (found !== undefined) throw notHole(subject, found[0]);
    }
  };
  // All end before the image may be closed.
  const ends = await Promise.allSettled(Array.from({ length: CONCURRENCY }, lane));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/**
 * Parts of `holes` ([offset, end], sorted), each within a chunk if there are more than `max` chunks; else all of them. Every chunk is as
 * likely to be chosen. `random`: from 0 to below 1.
 */
export function chooseProbes(
  holes: Iterable<Window>,
  max: number,
  random: () => number,
): readonly Window[] {
  const all = [...holes];
  const counts = all.map(([offset, end]) => chunkOf(end - 1) - chunkOf(offset) + 1);
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total <= max) return all;
  const chosen = new Set<number>();
  while (chosen.size < max) chosen.add(Math.floor(random() * total));
  const probes: Window[] = [];
  let hole = 0;
  let before = 0;
  for (const each of [...chosen].toSorted((a, b) => a - b)) {
    for (; each >= before + (counts[hole] ?? 0); hole += 1) before += counts[hole] ?? 0;
    const [offset = 0, end = 0] = all[hole] ?? [];
    const start = (chunkOf(offset) + each - before) * CHUNK_BYTES;
    probes.push([Math.max(offset, start), Math.min(end, start + CHUNK_BYTES)]);
  }
  return probes;
}

const chunkOf = (offset: number) => Math.floor(offset / CHUNK_BYTES);

function notHole(subject: string, at: number): OperatingError {
  const why = `its object map says that there is nothing at byte ${at}, and there is data`;
  const hint =
    'The map is wrong, and librbd reads zeros by it. Find out what else is: rbd object-map check; then rbd object-map rebuild, of the snapshot too.';
  return new OperatingError({ code: 'corrupt', op: 'look at holes', subject, why, hint });
}
