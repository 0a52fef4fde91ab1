// What the tables in front of a qcow2 file's data are, in one digest: that of a table of chunks, so that they may come in any order, and holes
// cost nothing.

import { createHash } from 'node:crypto';
import { TableBuilder } from '../trust/manifest/chunk-table.ts';
import type { FileHead } from '../wire/scrub-protocol.ts';
import { CLUSTER_BYTES, type TablePiece } from './qcow2-layout.ts';

const ZEROS = Buffer.alloc(CLUSTER_BYTES);

export class HeadDigest {
  readonly #lengthBytes: number;
  readonly #builder: TableBuilder;

  constructor(lengthBytes: number) {
    this.#lengthBytes = lengthBytes;
    this.#builder = new TableBuilder({ sizeBytes: lengthBytes, chunkBytes: CLUSTER_BYTES });
  }

  /** Each cluster once; what never comes is zeros. */
  add({ offset, bytes }: TablePiece): void {
    if (ZEROS.compare(bytes, 0, bytes.length, 0, bytes.length) === 0) return;
    const rest = ZEROS.subarray(bytes.length);
    const digest = createHash('sha256').update(bytes).update(rest).digest();
    this.#builder.add(offset / CLUSTER_BYTES, digest);
  }

  finish(): FileHead {
    return { lengthBytes: this.#lengthBytes, sha256: this.#builder.finish().sha256 };
  }
}
