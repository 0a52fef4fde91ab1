// A new file with what an old one holds: sharing its blocks where the filesystem can, else a sparse copy of whatever can be read.

import { constants } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import { isSystemError, withFile } from '../errors.ts';
import { PartialFile } from '../partial-file.ts';
import { runPipeline } from '../pipeline.ts';
import type { Segment } from '../segments.ts';
import { dataRuns } from '../sink.ts';
import { ALIGN_BYTES, CHUNK_BYTES, SLOTS, type SlotMemory } from '../slots.ts';
import type { BaseFile } from './base-file.ts';

const READ_TIMEOUT_MS = 5000;
/** What file systems without reflinks say, or of files that are not on one. */
const CANNOT = new Set(['ENOTSUP', 'EOPNOTSUPP', 'ENOTTY', 'EXDEV', 'EINVAL', 'ENOSYS']);

/** undefined: this filesystem has none. @throws OperatingError refused (`to` exists), exhausted */
export async function reflink(from: string, to: string): Promise<PartialFile | undefined> {
  const { COPYFILE_EXCL, COPYFILE_FICLONE_FORCE } = constants;
  return await withFile('reflink', to, async () => {
    try {
      await copyFile(from, to, COPYFILE_EXCL | COPYFILE_FICLONE_FORCE);
    } catch (error) {
      if (!isSystemError(error) || !CANNOT.has(error.code)) throw error;
      await rm(to, { force: true });
      return undefined;
    }
    return await PartialFile.reopen(to);
  });
}

interface CopyOptions {
  readonly memory: SlotMemory;
  readonly fileBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/** Zeros and what cannot be read stay holes. @throws OperatingError exhausted, unavailable */
export async function copySparsely(
  from: BaseFile,
  to: PartialFile,
  { memory, fileBytes, signal }: CopyOptions,
): Promise<void> {
  await runPipeline(
    dataOf(from, fileBytes),
    {
      slots: SLOTS,
      readTimeoutMs: READ_TIMEOUT_MS,
      read: async (slot, segment) =>
        void (await from.read(memory.bytes(slot, CHUNK_BYTES), segment, ALIGN_BYTES)),
      async write(slot, { offset, length }) {
        const bytes = memory.bytes(slot, length);
        for (const { start, end } of dataRuns(bytes, length))
          await to.write(bytes.subarray(start, end), offset + start);
      },
      hash: async () => undefined,
      hashHole: () => undefined,
      done: () => undefined,
    },
    signal,
  );
}

function* dataOf(from: BaseFile, fileBytes: number): Generator<Segment> {
  for (let offset = 0; offset < fileBytes; offset += CHUNK_BYTES) {
    const end = Math.min(offset + CHUNK_BYTES, fileBytes);
    if (from.hasData(offset, end)) yield { kind: 'data', offset, length: end - offset };
  }
}
