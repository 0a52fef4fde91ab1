// What another host has left: only what is surely nobody's is removed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { createJournal } from '../../../src/sidecar/journal.ts';
import { decideEntry, decideImport, GONE_MS } from '../../../src/snapshot/leftovers/decide.ts';
import { Leftovers } from '../../../src/snapshot/leftovers/room.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { Cluster } from '../../../src/wire/ports.ts';
import type { FoundEntry } from '../../../src/wire/publish-protocol.ts';
import { rowsInMemory } from '../sidecar/support/served.ts';

const NOW = Date.UTC(2026, 10, 21);
const OLD = NOW - GONE_MS;

test('what has no name, no user and an old record is removed; whatever could be somebody’s is not', () => {
  const entry = (state: FoundEntry['state'], atMs: number | undefined, users: string[] = []) =>
    decideEntry({ state, ...(atMs !== undefined && { atMs }) }, users, NOW).kind;
  assert.equal(entry('unnamed', OLD), 'remove');
  assert.equal(entry('gone', OLD), 'remove');
  assert.equal(entry('named', OLD), 'stays');
  assert.equal(entry('unnamed', OLD + 1), 'stays');
  assert.equal(entry('unnamed', NOW + GONE_MS), 'stays', 'a clock that is ahead');
  assert.equal(entry('unnamed', undefined), 'stays');
  assert.equal(entry('unnamed', OLD, ['client.7']), 'stays');
  const left = { atMs: OLD, isWhole: false };
  assert.equal(decideImport(left, [], NOW).kind, 'remove');
  assert.equal(decideImport({ ...left, isWhole: true }, [], NOW).kind, 'stays');
  assert.equal(decideImport(left, ['client.7'], NOW).kind, 'stays');
});

const source = { poolId: 2, namespace: '', imageId: 'x', snapId: 1, snap: 'siphon.s' };
const entryOf = (host: string, image: string): FoundEntry => {
  const at = { poolId: 5, namespace: '', marked: `siphon.${image}` };
  const what = { schema: 1, host, set: 's', source, format: 2, image, atMs: OLD } as const;
  return { ...what, client: 'client.3', at, pool: 'images', state: 'unnamed' };
};

const ALL = [entryOf('gone', 'one'), entryOf('other', 'two'), entryOf('here', 'three')];
const BUSY = 'in use';

function world(entries: readonly FoundEntry[] = ALL) {
  const calls: (readonly [method: string, params: unknown])[] = [];
  const answers: Readonly<Record<string, unknown>> = {
    findEntries: entries,
    lookWhoUses: { users: [] },
  };
  const ceph = {
    call(method: string, params: unknown) {
      calls.push([method, params]);
      const isBusy = method === 'removeClone' && JSON.stringify(params).includes(BUSY);
      if (!isBusy) return Promise.resolve(answers[method] ?? null);
      return Promise.reject(new OperatingError({ code: 'busy', op: 'remove', subject: BUSY }));
    },
  };
  const settings = { users: {} };
  const log = pino({ level: 'silent' });
  const journal = createJournal({ rows: rowsInMemory(), log, now: () => NOW });
  const room = new Leftovers({
    journal,
    clusters: () => [{ name: 'ceph', ceph, settings } as unknown as Cluster],
    host: 'here',
    log,
    now: () => NOW,
    onDefect: (error) => assert.fail(String(error)),
  });
  const removals = () => calls.filter(([method]) => /remove|release|drop|settle/.test(method));
  return { room, removals };
}

test('only of the host that is named, only when it is meant, and never of this one', async () => {
  const { room, removals } = world();
  const { leftovers } = await room.begin({ host: 'gone', dryRun: true }).ended;
  assert.deepEqual(
    leftovers.map(({ subject, decision }) => [subject, decision]),
    [['images/one', 'would-remove']],
  );
  assert.deepEqual(removals(), []);
  await room.begin({ host: 'gone' }).ended;
  const { at } = entryOf('gone', 'one');
  assert.deepEqual(removals(), [
    ['removeClone', { at, dead: 'client.3' }],
    ['releaseSource', source],
  ]);
  assert.throws(() => room.begin({ host: 'here' }), { code: 'usage' });
});

test('one that cannot be removed is told, and keeps none of the others', async () => {
  const { room } = world([entryOf('gone', BUSY), entryOf('gone', 'two')]);
  const { leftovers } = await room.begin({ host: 'gone' }).ended;
  assert.deepEqual(
    leftovers.map(({ decision, error }) => [decision, error?.code]),
    [
      ['failed', 'busy'],
      ['removed', undefined],
    ],
  );
});
