// The scrub of one base's file. Runs in the process of a fill worker; needs no Ceph.

import assert from 'node:assert/strict';
import { ChunkTable } from '../../trust/manifest/chunk-table.ts';
import type { BaseFileSpec, ScrubResult, ScrubSpec } from '../../wire/scrub-protocol.ts';
import { cancelled } from '../errors.ts';
import type { ExportOptions } from '../index.ts';
import { SlotMemory } from '../slots.ts';
import { BaseFile, type FileCalls } from './base-file.ts';
import { RateBound } from './rate.ts';
import { scrubFile } from './scrub-file.ts';
import { shapeOf } from './shape.ts';

export interface ScrubOptions extends ExportOptions {
  readonly calls: FileCalls;
}

/** Says what of the file is damaged; changes nothing. @throws OperatingError not-found, denied, cancelled, unavailable */
export async function scrubBase(spec: ScrubSpec, options: ScrubOptions): Promise<ScrubResult> {
  const { signal, onProgress, calls } = options;
  const { subject, head, rateBytes } = spec;
  try {
    signal?.throwIfAborted();
    await using file = await BaseFile.open(spec.path, calls, spec.isSealed);
    const { damage, readBytes } = await scrubFile({
      subject,
      file,
      shape: shapeOf(spec),
      table: tableOf(spec),
      head,
      rate: new RateBound(rateBytes),
      isPaced: rateBytes > 0,
      memory: new SlotMemory(),
      signal,
      onProgress,
    });
    signal?.throwIfAborted();
    return { readBytes, ...(damage && { damage }) };
  } catch (error) {
    throw signal?.aborted ? cancelled(subject) : error;
  }
}

/** The catalogue's own. */
export function tableOf({ table, sourceSizeBytes }: BaseFileSpec): ChunkTable {
  const parsed = ChunkTable.parse(Buffer.from(table.base64, 'base64'));
  assert(parsed.kind === 'table', 'siphon made it');
  assert.equal(parsed.table.sizeBytes, sourceSizeBytes);
  return parsed.table;
}
