// Export files of the tests' own: made from disks in memory, read back into them.

import {
  type ByteSource,
  decodeHeader,
  digest,
  ExportChain,
  ExportReader,
  encodeHeader,
  type Frame,
  firstMark,
  type Header,
} from '../../../src/export-file/index.ts';

export interface Part {
  readonly frame: Frame;
  readonly payload?: Buffer;
}

export function headerFor(sizes: readonly number[], more: Partial<Header> = {}): Header {
  const disks = sizes.map((sizeBytes, at) => {
    const ids = { poolId: 3, namespace: '', imageId: `10ab${at}`, snapId: 7 + at };
    return { target: `vd${String.fromCharCode(97 + at)}`, ...ids, sizeBytes };
  });
  return {
    format: 1,
    id: '0123456789abcdef0123456789abcdef',
    writtenBy: '0',
    createdAtMs: 1,
    state: { fsid: 'f', setId: '20261120t231500z-9f3a1c2b', disks },
    shapes: disks.map(() => ({ order: 22, features: 61 })),
    set: {
      schema: 1,
      id: '20261120t231500z-9f3a1c2b',
      fsid: 'f',
      domainUuid: '5b1f0d6e-7c1d-4c55-9c3e-0a4f5d7e9b31',
      domainName: 'web-1',
      host: 'h1',
      createdAtMs: 1,
      event: 'manual',
      wanted: { devices: 'all', quiesce: 'none', instant: 'none' },
      quiesced: 'none',
      instant: 'none',
      way: 'native',
      disks: disks.map((disk) => ({ ...disk, image: `web-${disk.target}`, pool: 'vms' })),
      leftOut: [],
      domainXml: '<domain/>',
    },
    ...more,
  };
}

/** The whole file, and where each frame begins. */
export function fileOf(
  header: Header,
  parts: readonly Part[],
): { readonly bytes: Buffer; readonly starts: readonly number[] } {
  const head = encodeHeader(header);
  const { chain: first } = decodeHeader(head);
  const chain = new ExportChain(firstMark(header.state.disks.length, head.length, first));
  const pieces = [head];
  const starts: number[] = [];
  for (const { frame, payload } of parts) {
    starts.push(chain.mark.position);
    pieces.push(chain.frame(frame, payload && digest(payload)));
    if (payload) pieces.push(payload);
  }
  starts.push(chain.mark.position);
  pieces.push(chain.end());
  return { bytes: Buffer.concat(pieces), starts };
}

export function sourceOf(bytes: Buffer): ByteSource {
  let at = 0;
  return {
    read: async (into) => {
      const count = bytes.copy(into, 0, at);
      at += count;
      return count;
    },
  };
}

/** All frames of a file, its payloads copied. @throws OperatingError */
export async function partsIn(bytes: Buffer): Promise<Part[]> {
  return await partsOf(await ExportReader.open(sourceOf(bytes)));
}

/** Those that are not read yet. @throws OperatingError */
export async function partsOf(reader: ExportReader): Promise<Part[]> {
  const parts: Part[] = [];
  for (;;) {
    const next = await reader.next((length) => Buffer.alloc(length));
    if (next === undefined) return parts;
    const { frame, payload } = next;
    parts.push(frame.kind === 'data' ? { frame, payload } : { frame });
  }
}
