// A damaged base made whole in a new file: what is good of the old one is taken over, what is not is read from the source, chunk by chunk,
// and has to be what the table says. Nothing counts that the last look at the new file, on the disk, has not found good.

import { ChunkDigester } from '../../trust/manifest/chunk-digester.ts';
import type { ChunkTable } from '../../trust/manifest/chunk-table.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { FileDamage, FileHead, MendResult, MendSpec } from '../../wire/scrub-protocol.ts';
import { formatSource } from '../../wire/source.ts';
import type { FillProgress } from '../../wire/worker-protocol.ts';
import { cancelled } from '../errors.ts';
import { PartialFile } from '../partial-file.ts';
import { CLUSTER_BYTES, encodeTables } from '../qcow2-layout.ts';
import { CHUNK_BYTES, SlotMemory } from '../slots.ts';
import { Source } from '../source.ts';
import { BaseFile } from './base-file.ts';
import { copySparsely, reflink } from './copy-file.ts';
import { type ScrubOptions, tableOf } from './index.ts';
import { RateBound } from './rate.ts';
import { headOf, type Scrubbed, scrubFile } from './scrub-file.ts';
import { type FileShape, shapeOf } from './shape.ts';

/** Chunks, then the tables in front of them, then a last look. */
const ROUNDS_MAX = 3;

/**
 * Nothing is left at `spec.partialPath` when it rejects, unless by `corrupt`: then what there was; or when a fill is the way.
 * @throws OperatingError corrupt (the source is not what it was), not-found (removed, also meanwhile), exhausted (disk full), cancelled,
 *   unavailable, denied, mismatch
 */
export async function mendBase(spec: MendSpec, options: ScrubOptions): Promise<MendResult> {
  const { signal } = options;
  const subject = formatSource(spec.name);
  try {
    signal?.throwIfAborted();
    await using source = await Source.open(spec);
    return await mendFrom(source, spec, options);
  } catch (error) {
    throw signal?.aborted ? cancelled(subject) : error;
  }
}

/** What a mend asks of its source. */
export type MendSource = Pick<Source, 'sizeBytes' | 'read' | 'lookAgain'>;

/** As {@link mendBase}, of a source that is open. */
export async function mendFrom(
  source: MendSource,
  spec: MendSpec,
  options: ScrubOptions,
): Promise<MendResult> {
  const { sizeBytes } = source;
  if (sizeBytes !== spec.sourceSizeBytes) {
    const what = `has ${sizeBytes} bytes now, and had ${spec.sourceSizeBytes}`;
    throw changed(formatSource(spec.name), what);
  }
  return await new Mend(spec, options, source).run();
}

class Mend {
  readonly #spec: MendSpec;
  readonly #options: ScrubOptions;
  readonly #source: MendSource;
  readonly #shape: FileShape;
  readonly #table: ChunkTable;
  readonly #memory = new SlotMemory();
  #chunks = 0;
  #readBytes = 0;
  #isHead = false;

  constructor(spec: MendSpec, options: ScrubOptions, source: MendSource) {
    this.#spec = spec;
    this.#options = options;
    this.#source = source;
    this.#shape = shapeOf(spec);
    this.#table = tableOf(spec);
  }

