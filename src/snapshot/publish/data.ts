// What the journal keeps of publishing: enough to finish it, or to leave nothing of it behind.

import assert from 'node:assert/strict';
import { z } from 'zod';
import type { WireError } from '../../wire/errors.ts';
import {
  type Fallback,
  type Flatten,
  type PoolTarget,
  type PublishAsk,
  type PublishedFile,
  type PublishedImage,
  type PublishWay,
  TO_FILE,
} from '../../wire/publish-api.ts';
import type { CloneAt, CloneFormat } from '../../wire/publish-protocol.ts';
import type { DiskFormat, SetDisk } from '../../wire/vocabulary.ts';
import type { ImageAt, SnapshotAt } from '../../wire/worker-protocol.ts';
import { snapshotName } from '../set-id.ts';

export interface PlannedImage {
  readonly target: string;
  readonly disk: SetDisk;
  /** Under which it is made. */
  readonly marked: string;
  /** Under which it is found. */
  readonly image: string;
  /** As a file, without its suffix. */
  readonly file: string;
}

export interface FilePlan {
  readonly folder: string;
  readonly format: DiskFormat;
  /** What of the file system stays free. */
  readonly reserveBytes: number;
}

export interface PublishPlan {
  readonly publishId: string;
  readonly set: string;
  readonly fsid: string;
  readonly domainName: string;
  readonly to: PublishAsk['to'];
  readonly flatten: Flatten;
  readonly fallback: Fallback;
  /** Where files may be written; absent: nowhere. */
  readonly files?: FilePlan;
  readonly images: readonly PlannedImage[];
  readonly isEncryptedTaken?: true;
}

/** Of a job `publish`. */
export interface PublishData {
  readonly plan: PublishPlan;
  /** From here on there may be clones. The clients: who makes them, and who protects what they are made of. */
  readonly making?: {
    readonly way: PublishWay;
    /** Of the cluster that gets the images; absent: the set's. */
    readonly fsid?: string;
    readonly poolId: number;
    readonly format: CloneFormat;
    readonly client: string;
    /** Of clones alone. */
    readonly snapshotClient?: string;
  };
  /** All are there, with their snapshots, and get their names. In the order of the plan. */
  readonly made?: readonly PublishedImage[];
  /** From here on there may be files that are not whole. */
  readonly writing?: FilePlan;
  /** All are whole, and get their names. */
  readonly written?: readonly PublishedFile[];
  /** Why it failed: what was made is being removed, and looked for again until then. */
  readonly error?: WireError;
  readonly untilMs?: number;
}

/** Of a job `flatten`. */
export interface FlattenData {
  readonly fsid: string;
  readonly at: CloneAt;
  readonly name: ImageAt;
  readonly source: SnapshotAt;
  /** The cluster's own queue has it. */
  readonly by?: 'cluster';
  /** Who works on it; absent before that has begun. */
  readonly client?: string;
}

/** @throws AssertionError: it is of files */
export function poolOf({ to }: Pick<PublishPlan, 'to'>): PoolTarget {
  assert(to !== TO_FILE, 'images go to a pool');
  return to;
}

export function sourceOf({ set }: Pick<PublishPlan, 'set'>, { disk }: PlannedImage): SnapshotAt {
  const { poolId, namespace, imageId, snapId } = disk;
  return { poolId, namespace, imageId, snapId, snap: snapshotName(set) };
}

const Text = z.string().min(1);
const At = z.looseObject({ poolId: z.int(), namespace: z.string(), marked: Text });
const Publish = z.looseObject({
  plan: z.looseObject({ set: Text, fsid: Text, images: z.array(z.looseObject({ marked: Text })) }),
  making: z.looseObject({ poolId: z.int(), client: Text }).optional(),
  made: z.array(z.looseObject({ imageId: Text })).optional(),
  writing: z.looseObject({ folder: Text, format: Text }).optional(),
});
const Flattening = z.looseObject({ fsid: Text, at: At, source: z.looseObject({ snap: Text }) });

/** A journal's data as {@link PublishData}, or null: another version of siphon wrote it. */
export function readPublishData(data: unknown): PublishData | null {
  return Publish.safeParse(data).success ? (data as PublishData) : null;
}

/** A journal's data as {@link FlattenData}, or null. */
export function readFlattenData(data: unknown): FlattenData | null {
  return Flattening.safeParse(data).success ? (data as FlattenData) : null;
}
