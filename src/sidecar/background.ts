// What siphond does that nobody waits for: the spool, the config, the policies and the bases' folder as they change, and what
// the last life left.

import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import type { Cache, Recovery } from '../cache/index.ts';
import type { Publishing } from '../snapshot/publish/publishing.ts';
import type { Restores } from '../snapshot/restore/room.ts';
import { LOOK_MS_MAX, type Schedules } from '../snapshot/schedule/schedules.ts';
import type { Snapshots } from '../snapshot/service.ts';
import type { Transfers } from '../snapshot/transfer/service.ts';
import type { Proofs } from '../snapshot/verify/room.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Cluster } from '../wire/ports.ts';
import type { LibvirtEvent } from '../wire/worker-protocol.ts';
import { createAskAgain } from './ask-again.ts';
import { type Config, configFolder } from './config/load.ts';
import { createAdoption } from './found-sets.ts';
import { type Loop, type LoopParts, RETRY_MS, SETTLE_EVENTS_MS, startLoop } from './loop.ts';
import type { Pauses } from './pause.ts';
import type { Policies } from './policies.ts';
import type { Reload } from './reload.ts';
import { type Spool, spoolFolders } from './spool.ts';
import type { Statuses } from './statuses.ts';
import { applyReach } from './trust/reach.ts';
import { createTrustLook } from './trust/watch.ts';
import { createFollower, watchFolder } from './watch.ts';

export interface Background {
  readonly config: Config;
  readonly log: Logger;
  readonly cache: Cache;
  readonly recovery: Recovery;
  readonly statuses: Pick<Statuses, 'look'>;
  readonly snapshots: Snapshots;
  readonly restores: Pick<Restores, 'recover'>;
  readonly proofs: Pick<Proofs, 'recover'>;
  readonly schedules: Schedules;
  readonly transfers: Pick<Transfers, 'recover'>;
  readonly publishing: Publishing;
  readonly spool: Spool;
  readonly policies: Policies;
  readonly configFile: string;
  readonly reload: Reload;
  /** Calls back at each SIGHUP. */
  readonly onHangup: (listener: () => void) => void;
  /** Calls back at each of libvirt's events. */
  readonly onLibvirt: (hear: (event: LibvirtEvent) => void) => void;
  /** Calls back after each fill: what was revoked while it ran counts for it, too. */
  readonly onFilled: (hear: () => void) => void;
  readonly pauses: Pauses;
  readonly clusters: { readonly all: readonly Cluster[] };
}

/** Watches, then looks: nothing that changes meanwhile is missed. */
export async function startBackground(
  parts: Background,
  life: AsyncDisposableStack,
): Promise<void> {
  const { config, log, cache, recovery, snapshots, spool, pauses } = parts;
  const loop = (name: string, work: (signal: AbortSignal) => Promise<void>, when: When = {}) => {
    const bounds = { settleMs: SETTLE_EVENTS_MS, retryMs: RETRY_MS, ...when };
    return life.use(startLoop({ name, log, ...bounds, work }));
  };
  const spoolLoop = loop('spool', (signal) => spool.drain(signal), { everyMs: SPOOL_EVERY_MS });
  const { healing, noteBase } = startBaseLook(parts, loop);
  const onSpooled = () => spoolLoop.poke();
  const watches = [
    ...spoolFolders(config).map((folder) => ({ folder, depth: 0, onChange: onSpooled })),
    // FSID/POOL/FILE; partial files are of no concern.
    { folder: config.cache.path, depth: 2, onChange: noteBase, isIgnored: isPartial },
  ];
  for (const watch of watches) life.use(await watchFolder(watch, log));
  spoolLoop.poke();
  const scheduling = startSchedules(parts, loop);
  startPolicies(parts, life, loop, () => scheduling.poke());
  startReloads(parts, life, loop);
  startTrustLook(parts, life, loop);
  loop('image statuses', () => parts.statuses.look(), { everyMs: STATUSES_EVERY_MS }).poke();
  const isPaused = () => pauses.current().some(({ work }) => work === 'fills');
  const asking = loop('missing bases', createAskAgain(cache, recovery.askAgain, isPaused, log));
  asking.poke();
  pauses.onResume(() => {
    asking.poke();
    healing.poke();
    scheduling.poke();
  });
  const everyMs = LEFTOVERS_EVERY_MS;
  // What is left is said where it is left, and waits for its cluster: the next turn tries again.
  const recover = async () => void (await snapshots.recover());
  const recovering = loop('snapshot recovery', recover, { everyMs });
  recovering.poke();
  const restoring = loop('restore recovery', async () => void (await parts.restores.recover()), {
    everyMs,
  });
  restoring.poke();
  const removing = loop('proof recovery', async () => void (await parts.proofs.recover()), {
    everyMs,
  });
  removing.poke();
  loop('interrupted imports', () => parts.transfers.recover(), { everyMs }).poke();
  loop('recovery of images', () => parts.publishing.recover(), { everyMs }).poke();
  loop('lost images', () => parts.publishing.reconcile()).poke();
  // Also of a worker that was still on its way out when libvirt was connected.
  const lettingGo = loop('held guests', (signal) => snapshots.letGo(signal), {
    everyMs,
    settleMs: 0,
  });
  lettingGo.poke();
  const all = () => parts.clusters.all;
  const adopting = createAdoption({ clusters: all, adopt: (sets) => snapshots.adopt(sets), log });
  loop('lost sets', adopting).poke();
  // A set may wait for libvirt to say why its domain stopped.
  parts.onLibvirt((event) => {
    if (event.what === 'connected') {
      lettingGo.poke();
      recovering.poke();
      restoring.poke();
      removing.poke();
      scheduling.poke();
    }
    if (event.what === 'lifecycle' && event.event === 'undefined')
      snapshots.onUndefined(event.uuid);
  });
}

