// The methods of restores, each as the restore user.

import type { RestoreMethods } from '../../../../wire/restore-protocol.ts';
import type { Handlers } from '../../../role.ts';
import type { Connections, Session } from '../connections.ts';
import { openPool } from '../open.ts';
import { readKept } from '../sets.ts';
import { cloneDisk, unprotectSnapshot } from './clone.ts';
import { flattenDisk, rollBackDisk } from './contents.ts';
import { lookRestore } from './look.ts';
import { placeDisk, unplaceDisk } from './place.ts';
import { findRestores, writeRestore } from './records.ts';

export function restoreHandlers(connections: Connections): Handlers<RestoreMethods> {
  const as = <T>(body: (session: Session) => Promise<T>) => connections.as('restore', body);
  return {
    poolName: ({ poolId }) =>
      as(async (session) => {
        await using pool = await openPool(session, poolId, '');
        return { name: pool.name };
      }),
    lookRestore: (what) => as((session) => lookRestore(session, what)),
    cloneDisk: (what) => as((session) => cloneDisk(session, what)),
    placeDisk: (what) => as((session) => placeDisk(session, what)),
    unplaceDisk: (what) => as((session) => unplaceDisk(session, what)),
    rollBackDisk: (what, context) => as((session) => rollBackDisk(session, what, context)),
    flattenDisk: (what, context) => as((session) => flattenDisk(session, what, context)),
    unprotectSnapshot: (from) => as((session) => unprotectSnapshot(session, from)),
    putRestore: (record) => as((session) => writeRestore(session, record, true)),
    removeRestore: (record) => as((session) => writeRestore(session, record, false)),
    findRestores: () => as(findRestores),
    readKept: (what) => as((session) => readKept(session, what)),
  };
}
