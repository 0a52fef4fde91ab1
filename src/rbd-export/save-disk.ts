// A disk's snapshot -> a file of its own, raw or qcow2: its bytes as they are, whatever they are.

import type { SaveSource, SaveSpec } from '../wire/save-protocol.ts';
import { formatSource } from '../wire/source.ts';
import type { DiskFormat } from '../wire/vocabulary.ts';
import type { FillProgress } from '../wire/worker-protocol.ts';
import { cancelled } from './errors.ts';
import { readExtents } from './extents.ts';
import { PartialFile } from './partial-file.ts';
import { planLayout } from './qcow2-layout.ts';
import { qcow2Sink, verbatimSink } from './sink.ts';
import { SlotMemory } from './slots.ts';
import { Source } from './source.ts';
import { startHashing, stream } from './stream.ts';

/** It may be changed by nobody but siphon, and holds a guest's disk: for siphon's own group alone. */
const MODE = 0o640;

interface SaveOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: FillProgress) => void;
}

/** What may hold data, in whole objects, and the tables. @throws OperatingError as {@link saveDisk} */
export async function measureDisk(
  spec: SaveSource & { readonly format: DiskFormat },
  signal: AbortSignal,
): Promise<{ readonly neededBytes: number }> {
  await using source = await Source.open(spec, 'publish');
  const { image, sizeBytes } = source;
  const { totalBytes } = await readExtents(image, sizeBytes, signal);
  const tableBytes = spec.format === 'qcow2' ? planLayout(sizeBytes).dataOffset : 0;
  return { neededBytes: totalBytes + tableBytes };
}

/**
 * Nothing is left at `partialPath` when it rejects; the folder's entry is the caller's to fsync.
 * @throws OperatingError not-found (removed, also meanwhile), exhausted (disk full), cancelled, unavailable, denied
 */
export async function saveDisk(
  spec: SaveSpec,
  options: SaveOptions,
): Promise<{ readonly sizeBytes: number; readonly allocatedBytes: number }> {
  try {
    await using source = await Source.open(spec, 'publish');
    const { sizeBytes } = source;
    await using hashing = startHashing([], new SlotMemory());
    await using file = await PartialFile.create(spec.partialPath, MODE);
    const isQcow2 = spec.format === 'qcow2';
    const sink = isQcow2 ? qcow2Sink(file, sizeBytes) : verbatimSink(file, 'raw', sizeBytes);
    const { timeoutMs } = spec.ceph;
    const { allocatedBytes } = await stream({ source, hashing, sink, timeoutMs, ...options });
    await source.lookAgain();
    options.signal.throwIfAborted();
    file.keep();
    return { sizeBytes, allocatedBytes };
  } catch (error) {
    throw options.signal.aborted ? cancelled(formatSource(spec.name)) : error;
  }
}
