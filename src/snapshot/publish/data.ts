// What the journal keeps of publishing: enough to finish it, or to leave nothing of it behind.

import { z } from 'zod';
import type { WireError } from '../../wire/errors.ts';
import type { Fallback, Flatten, PublishedImage, PublishWay } from '../../wire/publish-api.ts';
import type { CloneAt, CloneFormat } from '../../wire/publish-protocol.ts';
import type { SetDisk } from '../../wire/vocabulary.ts';
import type { ImageAt, SnapshotAt } from '../../wire/worker-protocol.ts';
import { snapshotName } from '../set-id.ts';

export interface PlannedImage {
  readonly target: string;
  readonly disk: SetDisk;
  /** Under which it is made. */
  readonly marked: string;
  /** Under which it is found. */
  readonly image: string;
}

export interface PublishPlan {
  readonly publishId: string;
  readonly set: string;
  readonly fsid: string;
  readonly domainName: string;
  readonly to: { readonly pool: string; readonly namespace: string };
  readonly flatten: Flatten;
  readonly fallback: Fallback;
  readonly images: readonly PlannedImage[];
  readonly isEncryptedTaken?: true;
}

/** Of a job `publish`. */
export interface PublishData {
  readonly plan: PublishPlan;
  /** From here on there may be clones. The clients: who makes them, and who protects what they are made of. */
  readonly making?: {
    readonly way: PublishWay;
    readonly poolId: number;
    readonly format: CloneFormat;
    readonly client: string;
    readonly snapshotClient: string;
  };
  /** All are there, with their snapshots, and get their names. In the order of the plan. */
  readonly made?: readonly PublishedImage[];
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
  /** Who works on it; absent before that has begun. */
  readonly client?: string;
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