  async run(): Promise<MendResult> {
    const { path, partialPath } = this.#spec;
    const cloned = await reflink(path, partialPath);
    await using file = cloned ?? (await PartialFile.create(partialPath));
    if (cloned === undefined) await this.#copyTo(file);
    await file.resize(this.#shape.fileBytes);
    try {
      const done = await this.#mend(file);
      if (typeof done === 'string') return { kind: 'refill', why: done };
      await this.#source.lookAgain();
      this.#options.signal?.throwIfAborted();
      await file.complete(this.#shape.fileBytes);
      file.keep();
      const { head } = done;
      const isReflinked = cloned !== undefined;
      return { kind: 'mended', ...this.#told(), isReflinked, ...(head && { head }) };
    } catch (error) {
      if (error instanceof OperatingError && error.code === 'corrupt') file.keep();
      throw error;
    }
  }

  #told() {
    return { chunks: this.#chunks, isHead: this.#isHead, readBytes: this.#readBytes };
  }

  /** Or why it cannot be done. */
  async #mend(file: PartialFile): Promise<{ readonly head?: FileHead } | string> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const { damage, clusters } = await this.#scrub();
      const { layout } = this.#shape;
      const tables = layout && clusters && ([layout, clusters] as const);
      const recorded = this.#spec.head;
      if (damage === undefined) {
        const head = recorded ?? (tables && (await headOf(...tables)));
        return { ...(head && { head }) };
      }
      if (this.#isTooMuch(damage)) return 'more than half of it is damaged';
      await this.#mendChunks(file, damage);
      if (damage.isTail) await this.#mendTail(file);
      if (!damage.isHead || tables === undefined) continue;
      if (recorded !== undefined && recorded.sha256 !== (await headOf(...tables)).sha256)
        return 'its qcow2 tables were made by another siphon';
      await this.#mendHead(file, ...tables);
    }
    return 'what was written does not stay as it was written';
  }

  async #scrub(): Promise<Scrubbed> {
    const { calls, signal, onProgress } = this.#options;
    await using file = await BaseFile.open(this.#spec.partialPath, calls);
    return await scrubFile({
      subject: this.#spec.subject,
      file,
      shape: this.#shape,
      table: this.#table,
      head: this.#spec.head,
      rate: new RateBound(0),
      isPaced: false,
      memory: this.#memory,
      signal,
      // What is told as read is what came from Ceph.
      onProgress: (told: FillProgress) => onProgress?.({ ...told, readBytes: this.#readBytes }),
    });
  }

  #isTooMuch({ chunkBytes }: FileDamage): boolean {
    const dataBytes = this.#table.dataChunks * this.#table.chunkBytes;
    return chunkBytes > Math.max(dataBytes / 2, CHUNK_BYTES);
  }

  async #mendChunks(file: PartialFile, { chunks }: FileDamage): Promise<void> {
    for (const [first, count] of chunks) {
      for (let chunk = first; chunk < first + count; chunk++) {
        this.#options.signal?.throwIfAborted();
        await this.#mendChunk(file, chunk);
        this.#chunks += 1;
      }
    }
  }

  async #mendChunk(file: PartialFile, chunk: number): Promise<void> {
    const { chunkBytes, sizeBytes } = this.#table;
    const wanted = this.#table.digestOf(chunk);
    const digester = new ChunkDigester({ sizeBytes, chunkBytes });
    const end = Math.min((chunk + 1) * chunkBytes, sizeBytes);
    for (let offset = chunk * chunkBytes; offset < end; offset += CHUNK_BYTES) {
      const bytes = this.#memory.bytes(0, Math.min(CHUNK_BYTES, end - offset));
      if (wanted === undefined) bytes.fill(0);
      else await this.#readSource(bytes, offset);
      for (const { digest } of digester.update(bytes, offset)) {
        if (digest === null ? wanted !== undefined : wanted?.equals(digest) !== true)
          throw changed(
            formatSource(this.#spec.name),
            `has something else at chunk ${chunk}, byte ${chunk * chunkBytes}, than when it was filled`,
          );
      }
      await file.write(bytes, this.#shape.headBytes + offset);
    }
  }

  async #readSource(bytes: Buffer, offset: number): Promise<void> {
    await this.#source.read(bytes, offset);
    this.#readBytes += bytes.length;
  }

  async #mendTail(file: PartialFile): Promise<void> {
    const { headBytes, dataBytes, fileBytes } = this.#shape;
    const end = headBytes + dataBytes;
    await file.write(Buffer.alloc(fileBytes - end), end);
  }

  /** Nothing of what was there stays. */
  async #mendHead(file: PartialFile, ...tables: Parameters<typeof encodeTables>): Promise<void> {
    const { calls } = this.#options;
    await using old = await BaseFile.open(this.#spec.partialPath, calls);
    const zeros = Buffer.alloc(CLUSTER_BYTES);
    for (let offset = 0; offset < this.#shape.headBytes; offset += CLUSTER_BYTES) {
      if (old.hasData(offset, offset + CLUSTER_BYTES)) await file.write(zeros, offset);
    }
    for (const { bytes, offset } of encodeTables(...tables)) await file.write(bytes, offset);
    this.#isHead = true;
  }

  async #copyTo(file: PartialFile): Promise<void> {
    const { calls, signal } = this.#options;
    await using old = await BaseFile.open(this.#spec.path, calls, this.#spec.isSealed);
    const { fileBytes } = this.#shape;
    await copySparsely(old, file, { memory: this.#memory, fileBytes, signal });
  }
}

function changed(subject: string, what: string): OperatingError {
  const hint =
    'A snapshot does not change: its object map, a pool that lost data, or the base’s record is wrong. siphon list --quarantined shows what was put together.';
  const why = `its source ${what}`;
  return new OperatingError({ code: 'corrupt', op: 'mend', subject, why, hint });
}
