// Which chunks are not what a table says: found, and not thrown.

import type { ChunkEntry } from '../../trust/manifest/chunk-digester.ts';
import type { ChunkTable } from '../../trust/manifest/chunk-table.ts';
import type { ChunkCheck } from '../chunk-hashing.ts';
import type { Part } from './base-file.ts';

export type Run = readonly [first: number, count: number];

export class Survey implements ChunkCheck {
  readonly #table: ChunkTable;
  readonly #bad = new Set<number>();

  constructor(table: ChunkTable) {
    this.#table = table;
  }

  chunk({ chunk, digest }: ChunkEntry): void {
    const wanted = this.#table.digestOf(chunk);
    const isGood = digest === null ? wanted === undefined : wanted?.equals(digest) === true;
    if (!isGood) this.#bad.add(chunk);
  }

  holes(first: number, last: number): void {
    let chunk = this.#table.firstData(first, last);
    for (; chunk !== undefined; chunk = this.#table.firstData(chunk + 1, last))
      this.#bad.add(chunk);
  }

  /** What nobody could read: of holes, too. */
  lost({ offset, length }: Part): void {
    const { chunkBytes } = this.#table;
    const last = Math.floor((offset + length - 1) / chunkBytes);
    for (let chunk = Math.floor(offset / chunkBytes); chunk <= last; chunk++) this.#bad.add(chunk);
  }

  finish(): ChunkTable {
    return this.#table;
  }

  get isWhole(): boolean {
    return this.#bad.size === 0;
  }

  get runs(): Run[] {
    const runs: [number, number][] = [];
    for (const chunk of [...this.#bad].toSorted((a, b) => a - b)) {
      const last = runs.at(-1);
      if (last !== undefined && last[0] + last[1] === chunk) last[1] += 1;
      else runs.push([chunk, 1]);
    }
    return runs;
  }

  get chunkCount(): number {
    return this.#bad.size;
  }

  /** Of the source. */
  get bytes(): number {
    const { chunkBytes, chunkCount, sizeBytes } = this.#table;
    const isLastBad = this.#bad.has(chunkCount - 1);
    const shortBytes = isLastBad ? chunkCount * chunkBytes - sizeBytes : 0;
    return this.#bad.size * chunkBytes - shortBytes;
  }
}
