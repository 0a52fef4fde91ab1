// The file that an export or a mend writes: created new, without the page cache where the filesystem can, and gone unless it is kept.

import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { chmod, open, unlink } from 'node:fs/promises';
import { isSystemError, withFile } from './errors.ts';
import { ALIGN_BYTES } from './slots.ts';

/** A base never changes: nobody may write it, and guests' QEMU must read it. */
const BASE_MODE = 0o444;
const PARTIAL_MODE = 0o600;

export class PartialFile implements AsyncDisposable {
  readonly path: string;
  readonly #plain: FileHandle;
  readonly #mode: number;
  /** With O_DIRECT; undefined where the filesystem has none. */
  #direct: FileHandle | undefined;
  #isKept = false;

  private constructor(path: string, plain: FileHandle, mode: number) {
    this.path = path;
    this.#plain = plain;
    this.#mode = mode;
  }

  /** `mode`: when it is complete. @throws OperatingError `refused` where `path` exists */
  static async create(path: string, mode = BASE_MODE): Promise<PartialFile> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
    const plain = await withFile('create', path, () => open(path, flags, PARTIAL_MODE));
    return await PartialFile.#of(path, plain, mode);
  }

  /** One that was just made of another, by its name. */
  static async reopen(path: string): Promise<PartialFile> {
    const plain = await withFile('open', path, async () => {
      await chmod(path, PARTIAL_MODE);
      return await open(path, constants.O_WRONLY);
    });
    return await PartialFile.#of(path, plain, BASE_MODE);
  }

  static async #of(path: string, plain: FileHandle, mode: number): Promise<PartialFile> {
    const file = new PartialFile(path, plain, mode);
    file.#direct = await file.#openDirect();
    return file;
  }

  /** Writes all of `bytes` at `offset`. Past the page cache where memory, offset and length are aligned to ALIGN_BYTES. */
  write(bytes: Uint8Array, offset: number): Promise<void> {
    return withFile('write', this.path, async () => {
      let done = 0;
      while (done < bytes.length)
        done += await this.#writeSome(bytes.subarray(done), offset + done);
    });
  }

  /** What is beyond is gone, what is missing a hole. */
  resize(sizeBytes: number): Promise<void> {
    return withFile('resize', this.path, () => this.#plain.truncate(sizeBytes));
  }

  /** Sets the exact size, and makes all of it safe. Gives what it takes on disk, in bytes. */
  complete(sizeBytes: number): Promise<number> {
    return withFile('complete', this.path, async () => {
      await this.#plain.truncate(sizeBytes);
      await this.#plain.chmod(this.#mode);
      await this.#plain.sync();
      return (await this.#plain.stat()).blocks * 512;
    });
  }

  /** From here on the file stays. */
  keep(): void {
    this.#isKept = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#direct?.close();
    await this.#plain.close();
    if (!this.#isKept) await withFile('remove', this.path, () => unlink(this.path));
  }

  async #writeSome(bytes: Uint8Array, offset: number): Promise<number> {
    const direct = this.#direct;
    if (direct === undefined || offset % ALIGN_BYTES !== 0 || bytes.length % ALIGN_BYTES !== 0) {
      return (await this.#plain.write(bytes, 0, bytes.length, offset)).bytesWritten;
    }
    try {
      return (await direct.write(bytes, 0, bytes.length, offset)).bytesWritten;
    } catch (error) {
      // A disk of larger sectors, or memory that is not aligned: the page cache takes anything.
      if (!isSystemError(error) || error.code !== 'EINVAL') throw error;
      return (await this.#plain.write(bytes, 0, bytes.length, offset)).bytesWritten;
    }
  }

  async #openDirect(): Promise<FileHandle | undefined> {
    try {
      return await open(this.path, constants.O_WRONLY | constants.O_DIRECT);
    } catch (error) {
      if (isSystemError(error) && error.code === 'EINVAL') return undefined; // no O_DIRECT here
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }
}