/** Another host may have said that an image is deactivated: one read of a few hundred records each. */
const STATUSES_EVERY_MS = 5 * 60_000;

type When = Partial<Pick<LoopParts, 'everyMs' | 'settleMs'>>;

type StartLoop = (name: string, work: () => Promise<void>, when?: When) => Loop;

/** Its waits are of what passes, and each look asks the clock: one that is set is noticed within a minute. */
function startSchedules({ schedules }: Background, start: StartLoop): Loop {
  let nextMs = LOOK_MS_MAX;
  const look = async () => {
    nextMs = LOOK_MS_MAX;
    nextMs = await schedules.look();
  };
  const loop = start('schedules', look, { everyMs: () => nextMs, settleMs: 0 });
  loop.poke();
  return loop;
}

/** A watch ends with its folder, which may be made anew. */
const POLICIES_EVERY_MS = 60_000;

/** The folder is the config's, which may name another. */
function startPolicies(
  parts: Background,
  life: AsyncDisposableStack,
  start: StartLoop,
  onLoaded: () => void,
): void {
  const { config, log, policies, reload } = parts;
  const follower = life.use(createFollower({ depth: 0, onChange: () => loop.poke() }, log));
  const work = async () => {
    await policies.load();
    onLoaded();
    // One that is made for being watched would hide that it was missing.
    if (policies.isMissing) return;
    await follower.follow(config.snapshot.policies);
    await policies.load();
  };
  const loop = start('policies', work, { everyMs: POLICIES_EVERY_MS });
  reload.onTaken(() => loop.poke());
  loop.poke();
}

/** A folder that is not there yet is looked for as often. */
const TRUST_EVERY_MS = 60_000;

function startTrustLook(
  { cache, config, log, reload, onFilled }: Background,
  life: AsyncDisposableStack,
  start: StartLoop,
): void {
  const follower = life.use(createFollower({ depth: 1, onChange: () => loop.poke() }, log));
  const look = createTrustLook(() => config.trust.folder, log);
  const work = async () => {
    const { folder } = config.trust;
    // Watching would make it, and it is root's.
    if (await isFolder(folder)) await follower.follow(folder);
    await look();
    await applyReach({ config, cache, log });
  };
  const loop = start('trust folder', work, { everyMs: TRUST_EVERY_MS });
  reload.onTaken(() => loop.poke());
  onFilled(() => loop.poke());
  loop.poke();
}

const isFolder = async (place: string): Promise<boolean> =>
  (await stat(place).catch(() => undefined))?.isDirectory() === true;

/** From a file's change to its reading: whoever writes in place has so long to end. */
const CONFIG_SETTLE_MS = 1000;

function startReloads(parts: Background, life: AsyncDisposableStack, start: StartLoop): void {
  const { configFile, log, onHangup, reload } = parts;
  const folder = path.dirname(configFile);
  const further = configFolder(configFile);
  const isOurs = (at: string) =>
    [folder, configFile, further].includes(at) ||
    (path.dirname(at) === further && at.endsWith('.toml'));
  const onChange = () => loop.poke();
  const isIgnored = (at: string) => !isOurs(at);
  const follower = life.use(createFollower({ depth: 1, onChange, isIgnored }, log));
  const work = async () => {
    try {
      await follower.follow(folder);
    } finally {
      await reloadOnce(reload);
    }
  };
  const loop = start('config', work, { settleMs: CONFIG_SETTLE_MS });
  loop.poke();
  const asked = start('SIGHUP', () => reloadOnce(reload));
  onHangup(() => asked.poke());
}

/** A mistake was told where it was found, and is not tried again: its correction is. */
async function reloadOnce(reload: Reload): Promise<void> {
  try {
    await reload.run();
  } catch (error) {
    if (!(error instanceof OperatingError) || error.code !== 'usage') throw error;
  }
}

/** A watch ends with its folder, which the hook's uninstallation removes and the hook makes anew. */
const SPOOL_EVERY_MS = 30_000;

/** What a cluster that was down left of a set, or left undone, is gone on with this often. */
const LEFTOVERS_EVERY_MS = 15_000;

function isPartial(path: string): boolean {
  return path.includes('/.partial');
}

/** What was changed while siphond was down is looked at as well. */
function startBaseLook(parts: Background, start: StartLoop) {
  const healing = start('damaged bases', () => parts.cache.heal());
  const onDamaged = () => healing.poke();
  const noteBase = createBaseLook(parts, onDamaged, (work) => start('bases', work));
  healing.poke();
  return { healing, noteBase };
}

/** So many changed files are looked at one by one; what is beyond is seen at the next start. */
const CHANGED_MAX = 10_000;

function createBaseLook(
  { cache, log }: Pick<Background, 'cache' | 'log'>,
  onDamaged: () => void,
  start: (work: () => Promise<void>) => Loop,
) {
  const changed = new Set<string>();
  const loop = start(async () => {
    const paths = [...changed];
    changed.clear();
    for (const path of paths) {
      const found = await cache.look(path);
      if (found === undefined || found.kind === 'same') continue;
      log.error({ path, found }, 'a base was changed by somebody else');
      if (found.kind === 'damaged') onDamaged();
    }
  });
  return (path: string) => {
    if (changed.size < CHANGED_MAX) changed.add(path);
    loop.poke();
  };
}
