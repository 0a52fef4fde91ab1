// What a changed config takes: which keys are applied while siphond runs, and which wait for its restart. Pure.

import { isDeepStrictEqual } from 'node:util';
import { CONFIG_KEYS } from './config/keys.ts';
import type { ConfigFile } from './config/schema.ts';

export interface ReloadPlan {
  /** Keys that are applied now: `cache.limit`; a whole cluster is one, `clusters.NAME`. */
  readonly apply: readonly string[];
  /** Keys whose change waits for a restart. */
  readonly needsRestart: readonly string[];
  readonly unchanged: boolean;
  /** What is in force afterwards: the new config, but for what waits for a restart. */
  readonly inForce: ConfigFile;
}

/** `old`: what is in force. `next`: what the files say. */
export function planReload(old: ConfigFile, next: ConfigFile): ReloadPlan {
  const changed = CONFIG_KEYS.filter(({ path }) => path[0] !== 'clusters').filter(
    ({ path }) => !isDeepStrictEqual(valueAt(old, path), valueAt(next, path)),
  );
  const waiting = changed.filter(({ change }) => change === 'restart');
  const apply = [
    ...changed.filter((key) => !waiting.includes(key)).map(({ key }) => key),
    ...changedClusters(old, next).map((name) => `clusters.${name}`),
  ];
  const needsRestart = waiting.map(({ key }) => key);
  const inForce = waiting.reduce(
    (all, { path }) => withValue(all, path, valueAt(old, path)) as ConfigFile,
    next,
  );
  return { apply, needsRestart, unchanged: apply.length + needsRestart.length === 0, inForce };
}

/** Those that came, went or changed, or that became or ceased to be the only one: that is the default one. */
function changedClusters({ clusters: old }: ConfigFile, { clusters: next }: ConfigFile): string[] {
  const names = [...new Set([...Object.keys(old), ...Object.keys(next)])];
  const only = (all: object) => Object.keys(all).length === 1;
  return names.filter(
    (name) => !isDeepStrictEqual(ownOf(old, name), ownOf(next, name)) || only(old) !== only(next),
  );
}

function valueAt(file: object, path: readonly string[]): unknown {
  return path.reduce<unknown>((at, part) => ownOf(at as object, part), file);
}

/** No key of a file finds what every object has: a cluster may be called `constructor`. */
function ownOf(table: object, key: string): unknown {
  return Object.hasOwn(table, key) ? table[key as keyof typeof table] : undefined;
}

function withValue(table: object, [key = '', ...rest]: readonly string[], value: unknown): object {
  const inner = rest.length === 0 ? value : withValue(ownOf(table, key) as object, rest, value);
  return { ...table, [key]: inner };
}
