// The bases that are suspect, as problems: one of each whose bytes are in question, and one for all of which one thing is said. Pure.

import type { BaseView } from '../cache/index.ts';
import type { StatusAnswer } from '../wire/api.ts';
import { formatSource } from '../wire/source.ts';

type Problem = StatusAnswer['problems'][number];

const NAMED_MAX = 3;

export function suspectProblems(
  bases: readonly Pick<BaseView, 'state' | 'suspicion' | 'path' | 'name'>[],
): Problem[] {
  const suspects = bases.filter((base) => base.state === 'suspect');
  const groups = Map.groupBy(suspects, ({ path, suspicion }) =>
    suspicion === undefined || suspicion.of === 'bytes' ? path : suspicion.why,
  );
  return [...groups.values()].flatMap((group) => problemOf(group));
}

function problemOf(group: readonly Pick<BaseView, 'suspicion' | 'path' | 'name'>[]): Problem[] {
  const [first] = group;
  if (first === undefined) return [];
  const { of = 'bytes', why = '' } = first.suspicion ?? {};
  if (of === 'bytes') {
    const what = `this base is suspect: its bytes, and what is recorded or said of them, do not agree (${why})`;
    return [{ where: first.path, what }];
  }
  const names = group.slice(0, NAMED_MAX).map(({ name }) => formatSource(name));
  const more = group.length > NAMED_MAX ? ` and ${group.length - NAMED_MAX} more` : '';
  const count = group.length === 1 ? '1 base is' : `${group.length} bases are`;
  return [{ where: 'trust', what: `${count} suspect: ${why}: ${names.join(', ')}${more}` }];
}
