// The API of restores, beside siphond's other routes (api.ts).

import type { RestoreRecord } from './restore-protocol.ts';
import type { Devices } from './vocabulary.ts';

/** POST /v1/restores -> JobLine…, done with a RestoreAnswer. Of `rollback`, `as` and `clone` one at most; none: in place, by clones. */
export interface RestoreRequest {
  readonly set: string;
  /** Of which disks of the set; default: all. */
  readonly devices?: Devices;
  /** The images themselves are rolled back: this cannot be undone. */
  readonly rollback?: boolean;
  /** A new domain of this name. */
  readonly as?: string;
  /** One disk, by its target, as a clone at `to`: `POOL/[NAMESPACE/]IMAGE`. */
  readonly clone?: string;
  readonly to?: string;
  /** The clones are made independent of the set, in the background. */
  readonly flatten?: boolean;
}

/** POST /v1/restores/undo -> JobLine…, done with an UndoAnswer. */
export interface UndoRequest {
  /** A restore's id, or a set's: then the newest restore of it. */
  readonly restore: string;
}

export interface RestoreAnswer {
  readonly id: string;
  readonly set: string;
  readonly domain: { readonly name: string; readonly uuid: string };
  readonly way: RestoreWay;
  readonly disks: readonly {
    readonly target: string;
    /** `pool[/namespace]/image` */
    readonly image: string;
    readonly imageId: string;
    /** The image that had the name before: in the pool's trash. */
    readonly oldId?: string;
  }[];
  /** What the operator has to know, or to do. One sentence each. */
  readonly notes: readonly string[];
  /** Of one disk: for `virsh attach-device`. */
  readonly xml?: string;
  /** The job that flattens the clones. */
  readonly flattening?: string;
}
export type RestoreWay = 'in-place' | 'rollback' | 'new-domain' | 'clone';

export interface UndoAnswer {
  readonly id: string;
  readonly set: string;
  readonly disks: readonly {
    readonly target: string;
    readonly image: string;
    /** What became of the clone. In the trash: it has snapshots. */
    readonly clone: 'removed' | 'absent' | 'in-trash';
  }[];
}

/** GET /v1/restores: those that can be undone, of all hosts, the newest first. */
export interface RestoresAnswer {
  readonly restores: readonly RestoreRecord[];
}
