// What fails without each grant of the caps that are printed. VMS and IMAGES stand for the pools.

import type { Identity } from '../../../src/wire/caps.ts';

export const IDENTITIES = ['fill', 'snapshot', 'publish', 'restore'] as const;

const FIRST: Readonly<Record<Identity, string>> = {
  fill: 'ask the monitors',
  snapshot: 'ask the monitors',
  publish: 'describe a source',
  restore: 'look at a disk',
};

export const NARROWED: readonly {
  readonly identity: Identity;
  readonly without: string;
  readonly fails: string;
  /** Of the OSDs; absent: the monitors' is left out. */
  readonly grant?: string;
  /** In its place. */
  readonly instead?: string;
  readonly code?: string;
}[] = [
  ...IDENTITIES.map((identity) => ({
    identity,
    without: 'any mon caps',
    fails: FIRST[identity],
  })),
  {
    identity: 'fill',
    without: 'its pool',
    fails: 'find a source',
    grant: 'profile rbd-read-only pool=IMAGES',
    instead: 'profile rbd-read-only pool=VMS',
  },
  {
    identity: 'fill',
    without: 'class-read',
    fails: 'describe a source',
    grant: 'profile rbd-read-only pool=IMAGES',
    instead: 'allow r pool=IMAGES',
  },
  {
    identity: 'fill',
    without: 'r',
    fails: 'fill',
    grant: 'profile rbd-read-only pool=IMAGES',
    instead: 'allow class-read pool=IMAGES',
  },
  {
    identity: 'snapshot',
    without: "reading domains' disks",
    fails: 'look who uses a disk',
    grant: 'profile rbd-read-only pool=VMS',
  },
  {
    identity: 'snapshot',
    without: 'reading images',
    fails: 'look who uses a clone',
    grant: 'profile rbd-read-only pool=IMAGES',
  },
  {
    identity: 'snapshot',
    without: 'reading images',
    fails: "read a base's head",
    grant: 'profile rbd-read-only pool=IMAGES',
  },
  {
    identity: 'snapshot',
    without: 'headers',
    fails: 'snapshot a disk',
    grant: 'allow rwx pool=VMS object_prefix rbd_header.',
  },
  {
    identity: 'snapshot',
    without: 'headers',
    fails: 'arm',
    grant: 'allow rwx pool=VMS object_prefix rbd_header.',
  },
  {
    identity: 'snapshot',
    without: 'writing headers',
    fails: 'snapshot a disk',
    grant: 'allow rwx pool=VMS object_prefix rbd_header.',
    instead: 'allow rx pool=VMS object_prefix rbd_header.',
  },
  {
    // Its lock cannot be taken, which librbd tells as a read-only image.
    identity: 'snapshot',
    without: 'methods of headers',
    fails: 'snapshot a disk',
    grant: 'allow rwx pool=VMS object_prefix rbd_header.',
    instead: 'allow rw pool=VMS object_prefix rbd_header.',
    code: 'busy',
  },
  {
    identity: 'snapshot',
    without: 'siphon.sets',
    fails: 'record a set',
    grant: 'allow w pool=VMS object_prefix siphon.sets',
  },
  {
    identity: 'snapshot',
    without: 'siphon.sets',
    fails: 'keep a file of a set',
    grant: 'allow w pool=VMS object_prefix siphon.sets',
  },
  {
    identity: 'snapshot',
    without: 'the lists of children of all pools',
    fails: 'release a source',
    grant: 'allow class-read object_prefix rbd_children',
  },
  {
    identity: 'restore',
    without: "writing domains' disks",
    fails: 'put a disk back, and take that back',
    grant: 'profile rbd pool=VMS',
    instead: 'profile rbd-read-only pool=VMS',
  },
  {
    identity: 'restore',
    without: 'reading images',
    fails: 'put a clone back',
    grant: 'profile rbd-read-only pool=IMAGES',
  },
  ...['profile rbd-read-only pool=IMAGES', 'allow rwx pool=IMAGES'].map((instead) => ({
    identity: 'publish' as const,
    without: `profile rbd, with ${instead.split(' pool')[0]}`,
    fails: instead.startsWith('allow') ? 'publish by a clone of format 1' : 'describe a source',
    grant: 'profile rbd pool=IMAGES',
    instead,
  })),
  {
    identity: 'publish',
    without: "reading domains' disks",
    fails: 'publish a snapshot',
    grant: 'profile rbd-read-only pool=VMS',
  },
  {
    identity: 'publish',
    without: 'noting a clone in a disk’s header',
    fails: 'publish a snapshot',
    grant: 'profile rbd-read-only pool=VMS',
    instead: 'allow r class-read pool=VMS',
  },
];
