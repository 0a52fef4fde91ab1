// What is found of trust, applied to the bases that are here: a base is suspect while something speaks against it, and ready again without
// a fill once nothing does and its file is still the one that was published.

import { setImmediate as turn } from 'node:timers/promises';
import { formatSource } from '../wire/source.ts';
import type { BaseRow } from './catalogue/bases.ts';
import { checkFile } from './file-check.ts';
import type { CacheParts } from './parts.ts';
import {
  type DoubtKind,
  type Doubts,
  decideDoubt,
  doubtsOf,
  type FoundDoubt,
  problemOf,
} from './suspicion.ts';

/** `before`: what was found the last time, where it is suspect by that. Nothing is awaited meanwhile. */
export type JudgeBase<K extends DoubtKind> = (
  row: BaseRow,
  before: Doubts[K] | undefined,
) => FoundDoubt<K>;

export interface DoubtChange {
  readonly id: string;
  readonly name: string;
  readonly to: 'suspect' | 'ready';
  /** Of what is suspect. */
  readonly why?: string;
}

/** So many are on disk together, and others have their turn between. */
const TOGETHER = 500;

/** @throws OperatingError where the catalogue or the disk does not let it */
export async function applyDoubts<K extends DoubtKind>(
  parts: Pick<CacheParts, 'catalogue' | 'settings'>,
  kind: K,
  judge: JudgeBase<K>,
  ids: readonly string[] = parts.catalogue.bases.all().map(({ id }) => id),
): Promise<readonly DoubtChange[]> {
  const changes: DoubtChange[] = [];
  for (let from = 0; from < ids.length; from += TOGETHER) {
    if (from > 0) await turn();
    const some = ids.slice(from, from + TOGETHER);
    const absolved = doubtTogether(parts, kind, judge, some, changes);
    for (const row of absolved) if (await absolve(parts, row)) changes.push(change(row, 'ready'));
  }
  return changes;
}

/** Gives those that nothing speaks against any more. */
function doubtTogether<K extends DoubtKind>(
  { catalogue: { bases } }: Pick<CacheParts, 'catalogue'>,
  kind: K,
  judge: JudgeBase<K>,
  ids: readonly string[],
  changes: DoubtChange[],
): readonly BaseRow[] {
  const rows = ids.map((id) => bases.get(id)).filter((row) => row !== undefined);
  const steps = rows.map((row) => {
    const found = judge(row, row.state === 'suspect' ? doubtsOf(row.problem)?.[kind] : undefined);
    return { row, step: decideDoubt(row, kind, found) };
  });
  const doubted = steps.flatMap(({ row, step }) =>
    step.kind === 'doubt' ? [{ row, doubts: step.doubts }] : [],
  );
  bases.doubt(doubted.map(({ row, doubts }) => ({ id: row.id, problem: problemOf(doubts) })));
  for (const { row, doubts } of doubted)
    changes.push(change(row, 'suspect', (doubts[kind] ?? Object.values(doubts)[0])?.why));
  return steps.filter(({ step }) => step.kind === 'absolve').map(({ row }) => row);
}

async function absolve(
  parts: Pick<CacheParts, 'catalogue' | 'settings'>,
  row: BaseRow,
): Promise<boolean> {
  const { kind } = await checkFile(parts, row);
  const now = parts.catalogue.bases.get(row.id);
  if (kind === 'lost' || now?.state !== 'suspect' || now.problem !== row.problem) return false;
  if (now.isFileInDoubt) {
    const problem = 'its file was changed, or is damaged, which a scrub looks at';
    parts.catalogue.bases.move(row.id, 'damaged', { problem, isFileInDoubt: true });
    return false;
  }
  parts.catalogue.bases.move(row.id, 'absolved', { problem: undefined });
  return true;
}

function change({ id, name }: BaseRow, to: DoubtChange['to'], why?: string): DoubtChange {
  return { id, name: formatSource(name), to, ...(why !== undefined && { why }) };
}
