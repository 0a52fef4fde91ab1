// Puts a config in force in the parts that live. The rooms read `config` at each use, so that its tables are replaced in place.

import type { Logger } from 'pino';
import type { OpenClusters } from './clusters.ts';
import type { Config } from './config/load.ts';
import { tellHookBound } from './hook-bound.ts';

/** A config whose tables may be replaced while others read it. */
export type LiveConfig = { -readonly [Table in keyof Config]: Config[Table] };

export interface ApplyParts {
  readonly config: LiveConfig;
  readonly clusters: OpenClusters;
  readonly log: Logger;
}

/** What can fail comes first, and then nothing can. */
export function applyTo({ config, clusters, log }: ApplyParts): (next: Config) => Promise<void> {
  return async (next) => {
    await tellHookBound(next.api.hookSocket, next.hook.fillWaitMs);
    Object.assign(config, next);
    log.level = next.log.level;
    clusters.replace(next.clusters);
  };
}
