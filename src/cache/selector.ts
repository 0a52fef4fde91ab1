// A source's name to the base that carries it. Pure.

import type { SourceName } from '../wire/vocabulary.ts';
import type { BaseRow } from './catalogue/bases.ts';

/** The bases whose source was last known by this name: several where an image was made anew under it. */
export function basesNamed(rows: readonly BaseRow[], name: SourceName): BaseRow[] {
  return rows.filter(({ ids, name: known }) => {
    const isThere = name.fsid === undefined || ids.fsid === name.fsid;
    return isThere && PARTS.every((part) => known[part] === name[part]);
  });
}

const PARTS = ['pool', 'namespace', 'image', 'snap'] as const;
