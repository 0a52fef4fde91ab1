// siphond's API for exports and imports.

import type { StreamAt } from './transfer-protocol.ts';
import type { Devices } from './vocabulary.ts';

/** Folder of the sockets on which bytes pass, beside siphond's own. */
export const STREAMS_FOLDER = 'streams';

/** POST /v1/exports -> TransferAnswer */
export interface ExportRequest {
  readonly set: string;
  readonly since?: string;
  readonly devices?: Devices;
}

/** POST /v1/imports -> TransferAnswer */
export interface ImportRequest {
  /** POOL[/NAMESPACE] */
  readonly to: string;
  /** As the config names it; default: the default one. */
  readonly cluster?: string;
  readonly name?: string;
}

/** The job has begun, and waits for its client; GET /v1/jobs/ID/watch tells its end. */
export interface TransferAnswer {
  readonly job: string;
  readonly stream: StreamAt;
}

/**
 * On the stream the client first sends the token, and this as JSON behind 4 bytes of its length (little endian). Of an export the
 * file's bytes come then; of an import 8 bytes (little endian) say from where in the file on they are wanted.
 */
export interface Hello {
  /** Of an import: the file's length, where it has one. */
  readonly fileBytes?: number;
  /** Of an export: what is there already, whole: its header (base64), and the place behind its last frame. */
  readonly begun?: { readonly header: string; readonly mark: unknown };
}

/** The longest {@link Hello}: a header holds a domain's XML. */
export const HELLO_BYTES_MAX = 64 * 1024 * 1024;
