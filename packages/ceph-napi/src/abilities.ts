// What of librbd not every release has. The rest of this package is in all that it was tried with: Ceph 16, 18 and 20.
import assert from 'node:assert/strict';
import { bindings } from './library.ts';

const optional = {
  rbd_diff_iterate3: {
    since: 18,
    gives: 'extents that changed since a snapshot given by its id, a group`s too',
    without: 'extents that changed since a user snapshot, by its name',
  },
  rbd_clone4: {
    since: 19,
    gives: 'clones of a snapshot given by its id, a group`s too',
    without: 'clones of a user snapshot, by its name; a group`s members cannot be cloned',
  },
  rbd_group_snap_get_info: {
    since: 19,
    gives: 'the members of a group`s snapshot, in one call',
    without: 'each image`s own list of snapshots, in which a group`s are of type `group`',
  },
} as const;

/** A function of librbd that an older release lacks. */
export type OptionalSymbol = keyof typeof optional;

export interface Ability {
  readonly symbol: OptionalSymbol;
  /** Whether the installed library has it: looked up, not concluded from its version. */
  readonly present: boolean;
  /** The first release of Ceph that was seen to have it. */
  readonly since: number;
  /** What it is good for. */
  readonly gives: string;
  /** The smaller ability that is left where it is absent; the call that needs it throws ENOSYS. */
  readonly without: string;
}

/** Every optional function, present or absent. Throws LibraryError where librbd is not installed. */
export function abilities(): Ability[] {
  return Object.entries(optional).map(([name, words]) => {
    const bound = bindings().get(name);
    assert(bound, `${name} is not bound`);
    return { symbol: name as OptionalSymbol, present: bound.available, ...words };
  });
}
