// Writes one image with many requests in flight, in bounded memory; what was written is read back before it counts.

import { type Image, ImageReader, ImageWriter, type Pool } from 'ceph-napi';
import { digest } from '../../../export-file/index.ts';
import { OperatingError } from '../../../wire/errors.ts';
import type { Session } from '../ceph/connections.ts';
import { inImage, openImage } from '../ceph/open.ts';
import type { Flow } from './flow.ts';

/** One request of zeros, and one read of them. */
const ZEROS_BYTES = 16 * 1024 * 1024;

/** What must be there. */
interface Written {
  readonly offset: number;
  readonly length: number;
  /** undefined: zeros. */
  readonly digest?: Buffer;
}

export class DiskWriter implements AsyncDisposable {
  readonly #session: Session;
  readonly #pool: Pool;
  readonly #imageId: string;
  readonly #subject: string;
  readonly #image: Image;
  readonly #writer: ImageWriter;
  readonly #flow: Flow;
  #written: Written[] = [];
  #bytes = 0;

  private constructor(at: DiskAt, image: Image, flow: Flow) {
    this.#flow = flow;
    this.#session = at.session;
    this.#pool = at.pool;
    this.#imageId = at.imageId;
    this.#subject = at.subject;
    this.#image = image;
    this.#writer = ImageWriter.attach(image);
  }

  static async open(at: DiskAt, flow: Flow): Promise<DiskWriter> {
    const image = await openImage(at.session, at.pool, { id: at.imageId }, { writable: true });
    return new DiskWriter(at, image, flow);
  }

  /** Bytes and pieces since the last check. */
  get unchecked(): { readonly bytes: number; readonly count: number } {
    return { bytes: this.#bytes, count: this.#written.length };
  }

  /** Begins a write of memory that the flow gave. */
  write(bytes: Buffer, offset: number, payloadDigest: Buffer): void {
    this.#note({ offset, length: bytes.length, digest: payloadDigest });
    this.#flow.add(
      bytes.length,
      this.#do('write', () => this.#writer.write(bytes, offset)),
    );
  }

  async zeros(offset: number, length: number): Promise<void> {
    this.#note({ offset, length });
    for (let at = offset; at < offset + length; at += ZEROS_BYTES) {
      const size = Math.min(ZEROS_BYTES, offset + length - at);
      await this.#flow.room(0);
      this.#flow.add(
        0,
        this.#do('write zeros', () => this.#writer.writeZeroes(at, size)),
      );
    }
  }

  /** Resolves when all that was written is safe, and was read back as it must be. @throws OperatingError corrupt */
  async check(): Promise<void> {
    await this.#flow.drained();
    await this.#do('flush', () => this.#writer.flush());
    const written = this.#written;
    this.#written = [];
    this.#bytes = 0;
    if (written.length === 0) return;
    // A fresh handle has nothing of this one's cache.
    await using fresh = await openImage(this.#session, this.#pool, { id: this.#imageId });
    const reader = ImageReader.attach(fresh);
    for (const each of written) await this.#readBack(reader, each);
    await this.#flow.drained();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#flow.drained().catch(() => undefined); // whoever waited for it has heard
    await this.#image.close();
  }

  async #readBack(reader: ImageReader, { offset, length, digest: wanted }: Written): Promise<void> {
    for (let at = offset; at < offset + length; at += ZEROS_BYTES) {
      const size = Math.min(ZEROS_BYTES, offset + length - at);
      const bytes = await this.#flow.memory(size);
      const reading = this.#do('read back', async () => {
        await reader.read(bytes, at);
        const isSame = wanted === undefined ? isZero(bytes) : digest(bytes).equals(wanted);
        if (!isSame) throw this.#differs(at);
      });
      this.#flow.add(size, reading);
    }
  }

  #note(written: Written): void {
    this.#written.push(written);
    this.#bytes += written.length;
  }

  #do<T>(op: string, body: () => Promise<T>): Promise<T> {
    return inImage(this.#session, this.#image, op, this.#subject, body);
  }

  #differs(at: number): OperatingError {
    const why = `what was written at byte ${at} reads otherwise`;
    return new OperatingError({ code: 'corrupt', op: 'read back', subject: this.#subject, why });
  }
}

export interface DiskAt {
  readonly session: Session;
  readonly pool: Pool;
  readonly imageId: string;
  /** For messages. */
  readonly subject: string;
}

function isZero(bytes: Buffer): boolean {
  return bytes[0] === 0 && bytes.compare(bytes, 1, bytes.length, 0, bytes.length - 1) === 0;
}
