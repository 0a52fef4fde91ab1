// Chunk manifests of sources, and what else is known of a source, as siphond's API has them. docs/manifests.md has their format.

import type { ChunkTableBytes } from './verification-plan.ts';
import type { SourceIds, SourceProperties } from './vocabulary.ts';

/** What a manifest says; nobody vouches for it but who signed it. */
export interface ManifestFacts {
  readonly sizeBytes: number;
  readonly chunkBytes: number;
  /** Chunks that are no holes. */
  readonly dataChunks: number;
  /** Of its table, lower-case hex. */
  readonly sha256: string;
  readonly name?: string;
  readonly version?: string;
  /** By whose signatures, as it says itself. */
  readonly keyIds: readonly string[];
}

/** GET /v1/source?source=SOURCE, as Ceph tells it now */
export interface SourceAnswer {
  readonly ids: SourceIds;
  readonly sizeBytes: number;
  readonly properties?: SourceProperties;
  readonly manifest?: {
    /** Absent: it cannot be read. */
    readonly facts?: ManifestFacts;
    /** The key by which fills on this host believe it; else there is a problem. */
    readonly keyId?: string;
    /** Why they refuse it. */
    readonly problem?: string;
  };
}

/** GET /v1/manifest?source=SOURCE, as it was attached */
export interface ManifestAnswer {
  readonly envelope: string;
}

/** POST /v1/manifest -> ManifestFacts of what is there then, or {}. null removes it. */
export interface ManifestRequest {
  readonly source: string;
  /** A manifest's file. */
  readonly envelope: string | null;
  /** The source must be this one still. */
  readonly ids?: SourceIds;
}

/** POST /v1/table -> JobLine…, done with TableAnswer: the source is read, chunk by chunk, for who signs its table. */
export interface TableRequest {
  readonly source: string;
}
export interface TableAnswer {
  readonly ids: SourceIds;
  readonly table: ChunkTableBytes;
}
