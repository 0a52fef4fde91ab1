import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type DiskFacts,
  type DomainFacts,
  decideRestore,
  decideUndo,
} from '../../../../src/snapshot/restore/decide.ts';
import { disksOf, parseImage } from '../../../../src/snapshot/restore/names.ts';
import type { RestoreWay } from '../../../../src/wire/restore-api.ts';
import type {
  RestoreFacts,
  RestoreRecord,
  UserOfImage,
} from '../../../../src/wire/restore-protocol.ts';
import type { SnapshotSet } from '../../../../src/wire/vocabulary.ts';

const SOURCE = { kind: 'there', isTrashed: false, isProtected: false, sizeBytes: 1 } as const;
const OFF: DomainFacts = { isActive: false, hasManagedSave: false, images: ['vms/root'] };
const user = (more: Partial<UserOfImage> = {}): UserOfImage => {
  return { client: 'client.7', address: '10.0.0.1:0/1', isOwner: true, isWatching: true, ...more };
};
const disk = (found: Partial<RestoreFacts> = {}): DiskFacts => ({
  target: 'vda',
  name: 'vms/root',
  imageId: 'old',
  found: { toPoolId: 1, source: SOURCE, present: { imageId: 'old', users: [] }, ...found },
});
const used = (...users: UserOfImage[]) => disk({ present: { imageId: 'old', users } });
const free = (): DiskFacts => {
  const { present: _, ...found } = disk().found;
  return { ...disk(), found };
};

const CASES: readonly {
  readonly name: string;
  readonly way?: RestoreWay;
  readonly disks?: readonly DiskFacts[];
  readonly domain?: DomainFacts | 'unknown';
  readonly says?: RegExp;
  readonly code?: string;
}[] = [
  { name: 'a domain that is off' },
  { name: 'a domain that this host does not know', domain: 'unknown' },
  { name: 'an image that is gone from under its name', disks: [free()] },
  {
    name: 'a set whose image is in the trash',
    disks: [disk({ source: { ...SOURCE, isTrashed: true } })],
  },
  { name: 'a clone where nothing is', way: 'clone', disks: [free()] },
  {
    name: 'a new domain of one that runs',
    way: 'new-domain',
    disks: [free()],
    domain: { ...OFF, isActive: true },
  },
  { name: 'a domain that runs', domain: { ...OFF, isActive: true }, code: 'busy', says: /runs/ },
  {
    name: 'a saved domain',
    domain: { ...OFF, hasManagedSave: true },
    code: 'refused',
    says: /memory/,
  },
  {
    name: 'a domain that has other disks now',
    domain: { ...OFF, images: ['vms/b'] },
    code: 'refused',
    says: /no longer has vms\/root/,
  },
  {
    name: 'a disk that is open',
    disks: [used(user())],
    code: 'busy',
    says: /vms\/root: client\.7 at 10\.0\.0\.1:0\/1 has it open and owns its lock/,
  },
  {
    name: 'a disk that another reads and writes',
    disks: [used(user({ isOwner: false }))],
    code: 'busy',
    says: /has it open$/,
  },
  {
    name: 'a lock of a client that is dead',
    disks: [used(user(), user({ client: 'client.9', isWatching: false }))],
    code: 'busy',
    says: /client\.9 .* is not there any more/,
  },
  {
    name: 'a snapshot that is gone',
    disks: [disk({ source: { kind: 'gone', what: 'snapshot' } })],
    code: 'not-found',
    says: /no such snapshot/,
  },
  { name: 'no disk', disks: [], code: 'not-found', says: /none of the disks/ },
  { name: 'a name that is taken', way: 'clone', code: 'refused', says: /already/ },
  {
    name: 'a rollback of another image',
    way: 'rollback',
    disks: [disk({ present: { imageId: 'clone', users: [] } })],
    code: 'refused',
    says: /no longer the image/,
  },
  { name: 'a rollback of its image', way: 'rollback' },
];

for (const { name, way = 'in-place', disks = [disk()], domain = OFF, says, code } of CASES) {
  test(`restore ${way}: ${name}: ${code ?? 'go'}`, () => {
    const decision = decideRestore(way, disks, domain === 'unknown' ? undefined : domain);
    if (says === undefined) return assert.deepEqual(decision, { kind: 'go' });
    assert.ok(decision.kind === 'stop', 'it goes');
    assert.equal(decision.code, code);
    assert.match(decision.why, says);
  });
}

test('an undo wants what the restore put there, unused, and the old disk in the trash', () => {
  const record = { disks: [{ name: 'vms/root', newId: 'clone' }] } as unknown as RestoreRecord;
  const found = (imageId: string, more: Partial<RestoreFacts> = {}): RestoreFacts => {
    return { toPoolId: 1, source: SOURCE, present: { imageId, users: [] }, ...more };
  };
  const decide = (each: RestoreFacts, domain: DomainFacts | undefined = OFF) => {
    const decision = decideUndo(record, [each], domain);
    return decision.kind === 'go' ? 'go' : `${decision.code}: ${decision.why}`;
  };
  assert.equal(decide(found('clone')), 'go');
  assert.equal(decide(found('clone', { isOldThere: true })), 'go');
  assert.match(decide(found('clone', { isOldThere: false })), /^not-found: .*not in the trash/);
  assert.match(decide(found('later')), /^mismatch: vms\/root is no longer/);
  assert.match(decide(found('clone', { present: { imageId: 'clone', users: [user()] } })), /^busy/);
  assert.match(decide(found('clone'), { ...OFF, isActive: true }), /^busy: the domain runs/);
});

test('disks are chosen by their targets, and images named as rbd names them', () => {
  const set = { disks: [{ target: 'vda' }, { target: 'vdb' }] } as unknown as SnapshotSet;
  const chosen = (devices?: 'all' | 'root' | string[]) =>
    disksOf(set, devices).map(({ target }) => target);
  assert.deepEqual(
    [chosen(), chosen('root'), chosen(['vdb', 'vdz'])],
    [['vda', 'vdb'], ['vda'], ['vdb']],
  );
  assert.deepEqual(parseImage('p/i'), { pool: 'p', namespace: '', image: 'i' });
  assert.deepEqual(parseImage('p/n/i'), { pool: 'p', namespace: 'n', image: 'i' });
  for (const wrong of ['p', 'p/', '/i', 'p//i', 'p/n/i/x', 'p/i@s'])
    assert.throws(() => parseImage(wrong), /POOL\/IMAGE/);
});
