// A base's file as it is on the disk: read past the page cache, with what the disk does not give back told and not thrown.

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { isSystemError, withFile } from '../errors.ts';
import { ALIGN_BYTES } from '../slots.ts';

/** What Node has not. Offsets and lengths in bytes. */
export interface FileCalls {
  /** Where from `offset` on there is something that is no hole; undefined: nowhere. */
  seekData(fd: number, offset: number): number | undefined;
  /** Lets the page cache forget. */
  forget(fd: number, offset: number, length: number): void;
}

export interface Part {
  readonly offset: number;
  readonly length: number;
}

/** What file systems and disks answer for bytes that are lost. */
const LOST = new Set(['EIO', 'ENODATA', 'EBADMSG', 'EUCLEAN', 'EREMOTEIO', 'EILSEQ']);

export class BaseFile implements AsyncDisposable {
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
  readonly #path: string;
  readonly #calls: FileCalls;
  readonly #plain: FileHandle;
  /** With O_DIRECT; undefined: the filesystem has none, or reads the file through its cache all the same. */
  readonly #direct: FileHandle | undefined;
  #nextData = -1;

  private constructor(
    path: string,
    calls: FileCalls,
    handles: readonly [FileHandle, FileHandle | undefined],
    sizes: { readonly size: number; readonly blocks: number },
  ) {
    this.#path = path;
    this.#calls = calls;
    [this.#plain, this.#direct] = handles;
    this.sizeBytes = sizes.size;
    this.allocatedBytes = sizes.blocks * 512;
  }

  /** `isSealed`: by fs-verity. @throws OperatingError not-found, denied */
  static open(path: string, calls: FileCalls, isSealed = false): Promise<BaseFile> {
    return withFile('open', path, async () => {
      await using stack = new AsyncDisposableStack();
      const plain = stack.use(await open(path, 'r'));
      const direct = isSealed ? undefined : await openDirect(path);
      if (direct !== undefined) stack.use(direct);
      const file = new BaseFile(path, calls, [plain, direct], await plain.stat());
      stack.move();
      return file;
    });
  }

  /** Whether something is there that is no hole. Asked for in the order of offsets. */
  hasData(from: number, to: number): boolean {
    if (this.#nextData < from)
      this.#nextData = this.#calls.seekData(this.#plain.fd, from) ?? Number.POSITIVE_INFINITY;
    return this.#nextData < to;
  }

  /** From now on offsets begin anew. */
  rewind(): void {
    this.#nextData = -1;
  }

  /**
   * Fills the first `length` bytes of the slot. Gives what the disk did not: zeros there, found to `grainBytes`.
   * @throws OperatingError: whatever else is wrong
   */
  async read(slot: Buffer, { offset, length }: Part, grainBytes: number): Promise<Part[]> {
    if ((await this.#fill(slot, length, offset)) === length) return [];
    const lost: Part[] = [];
    for (let at = 0; at < length; at += grainBytes) {
      const part = Math.min(grainBytes, length - at);
      const piece = slot.subarray(at);
      if ((await this.#fill(piece, part, offset + at)) === part) continue;
      piece.fill(0, 0, part);
      lost.push({ offset: offset + at, length: part });
    }
    return lost;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#direct?.close();
    await this.#plain.close();
  }

  /** Gives how many bytes came. */
  async #fill(bytes: Buffer, length: number, offset: number): Promise<number> {
    const whole = Math.ceil(length / ALIGN_BYTES) * ALIGN_BYTES;
    let done = 0;
    while (done < length) {
      const count = await this.#readOnce(bytes.subarray(done, whole), offset + done);
      if (count === 0) break;
      done += count;
    }
    return Math.min(done, length);
  }

  #readOnce(bytes: Buffer, offset: number): Promise<number> {
    return withFile('read', this.#path, async () => {
      try {
        return await this.#readDirectly(bytes, offset);
      } catch (error) {
        if (isSystemError(error) && LOST.has(error.code)) return 0;
        throw error;
      }
    });
  }

  async #readDirectly(bytes: Buffer, offset: number): Promise<number> {
    if (this.#direct === undefined) return await this.#readForgotten(bytes, offset);
    try {
      return (await this.#direct.read(bytes, 0, bytes.length, offset)).bytesRead;
    } catch (error) {
      // What is left at the end of a file is not aligned.
      if (!isSystemError(error) || error.code !== 'EINVAL') throw error;
      return await this.#readForgotten(bytes, offset);
    }
  }

  async #readForgotten(bytes: Buffer, offset: number): Promise<number> {
    const { fd } = this.#plain;
    this.#calls.forget(fd, offset, bytes.length);
    const { bytesRead } = await this.#plain.read(bytes, 0, bytes.length, offset);
    this.#calls.forget(fd, offset, bytes.length);
    return bytesRead;
  }
}

async function openDirect(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_DIRECT);
  } catch (error) {
    if (isSystemError(error) && error.code === 'EINVAL') return undefined;
    throw error;
  }
}
