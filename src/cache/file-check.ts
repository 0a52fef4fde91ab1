// Whether a base's file is still what the catalogue says, and what follows where it is not.

import { basePath } from '../domain/base-path.ts';
import type { BaseRow, FileFacts } from './catalogue/bases.ts';
import { isSameFile, statFile } from './files.ts';
import type { CacheParts } from './parts.ts';
import { fileDoubt } from './suspicion.ts';

export type FileCheck =
  | { readonly kind: 'same' }
  | { readonly kind: 'lost' }
  | { readonly kind: 'damaged'; readonly problem: string };

/** Looks at the file of a ready or suspect base and moves the base accordingly. A base that is worked on is left alone. */
export async function checkFile(
  { catalogue, settings }: Pick<CacheParts, 'catalogue' | 'settings'>,
  row: BaseRow,
): Promise<FileCheck> {
  const file = await statFile(basePath(settings.path, row.ids, row.format));
  const now = catalogue.bases.get(row.id);
  const isAtRest = now?.state === 'ready' || now?.state === 'suspect';
  // Filled or evicted while we looked: what we saw says nothing of what is there now.
  if (!isAtRest || now.createdAtMs !== row.createdAtMs) return { kind: 'same' };
  if (file === undefined) {
    catalogue.bases.move(row.id, 'lost');
    return { kind: 'lost' };
  }
  if (row.file !== undefined && isSameFile(file, row.file)) return { kind: 'same' };
  const problem = `its file has ${factsText(file)}, and was published with ${row.file === undefined ? 'none that were recorded' : factsText(row.file)}`;
  const doubt = fileDoubt(now, problem);
  const isNew = doubt?.problem !== now.problem || doubt?.isFileInDoubt !== now.isFileInDoubt;
  if (doubt !== undefined && isNew) catalogue.bases.move(row.id, 'damaged', doubt);
  return { kind: 'damaged', problem };
}

function factsText({ sizeBytes, mtimeMs, inode }: FileFacts): string {
  const at = new Date(mtimeMs).toISOString();
  return `${sizeBytes} bytes of ${at}${inode === undefined ? '' : ` in inode ${inode}`}`;
}
