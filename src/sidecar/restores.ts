// The room of restores, bound to the workers, the catalogue and what Ceph knows of other hosts' sets.

import { randomBytes, randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { NVRAM_FOLDER } from '../domain/host-access.ts';
import { Restores } from '../snapshot/restore/room.ts';
import type { Snapshots } from '../snapshot/service.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Clusters, SetCatalogue } from '../wire/ports.ts';
import type { SnapshotSet } from '../wire/vocabulary.ts';
import { findSets } from './found-sets.ts';
import { nvramFilesAt } from './nvram-files.ts';
import type { Stores, Workers } from './rooms.ts';

export function openRestores(
  { journal, catalogue, log }: Stores,
  { clusters, libvirt }: Pick<Workers, 'clusters' | 'libvirt'>,
  snapshots: Pick<Snapshots, 'isTaking'>,
  onDefect: (error: unknown) => void,
): Restores {
  return new Restores({
    journal,
    byFsid: (fsid) => clusters.byFsid(fsid),
    clusters: () => clusters.all,
    libvirt,
    findSet: (id) => findSet(catalogue.sets, clusters, id),
    isTaking: (uuid) => snapshots.isTaking(uuid),
    nvram: nvramFilesAt(NVRAM_FOLDER),
    draw: { uuid: randomUUID, mac: drawMac },
    host: hostname(),
    log,
    now: Date.now,
    onDefect,
  });
}

/** As the catalogue has it; else as Ceph has it recorded: another host may be no more. */
async function findSet(sets: SetCatalogue, clusters: Clusters, id: string): Promise<SnapshotSet> {
  const kept = sets.get(id);
  if (kept !== undefined) {
    const { state, ...set } = kept;
    if (state === 'complete') return set;
    throw unable('busy', id, 'it is being removed');
  }
  const found = (await findSets(clusters.all)).sets.find((set) => set.id === id);
  if (found !== undefined) return found;
  throw unable('not-found', id, 'no such set is known, neither on this host nor in Ceph');
}

function unable(code: 'busy' | 'not-found', subject: string, why: string): OperatingError {
  const hint = '`siphon snapshot list --all-hosts` tells what is there.';
  return new OperatingError({ code, op: 'find snapshot set', subject, why, hint });
}

/** QEMU's own prefix, as libvirt draws them. */
function drawMac(): string {
  const tail = [...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, '0'));
  return ['52', '54', '00', ...tail].join(':');
}
