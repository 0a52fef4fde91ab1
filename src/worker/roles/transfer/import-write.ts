// The bytes of an import, frame by frame into its images.

import assert from 'node:assert/strict';
import { type Pool, resizeImage } from 'ceph-napi';
import {
  decodeFrame,
  type ExportReader,
  FRAME_BYTES,
  type Mark,
} from '../../../export-file/index.ts';
import { OperatingError } from '../../../wire/errors.ts';
import type { Session } from '../ceph/connections.ts';
import { inImage, openImage, placeOf } from '../ceph/open.ts';
import { type DiskAt, DiskWriter } from './disk-writer.ts';
import { Flow } from './flow.ts';
import type { ImportRecord } from './import-record.ts';
import type { StreamClient } from './stream-client.ts';

export interface Writing {
  readonly session: Session;
  readonly pool: Pool;
  readonly reader: ExportReader;
  readonly client: StreamClient;
  readonly record: ImportRecord;
}

/** What is checked, and noted, at a time: as much is written again after an interruption. */
const CHECK_BYTES = 64 * 1024 * 1024;
const CHECK_COUNT = 4096;

/**
 * Writes all that comes. `note` is told the places before which all is safe, and was read back.
 * @throws OperatingError corrupt: the export is cut or changed, or an image does not give back what was written
 */
export async function writeDisks(
  writing: Writing,
  signal: AbortSignal,
  note: (mark: Mark) => Promise<void>,
): Promise<void> {
  const { reader } = writing;
  for (const at of reader.header.state.disks.keys()) await fitSize(writing, at);
  const flow = new Flow();
  await using current = new CurrentDisk(writing, flow);
  for (;;) {
    signal.throwIfAborted();
    const before = reader.mark;
    const next = await reader.next((length) => flow.memory(length));
    if (next?.frame.disk !== current.at && (await current.close())) await note(before);
    if (next === undefined) break;
    const writer = await current.open(next.frame.disk);
    const { kind, offset, length } = next.frame;
    if (kind === 'data') writer.write(next.payload, offset, next.payloadDigest);
    else await writer.zeros(offset, length);
    const { bytes, count } = writer.unchecked;
    if (bytes < CHECK_BYTES && count < CHECK_COUNT) continue;
    await writer.check();
    await note(reader.mark);
  }
  await expectEnd(writing.client);
}

/** The image that is written to now: frames come disk by disk. */
class CurrentDisk implements AsyncDisposable {
  readonly #writing: Writing;
  readonly #flow: Flow;
  #open: { readonly at: number; readonly writer: DiskWriter } | undefined;

  constructor(writing: Writing, flow: Flow) {
    this.#writing = writing;
    this.#flow = flow;
  }

  get at(): number | undefined {
    return this.#open?.at;
  }

  async open(at: number): Promise<DiskWriter> {
    this.#open ??= { at, writer: await DiskWriter.open(diskAt(this.#writing, at), this.#flow) };
    return this.#open.writer;
  }

  /** Whether there was one, of which all is checked then. */
  async close(): Promise<boolean> {
    const { writer } = this.#open ?? {};
    if (writer === undefined) return false;
    await writer.check();
    this.#open = undefined;
    await writer[Symbol.asyncDispose]();
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#open?.writer[Symbol.asyncDispose]();
  }
}

function diskAt({ session, pool, record }: Writing, at: number): DiskAt {
  const { imageId = '', name } = record.disks[at] ?? assert.fail('no such disk');
  return { session, pool, imageId, subject: `${placeOf(pool)}/${name}` };
}

/** Also one of which nothing else has changed. */
async function fitSize(writing: Writing, at: number): Promise<void> {
  const { session, pool, imageId, subject } = diskAt(writing, at);
  const { sizeBytes = 0 } = writing.reader.header.state.disks[at] ?? {};
  await using image = await openImage(session, pool, { id: imageId }, { writable: true });
  await inImage(session, image, 'resize', subject, async () => {
    if ((await image.size()) !== sizeBytes) await resizeImage(image, sizeBytes, { shrink: true });
  });
}

/** @throws OperatingError corrupt */
async function expectEnd(client: StreamClient): Promise<void> {
  const bytes = Buffer.alloc(FRAME_BYTES);
  await client.read(bytes);
  if (decodeFrame(bytes)?.frame.kind === 'end') return await client.end();
  const why = 'something follows after its end';
  throw new OperatingError({ code: 'corrupt', op: 'read export', subject: 'end', why });
}
