// Bases' files as fills make them, of content that a test has, in a folder of its own.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PartialFile } from '../../../../src/rbd-export/partial-file.ts';
import { qcow2Sink, verbatimSink } from '../../../../src/rbd-export/sink.ts';
import { CHUNK_BYTES, SlotMemory } from '../../../../src/rbd-export/slots.ts';
import { ChunkDigester } from '../../../../src/trust/manifest/chunk-digester.ts';
import { TableBuilder } from '../../../../src/trust/manifest/chunk-table.ts';
import type { ScrubSpec } from '../../../../src/wire/scrub-protocol.ts';
import type { ChunkTableBytes } from '../../../../src/wire/verification-plan.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** Random bytes in these chunks of a fill, and zeros elsewhere. */
export function contentOf(sizeBytes: number, dataAt: readonly number[]): Buffer {
  const content = Buffer.alloc(sizeBytes);
  for (const at of dataAt) {
    for (let i = at; i < Math.min(at + 70 * KIB, sizeBytes); i++) content[i] = (i * 31 + 7) & 0xff;
  }
  return content;
}

export function tableOf(content: Buffer, chunkBytes = CHUNK_BYTES): ChunkTableBytes {
  const sizes = { sizeBytes: content.length, chunkBytes };
  const builder = new TableBuilder(sizes);
  for (const { chunk, digest } of new ChunkDigester(sizes).update(content, 0))
    if (digest !== null) builder.add(chunk, digest);
  const { sha256, bytes } = builder.finish();
  return { sha256, chunkBytes, base64: bytes.toString('base64') };
}

export async function scratch(): Promise<AsyncDisposable & { readonly folder: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'siphon-scrub-'));
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

/** A base's file, and what its record would say of it. */
export async function makeBase(
  folder: string,
  content: Buffer,
  { isVerbatim = false, chunkBytes = CHUNK_BYTES } = {},
): Promise<ScrubSpec> {
  const file = path.join(folder, 'base');
  await rm(file, { force: true });
  await using partial = await PartialFile.create(file, 0o644);
  const memory = new SlotMemory(1);
  const sink = isVerbatim
    ? verbatimSink(partial, 'raw', content.length)
    : qcow2Sink(partial, content.length);
  for (let at = 0; at < content.length; at += CHUNK_BYTES) {
    const slot = memory.bytes(0, CHUNK_BYTES);
    const length = content.copy(slot, 0, at, at + CHUNK_BYTES);
    await sink.write(slot, length, at);
  }
  await sink.complete();
  partial.keep();
  return {
    subject: 'a base',
    path: file,
    format: sink.format,
    sourceFormat: 'raw',
    sourceSizeBytes: content.length,
    table: tableOf(content, chunkBytes),
    ...(sink.head && { head: sink.head }),
    rateBytes: 0,
  };
}
