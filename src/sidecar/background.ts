// What siphond does that nobody waits for: the spool, the policies and the bases' folder as they change, and what the last
// life left.

import type { Logger } from 'pino';
import type { Cache, Recovery } from '../cache/index.ts';
import type { Snapshots } from '../snapshot/service.ts';
import { OperatingError } from '../wire/errors.ts';
import { createAskAgain } from './ask-again.ts';
import type { Config } from './config/load.ts';
import { type Loop, RETRY_MS, SETTLE_EVENTS_MS, startLoop } from './loop.ts';
import type { Policies } from './policies.ts';
import type { Spool } from './spool.ts';
import { watchFolder } from './watch.ts';

export interface Background {
  readonly config: Config;
  readonly log: Logger;
  readonly cache: Cache;
  readonly recovery: Recovery;
  readonly snapshots: Snapshots;
  readonly spool: Spool;
  readonly policies: Policies;
}

/** Watches, then looks: nothing that changes meanwhile is missed. */
export async function startBackground(
  parts: Background,
  life: AsyncDisposableStack,
): Promise<void> {
  const { config, log, cache, recovery, snapshots, spool, policies } = parts;
  const loop = (
    name: string,
    work: (signal: AbortSignal) => Promise<void>,
    when: { readonly everyMs?: number } = {},
  ) => {
    const bounds = { settleMs: SETTLE_EVENTS_MS, retryMs: RETRY_MS, ...when };
    return life.use(startLoop({ name, log, ...bounds, work }));
  };
  const spoolLoop = loop('spool', (signal) => spool.drain(signal));
  const policyLoop = loop('policies', () => policies.load());
  const noteBase = createBaseLook(cache, log, (work) => loop('bases', work));
  const watches = [
    { folder: config.hook.spool, depth: 0, onChange: () => spoolLoop.poke() },
    { folder: config.snapshot.policies, depth: 0, onChange: () => policyLoop.poke() },
    // FSID/POOL/FILE; partial files are of no concern.
    { folder: config.cache.path, depth: 2, onChange: noteBase, isIgnored: isPartial },
  ];
  for (const watch of watches) life.use(await watchFolder(watch, log));
  spoolLoop.poke();
  policyLoop.poke();
  loop('missing bases', createAskAgain(cache, recovery.askAgain, log)).poke();
  const everyMs = LEFTOVERS_EVERY_MS;
  loop('snapshot recovery', () => recoverSnapshots(snapshots), { everyMs }).poke();
}

/** What a cluster that was down left of a set is looked for again this often. */
const LEFTOVERS_EVERY_MS = 60_000;

function isPartial(path: string): boolean {
  return path.includes('/.partial');
}

/** So many changed files are looked at one by one; what is beyond is seen at the next start. */
const CHANGED_MAX = 10_000;

function createBaseLook(cache: Cache, log: Logger, start: (work: () => Promise<void>) => Loop) {
  const changed = new Set<string>();
  const loop = start(async () => {
    const paths = [...changed];
    changed.clear();
    for (const path of paths) {
      const found = await cache.look(path);
      if (found !== undefined && found.kind !== 'same')
        log.error({ path, found }, 'a base was changed by somebody else');
    }
  });
  return (path: string) => {
    if (changed.size < CHANGED_MAX) changed.add(path);
    loop.poke();
  };
}

/** @throws OperatingError: jobs are left, which wait for their cluster */
async function recoverSnapshots(snapshots: Snapshots): Promise<void> {
  const { left } = await snapshots.recover();
  if (left === 0) return;
  const why = `${left} jobs wait for their cluster`;
  throw new OperatingError({ code: 'unavailable', op: 'recover', subject: 'snapshot sets', why });
}
