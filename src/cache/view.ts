// A base as it is told: its row with its pin and its leases.

import { basePath } from '../domain/base-path.ts';
import type { Base } from '../wire/vocabulary.ts';
import type { BaseRow } from './catalogue/bases.ts';
import type { Catalogue } from './catalogue/open.ts';
import { suspicionOf } from './suspicion.ts';

export type BaseView = Base & { readonly path: string };

export function viewOf(catalogue: Catalogue, row: BaseRow): Base {
  const { signatures: _signatures, file, problem, isFileInDoubt: _doubt, ...base } = row;
  const { fsVerity } = file ?? {};
  return {
    ...base,
    ...(base.state === 'suspect' && { suspicion: suspicionOf(problem) }),
    ...(fsVerity !== undefined && { fsVerity }),
    isPinned: catalogue.pins.has(row.id),
    leases: catalogue.leases.ofBase(row.id),
  };
}

/** With the path by which guests name it. */
export function viewWithPath(catalogue: Catalogue, mountPath: string, row: BaseRow): BaseView {
  return { ...viewOf(catalogue, row), path: basePath(mountPath, row.ids, row.format) };
}
