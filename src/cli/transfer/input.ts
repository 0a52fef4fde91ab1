// What `siphon import` reads: a file, which is looked at first, or a pipe.

import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { headerBytesAfter, PREAMBLE_BYTES, TAIL_BYTES, tailOf } from '../../export-file/index.ts';
import { OperatingError } from '../../wire/errors.ts';
import { fileSource } from './begun.ts';
import type { Sendable } from './pass-bytes.ts';

/** Disposed of, nothing more is read: what waits for a pipe would not end. */
export interface Input extends Sendable, Disposable {
  /** undefined: a pipe. */
  readonly fileBytes?: number;
}

/** @throws OperatingError corrupt: it was cut; mismatch: it is no export */
export async function openInput(path: string): Promise<Input> {
  return path === '-' ? await openPipe(process.stdin) : await openFile(path);
}

/** One read of a file. */
const READ_BYTES = 1024 * 1024;

async function openFile(path: string): Promise<Input> {
  await using file = await open(path);
  const { size } = await file.stat();
  const header = await headerOf(path, async (length, at) => {
    const bytes = Buffer.alloc(length);
    const count = await fileSource(file, at).read(bytes);
    return bytes.subarray(0, count);
  });
  await assertWhole(path, file, size);
  return {
    header,
    fileBytes: size,
    [Symbol.dispose]: () => undefined,
    from: (start) => createReadStream(path, { start, highWaterMark: READ_BYTES }),
  };
}

/** A look at its end tells, before anything is made. */
async function assertWhole(path: string, file: FileHandle, size: number): Promise<void> {
  const tail = Buffer.alloc(TAIL_BYTES);
  await fileSource(file, Math.max(0, size - TAIL_BYTES)).read(tail);
  if (!tail.equals(tailOf(size))) throw cut(path);
}

async function openPipe(stdin: Readable): Promise<Input> {
  const chunks = stdin[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest = Buffer.alloc(0);
  const take = async (length: number): Promise<Buffer> => {
    const parts: Buffer[] = [];
    for (let left = length; left > 0; ) {
      if (rest.length === 0) {
        const next = await chunks.next();
        if (next.done === true) break;
        rest = Buffer.from(next.value);
      }
      const part = rest.subarray(0, left);
      rest = rest.subarray(part.length);
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  };
  const header = await headerOf('-', (length) => take(length));
  return {
    header,
    [Symbol.dispose]: () => void stdin.destroy(),
    async *from(position) {
      for (let left = position - header.length; left > 0; ) {
        const passed = await take(Math.min(left, READ_BYTES));
        if (passed.length === 0) return;
        left -= passed.length;
      }
      for (;;) {
        const bytes = rest.length > 0 ? await take(rest.length) : await take(READ_BYTES);
        if (bytes.length === 0) return;
        yield bytes;
      }
    },
  };
}

async function headerOf(
  path: string,
  read: (length: number, at: number) => Promise<Buffer>,
): Promise<Buffer> {
  const preamble = await read(PREAMBLE_BYTES, 0);
  const rest = await read(headerBytesAfter(preamble), PREAMBLE_BYTES);
  const header = Buffer.concat([preamble, rest]);
  if (rest.length < headerBytesAfter(preamble)) throw cut(path);
  return header;
}

function cut(subject: string): OperatingError {
  const why = 'it ends before its trailer: the file was cut, or the export has not ended';
  const hint = 'Make the export again with the same command: it goes on where it ended.';
  return new OperatingError({ code: 'corrupt', op: 'import', subject, why, hint });
}
