// The least cephx caps of siphon's identities: what `siphon doctor --caps` prints, and what a refused call names. docs/doctor.md says
// why each grant is there; test/lab/caps shows that none can be left out.

import type { CephSettings } from './worker-protocol.ts';

export type Identity = keyof CephSettings['users'];

/** Each as `POOL`, or `POOL/NAMESPACE` for that namespace alone. */
export interface Pools {
  /** Of source images. */
  readonly images: readonly string[];
  /** Of domains' disks. */
  readonly vms: readonly string[];
  /** For the ticks of armed snapshots. */
  readonly ticks?: readonly string[];
  /** Whose images the cluster's manager flattens, as the publish user asks it to. */
  readonly tasks?: readonly string[];
}

/** Not 'profile rbd', nor its read-only kin: librbd would then blocklist a QEMU that hangs. */
export const MON_CAPS = 'allow r';

type Grants = (scope: string) => readonly string[];

const NONE: Grants = () => [];
const READ: Grants = (scope) => [`profile rbd-read-only ${scope}`];

/** But for restores no identity may write what is in a domain's disk: snapshots stand in its header, and in object maps. */
const GRANTS: Readonly<Record<Identity, Readonly<Record<Exclude<keyof Pools, 'tasks'>, Grants>>>> =
  {
    fill: { images: READ, vms: NONE, ticks: NONE },
    snapshot: {
      vms: (scope) => [
        ...READ(scope),
        `allow rwx ${scope} object_prefix rbd_header.`,
        `allow wx ${scope} object_prefix rbd_object_map.`,
        `allow w ${scope} object_prefix siphon.sets`,
        // Where clones are of format 1: whether a snapshot may lose its protection is asked of all pools.
        'allow class-read object_prefix rbd_children',
      ],
      // What disks are clones of, and qcow2 bases in RBD: without it such a disk cannot even be opened.
      images: READ,
      // Who may write anything in a pool may take snapshot ids there.
      ticks: (scope) => [`allow w ${scope} object_prefix siphon.tick`],
    },
    // It makes whole images, and reads what they are cloned from.
    publish: {
      images: (scope) => [`profile rbd ${scope}`],
      vms: READ,
      ticks: NONE,
    },
    // It makes, renames and removes images, and rolls them back: all of a pool.
    restore: { vms: (scope) => [`profile rbd ${scope}`], images: READ, ticks: NONE },
  };

/** What identities need of the OSDs, together, each grant once. */
export function osdGrants(identities: readonly Identity[], pools: Pools): readonly string[] {
  const grants = identities.flatMap((identity) => [
    ...pools.vms.flatMap((place) => GRANTS[identity].vms(scopeOf(place))),
    ...pools.images.flatMap((place) => GRANTS[identity].images(scopeOf(place))),
    ...(pools.ticks ?? []).flatMap((place) => GRANTS[identity].ticks(scopeOf(place))),
  ]);
  return [...new Set(grants)];
}

/** What the publish user needs of the manager: nothing, where that flattens nothing. */
export function mgrGrants({ tasks = [] }: Pools): readonly string[] {
  return [...new Set(tasks)].map((place) => `profile rbd ${scopeOf(place)}`);
}

function scopeOf(place: string): string {
  const [pool, namespace] = splitPlace(place);
  return namespace === '' ? `pool=${pool}` : `pool=${pool} namespace=${namespace}`;
}

/** `POOL[/NAMESPACE]` to its parts. */
export function splitPlace(place: string): readonly [pool: string, namespace: string] {
  const [pool = '', namespace = ''] = place.split('/');
  return [pool, namespace];
}
