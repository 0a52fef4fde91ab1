// The room of proofs, bound to the workers, the catalogue and what the host has free.

import { randomUUID } from 'node:crypto';
import { freemem } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { NVRAM_FOLDER } from '../domain/host-access.ts';
import type { Snapshots } from '../snapshot/service.ts';
import { Proofs } from '../snapshot/verify/room.ts';
import { nvramFilesAt } from './nvram-files.ts';
import type { Stores, Workers } from './rooms.ts';

export function openProofs(
  { config, journal, catalogue, fillGroup, log }: Stores,
  { clusters, libvirt }: Pick<Workers, 'clusters' | 'libvirt'>,
  snapshots: Pick<Snapshots, 'recordProof'>,
  onDefect: (error: unknown) => void,
): Proofs {
  return new Proofs({
    journal,
    catalogue: catalogue.sets,
    byFsid: (fsid) => clusters.byFsid(fsid),
    libvirt,
    limits: () => config.snapshot,
    verify: () => config.verify,
    // What the kernel can give without swapping (MemAvailable).
    freeBytes: freemem,
    hasShares: () => !fillGroup.standing.absent.includes('cpu'),
    record: async (setId, proof) => void (await snapshots.recordProof(setId, proof)),
    nvram: nvramFilesAt(NVRAM_FOLDER),
    drawUuid: randomUUID,
    log,
    now: Date.now,
    wait: (ms, signal) => delay(ms, undefined, { signal }).catch(() => undefined), // early will do
    onDefect,
  });
}
