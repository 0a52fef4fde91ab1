// What the journal keeps of a restore, an undo and a flattening: enough to finish them, or to leave nothing of them behind.

import { z } from 'zod';
import type { WireError } from '../../wire/errors.ts';
import type { JobRecord } from '../../wire/journal.ts';
import type { RestoreAnswer, RestoreWay } from '../../wire/restore-api.ts';
import type { ClonedDisk, RestoreDisk, RestoreRecord } from '../../wire/restore-protocol.ts';
import type { KeptFile, SnapshotSet } from '../../wire/vocabulary.ts';

/** A disk, and how large it is. */
export type PlannedDisk = RestoreDisk & { readonly sizeBytes: number };

export interface RestorePlan extends Omit<RestoreRecord, 'schema'> {
  readonly way: RestoreWay;
  readonly disks: readonly PlannedDisk[];
  readonly flattens: boolean;
  readonly notes: readonly string[];
  /** To be defined. */
  readonly domain?: {
    readonly name: string;
    readonly uuid: string;
    readonly xml: string;
    /** The set's copy that its own begins as. */
    readonly nvram?: {
      readonly set: Pick<SnapshotSet, 'id' | 'fsid' | 'disks'>;
      readonly copy: NonNullable<KeptFile['copy']>;
    };
  };
  /** Of one disk, to attach. */
  readonly xml?: string;
}

/** Of a job `restore`. Absent `client`: nothing was begun. */
export interface RestoreData {
  readonly plan: RestorePlan;
  /** Who does it, as Ceph prints it: should that die, its locks are siphon's to drop. */
  readonly client?: string;
  /** Why it failed: all is being put back as it was. */
  readonly error?: WireError;
}

/** Of a job `undo-restore`. */
export interface UndoData {
  readonly record: RestoreRecord;
  readonly client?: string;
}

/** Of a job `flatten`. */
export interface FlattenData {
  readonly fsid: string;
  readonly disks: readonly (ClonedDisk & PlannedDisk)[];
}

const Text = z.string().min(1);
const Disks = z.array(z.looseObject({ target: Text, to: z.looseObject({ image: Text }) }));
const Record = z.looseObject({ id: Text, setId: Text, fsid: Text, disks: Disks });
const Restore = z.looseObject({ plan: Record.extend({ way: Text }) });
const Undo = z.looseObject({ record: Record });
const Flatten = z.looseObject({ fsid: Text, disks: Disks });

/** A journal's data, or null: another version of siphon wrote it. */
export function readRestoreData(data: unknown): RestoreData | null {
  return Restore.safeParse(data).success ? (data as RestoreData) : null;
}

export function readUndoData(data: unknown): UndoData | null {
  return Undo.safeParse(data).success ? (data as UndoData) : null;
}

/** Of which domain's disks a job `restore` or `undo-restore` with this data is about. */
export function restoredDomain(data: unknown): string | undefined {
  return (readRestoreData(data)?.plan ?? readUndoData(data)?.record)?.domainUuid;
}

export function readFlattenData(data: unknown): FlattenData | null {
  return Flatten.safeParse(data).success ? (data as FlattenData) : null;
}

/** Of the open jobs the one that replaces the domain's disks now, or has to be finished first. */
export function replacingJob(
  open: readonly JobRecord[],
  domainUuid: string,
): JobRecord | undefined {
  return open.find(({ data }) => {
    const restore = readRestoreData(data)?.plan;
    const isInPlace = restore?.way === 'in-place' || restore?.way === 'rollback';
    const found = isInPlace ? restore : readUndoData(data)?.record;
    return found?.domainUuid === domainUuid;
  });
}

/** What Ceph keeps of a restore that can be undone. */
export function recordOf(plan: RestorePlan): RestoreRecord {
  const { id, setId, fsid, host, domainUuid, domainName, createdAtMs } = plan;
  const disks = plan.disks.map((planned) => {
    const { sizeBytes: _, ...disk } = planned;
    return disk;
  });
  return { schema: 1, id, setId, fsid, host, domainUuid, domainName, createdAtMs, disks };
}

export function answerOf(plan: RestorePlan, flattening: string | undefined): RestoreAnswer {
  const { id, setId: set, domainName, domainUuid, way, notes, domain, xml } = plan;
  return {
    id,
    set,
    domain: { name: domain?.name ?? domainName, uuid: domain?.uuid ?? domainUuid },
    way,
    disks: plan.disks.map(({ target, name, from, oldId, newId }) => {
      const imageId = newId ?? from.imageId;
      return { target, image: name, imageId, ...(oldId !== undefined && { oldId }) };
    }),
    notes,
    ...(xml !== undefined && { xml }),
    ...(flattening !== undefined && { flattening }),
  };
}
