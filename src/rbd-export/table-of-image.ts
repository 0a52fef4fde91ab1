// The table of a source's chunks, for who signs it. Nothing is written; no hole is read.

import { chunkBytesFor } from '../trust/manifest/chunk-table.ts';
import { OperatingError } from '../wire/errors.ts';
import { formatSource } from '../wire/source.ts';
import type { ChunkTableBytes } from '../wire/verification-plan.ts';
import type { FillSpec } from '../wire/worker-protocol.ts';
import { ChunkHashing } from './chunk-hashing.ts';
import { cancelled } from './errors.ts';
import type { ExportOptions } from './index.ts';
import { SlotMemory } from './slots.ts';
import { Source } from './source.ts';
import { startHashing, stream } from './stream.ts';

/** @throws OperatingError refused (empty, or too large), not-found (removed, also meanwhile), cancelled, unavailable, denied */
export async function tableOfImage(
  spec: Pick<FillSpec, 'ceph' | 'ids' | 'name'>,
  options: ExportOptions = {},
): Promise<{ readonly table: ChunkTableBytes }> {
  const { signal } = options;
  const subject = formatSource(spec.name);
  try {
    signal?.throwIfAborted();
    await using source = await Source.open(spec);
    const { sizeBytes } = source;
    const chunkBytes = sizeBytes === 0 ? undefined : chunkBytesFor(sizeBytes);
    if (chunkBytes === undefined) throw unsuited(subject, sizeBytes);
    await using hashing = startHashing([], new SlotMemory());
    const { memory } = hashing;
    await using chunks = new ChunkHashing({ subject, sizeBytes, chunkBytes, memory });
    const { timeoutMs } = spec.ceph;
    const { table } = await stream({
      source,
      hashing,
      chunks,
      sink: undefined,
      timeoutMs,
      ...options,
    });
    await source.lookAgain();
    signal?.throwIfAborted();
    return { table: table as ChunkTableBytes };
  } catch (error) {
    throw signal?.aborted ? cancelled(subject) : error;
  }
}

function unsuited(subject: string, sizeBytes: number): OperatingError {
  const why = sizeBytes === 0 ? 'it is empty' : `it has ${sizeBytes} bytes: 16 TiB are the most`;
  return new OperatingError({ code: 'refused', op: 'make chunk table', subject, why });
}
