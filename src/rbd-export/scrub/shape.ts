// Where in a base's file the bytes of its source lie, and what is around them. Pure.

import type { BaseFileSpec } from '../../wire/scrub-protocol.ts';
import { type Layout, planLayout } from '../qcow2-layout.ts';

export interface FileShape {
  /** Before the data: the qcow2 tables; 0 of a file that is the source's bytes. */
  readonly headBytes: number;
  /** The source's. */
  readonly dataBytes: number;
  readonly fileBytes: number;
  /** Of qcow2 that siphon made. */
  readonly layout?: Layout;
}

export function shapeOf({
  format,
  sourceFormat,
  sourceSizeBytes: dataBytes,
}: Pick<BaseFileSpec, 'format' | 'sourceFormat' | 'sourceSizeBytes'>): FileShape {
  if (format === sourceFormat) return { headBytes: 0, dataBytes, fileBytes: dataBytes };
  const layout = planLayout(dataBytes);
  return { headBytes: layout.dataOffset, dataBytes, fileBytes: layout.fileSizeBytes, layout };
}
