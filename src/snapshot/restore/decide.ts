// May disks be put back, or a restore be undone? Facts to an answer with its reason. Pure.

import type { ErrorCode } from '../../wire/errors.ts';
import type { RestoreWay } from '../../wire/restore-api.ts';
import type { RestoreFacts, RestoreRecord, UserOfImage } from '../../wire/restore-protocol.ts';

export interface DomainFacts {
  readonly isActive: boolean;
  readonly hasManagedSave: boolean;
  /** `pool[/namespace]/image` of its disks, as it is defined. */
  readonly images: readonly string[];
}

export interface DiskFacts {
  readonly target: string;
  /** Where it is put: `pool[/namespace]/image`. */
  readonly name: string;
  readonly imageId: string;
  readonly found: RestoreFacts;
}

export type RestoreDecision =
  | { readonly kind: 'go' }
  | {
      readonly kind: 'stop';
      readonly code: ErrorCode;
      readonly why: string;
      readonly hint?: string;
    };

/** `domain`: as this host knows it; absent: it does not. */
export function decideRestore(
  way: RestoreWay,
  disks: readonly DiskFacts[],
  domain: DomainFacts | undefined,
): RestoreDecision {
  if (disks.length === 0) return stop('not-found', 'none of the disks asked for is in the set');
  const isInPlace = way === 'in-place' || way === 'rollback';
  const first = [
    ...(isInPlace ? [decideDomain(domain)] : []),
    ...disks.map(decideSource),
    ...disks.map((disk) => (isInPlace ? decideReplaced(disk, domain) : decideNew(disk))),
    ...(way === 'rollback' ? disks.map(decideRollback) : []),
  ].find((each) => each.kind === 'stop');
  return first ?? GO;
}

/** What an undo puts back must be there, and what it removes must be what the restore made. */
export function decideUndo(
  { disks }: RestoreRecord,
  found: readonly RestoreFacts[],
  domain: DomainFacts | undefined,
): RestoreDecision {
  const each = disks.map(({ name, newId }, index): RestoreDecision => {
    const { present, isOldThere = true } = found[index] ?? {};
    if (!isOldThere)
      return stop('not-found', `the disk that was ${name} is not in the trash`, PURGED);
    if (present?.imageId === newId) return decideUsers(name, present?.users ?? []);
    const hint = 'Undo the later restore first: `siphon restore --list`.';
    return stop('mismatch', `${name} is no longer the disk that this restore put there`, hint);
  });
  return [decideDomain(domain), ...each].find(({ kind }) => kind === 'stop') ?? GO;
}

const PURGED = 'It was purged, or taken out by somebody: `rbd trash ls`, `rbd ls`.';

const GO: RestoreDecision = { kind: 'go' };

function decideDomain(domain: DomainFacts | undefined): RestoreDecision {
  if (domain === undefined) return GO;
  if (domain.isActive) {
    return stop('busy', 'the domain runs', 'Shut it down: its disks are replaced.');
  }
  if (!domain.hasManagedSave) return GO;
  const why = 'the domain is saved: its memory goes with the disks as they are now';
  return stop('refused', why, 'Give that up with `virsh managedsave-remove`, or start it.');
}

function decideSource({ target, found: { source } }: DiskFacts): RestoreDecision {
  if (source.kind === 'there') return GO;
  return stop('not-found', `the set's snapshot of ${target} is gone: no such ${source.what}`);
}

function decideReplaced(
  { target, name, found: { present } }: DiskFacts,
  domain: DomainFacts | undefined,
): RestoreDecision {
  if (domain !== undefined && !domain.images.includes(name)) {
    const hint = 'With --clone it becomes a disk to attach, with --as a domain of its own.';
    return stop('refused', `the domain no longer has ${name}, its ${target} in the set`, hint);
  }
  return decideUsers(name, present?.users ?? []);
}

function decideUsers(name: string, users: readonly UserOfImage[]): RestoreDecision {
  const dead = users.find(({ isWatching }) => !isWatching);
  if (dead !== undefined) {
    const why = `${dead.client} at ${dead.address} owns the lock of ${name}, and is not there any more`;
    const hint = 'Once its host is surely off, or its guest gone: `rbd lock ls`, `rbd lock rm`.';
    return stop('busy', why, hint);
  }
  const [user] = users;
  if (user === undefined) return GO;
  const what = user.isOwner ? 'has it open and owns its lock' : 'has it open';
  const hint = 'Of a client that died this is forgotten after half a minute.';
  return stop('busy', `${name}: ${user.client} at ${user.address} ${what}`, hint);
}

function decideNew({ name, found: { present } }: DiskFacts): RestoreDecision {
  return present === undefined ? GO : stop('refused', `there is an image ${name} already`);
}

function decideRollback({ name, imageId, found: { present } }: DiskFacts): RestoreDecision {
  if (present?.imageId === imageId) return GO;
  const why = `${name} is no longer the image that the set was taken of`;
  return stop('refused', why, 'Without --rollback it is put back as a clone.');
}

function stop(code: ErrorCode, why: string, hint?: string): RestoreDecision {
  return { kind: 'stop', code, why, ...(hint !== undefined && { hint }) };
}
