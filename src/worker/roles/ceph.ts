// The `ceph` role: one cluster, short calls, each by the identity that it needs.

import { abilities } from 'ceph-napi';
import type { Ability } from '../../wire/vocabulary.ts';
import type { CephMethods, CephSettings } from '../../wire/worker-protocol.ts';
import type { Role, StartRole } from '../role.ts';
import { Arming } from './ceph/arm.ts';
import { Connections } from './ceph/connections.ts';
import { clusterHealth, examine, readCaps } from './ceph/examine.ts';
import { imageUse, readHead } from './ceph/image.ts';
import { dropLock } from './ceph/lock-break.ts';
import { readManifest, setManifest } from './ceph/manifests.ts';
import { measureSnapshot } from './ceph/measure.ts';
import { PreparedSnapshots } from './ceph/prepared.ts';
import { readStatuses, setProperties } from './ceph/properties.ts';
import { flattenClone, makeClone, nameClone, removeClone } from './ceph/publish.ts';
import { makeCopy } from './ceph/publish-copy.ts';
import { dropEntry, findEntries } from './ceph/publish-entries.ts';
import { lookAtPlace, lookAtSource, lookWhoUses } from './ceph/publish-look.ts';
import { protectSource, releaseSource } from './ceph/publish-source.ts';
import { dropTask, flattenByTask } from './ceph/publish-task.ts';
import { restoreHandlers } from './ceph/restore/methods.ts';
import { findSets, keepFile, putSet, removeSet } from './ceph/sets.ts';
import { createSnapshot, listMarked, removeSnapshot } from './ceph/snapshots.ts';
import { checkSource, describeSource, resolveSource, status } from './ceph/source.ts';
import { settleImport } from './transfer/import-end.ts';
import { findImports } from './transfer/import-find.ts';

function librbdAbilities(): readonly Ability[] {
  return abilities().map(({ symbol, present, without }) => {
    return { of: 'librbd', name: symbol, isPresent: present, without };
  });
}

export const startCephRole = ((settings) => {
  const { tickPool, ...access } = settings as CephSettings;
  const connections = new Connections(access);
  const prepared = new PreparedSnapshots(connections);
  const arming = new Arming(connections, prepared, tickPool);
  return {
    handlers: {
      status: ({ as = 'fill' }) => connections.as(as, status),
      abilities: async () => librbdAbilities(),
      resolveSource: ({ isRecordLeft = false, ...name }) =>
        connections.as('fill', (session) => resolveSource(session, name, isRecordLeft)),
      describeSource: (ids) => connections.as('fill', (session) => describeSource(session, ids)),
      checkSource: (ids) => connections.as('fill', (session) => checkSource(session, ids)),
      setProperties: ({ ids, properties }) =>
        connections.as('publish', (session) => setProperties(session, ids, properties)),
      readStatuses: (what) => connections.as('fill', (session) => readStatuses(session, what)),
      readManifest: ({ as = 'fill', ...ids }) =>
        connections.as(as, (session) => readManifest(session, ids)),
      setManifest: (what) => connections.asWriter((session) => setManifest(session, what)),
      readHead: (at) => connections.as('snapshot', (session) => readHead(session, at)),
      imageUse: (at) => connections.as('snapshot', (session) => imageUse(session, at)),
      clusterHealth: () => connections.as('snapshot', clusterHealth),
      createSnapshot: (at, { signal }) =>
        connections.as('snapshot', (session) => createSnapshot(session, at, signal)),
      prepareSnapshots: (what, { signal }) => prepared.prepare(what, signal),
      board: (_, { signal }) => arming.board(signal),
      arm: (how, { signal }) => arming.arm(how, signal),
      armEnd: (which, { signal }) => arming.end(which, signal),
      createPrepared: (which) => prepared.create(which),
      describePrepared: (which) => prepared.describe(which),
      dropPrepared: (which) => prepared.drop(which),
      dropLock: (at, { signal }) =>
        connections.as('snapshot', (session) => dropLock(session, at, signal)),
      removeSnapshot: (at) => connections.as('snapshot', (session) => removeSnapshot(session, at)),
      measureSnapshot: (at) =>
        connections.as('snapshot', (session) => measureSnapshot(session, at)),
      listMarked: (at) => connections.as('snapshot', (session) => listMarked(session, at)),
      keepFile: (what) => connections.as('snapshot', (session) => keepFile(session, what)),
      putSet: (set) => connections.as('snapshot', (session) => putSet(session, set)),
      removeSet: (set) => connections.as('snapshot', (session) => removeSet(session, set)),
      findSets: () => connections.as('snapshot', findSets),
      settleImport: (ref, { signal }) =>
        connections.as('restore', (session) => settleImport(session, ref, signal)),
      findImports: () => connections.as('restore', findImports),
      lookAtSource: (at) => connections.as('publish', (session) => lookAtSource(session, at)),
      lookAtPlace: (to) => connections.as('publish', (session) => lookAtPlace(session, to)),
      protectSource: (at) => connections.as('snapshot', (session) => protectSource(session, at)),
      releaseSource: (at) => connections.as('snapshot', (session) => releaseSource(session, at)),
      makeClone: (what, { signal }) =>
        connections.as('publish', (session) => makeClone(session, what, signal)),
      makeCopy: (what, context) =>
        connections.as('publish', (session) => makeCopy(session, what, access.timeoutMs, context)),
      nameClone: (what) => connections.as('publish', (session) => nameClone(session, what)),
      flattenClone: (what, context) =>
        connections.as('publish', (session) => flattenClone(session, what, context)),
      flattenByTask: (what, context) =>
        connections.as('publish', (session) => flattenByTask(session, what, context)),
      dropTask: (at) => connections.as('publish', (session) => dropTask(session, at)),
      removeClone: (what, { signal }) =>
        connections.as('publish', (session) => removeClone(session, what, signal)),
      lookWhoUses: (at) => connections.as('publish', (session) => lookWhoUses(session, at)),
      dropEntry: (at) => connections.as('publish', (session) => dropEntry(session, at)),
      findEntries: (where) => connections.as('publish', (session) => findEntries(session, where)),
      examine: (what) => connections.as(what.as, (session) => examine(session, what)),
      ...restoreHandlers(connections),
      readCaps: (who) => connections.as('fill', (session) => readCaps(session, who)),
    },
    end: () => prepared.dropAll(),
  };
}) satisfies (settings: unknown) => Role<CephMethods> satisfies StartRole;
