// What of an export is in a file already: as much as is whole.

import type { FileHandle } from 'node:fs/promises';
import { type ByteSource, ExportReader, type Mark } from '../../export-file/index.ts';
import { OperatingError } from '../../wire/errors.ts';

/** A file's bytes from `position` on. */
export function fileSource(file: FileHandle, position = 0): ByteSource {
  let at = position;
  return {
    async read(into) {
      let done = 0;
      while (done < into.length) {
        const { bytesRead } = await file.read(into, done, into.length - done, at);
        if (bytesRead === 0) break;
        done += bytesRead;
        at += bytesRead;
      }
      return done;
    },
  };
}

export interface Begun {
  /** As the file has it. */
  readonly header: Buffer;
  /** Behind the last frame that is whole and right. */
  readonly mark: Mark;
}

/** Reads and checks all of it; undefined: not even the header is there. @throws OperatingError mismatch: it is something else */
export async function readBegun(file: FileHandle): Promise<Begun | undefined> {
  let reader: ExportReader;
  try {
    reader = await ExportReader.open(fileSource(file));
  } catch (error) {
    if (isCorrupt(error)) return undefined;
    throw error;
  }
  const header = Buffer.alloc(reader.mark.position);
  await fileSource(file).read(header);
  const memory = Buffer.alloc(4 * 1024 * 1024);
  try {
    while ((await reader.next((length) => memory.subarray(0, length))) !== undefined);
  } catch (error) {
    if (!isCorrupt(error)) throw error; // from there on it is written anew
  }
  return { header, mark: reader.mark };
}

function isCorrupt(error: unknown): boolean {
  return error instanceof OperatingError && error.code === 'corrupt';
}
