import assert from 'node:assert/strict';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import Database from 'better-sqlite3';
import { ENDED_JOBS_MAX } from '../../../src/cache/catalogue/jobs.ts';
import { MIGRATIONS } from '../../../src/cache/catalogue/migrations.ts';
import { openCatalogue } from '../../../src/cache/index.ts';
import { viewOf } from '../../../src/cache/view.ts';
import { baseId } from '../../../src/domain/base-path.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { JobRecord } from '../../../src/wire/journal.ts';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { FSID, idsOf, makeFolder, sourceOf } from './support.ts';

let folder = '';
let path = '';
beforeEach(async () => {
  folder = await makeFolder();
  path = join(folder, 'siphon.db');
});
afterEach(() => rm(folder, { recursive: true }));

const isError = (code: string, why: RegExp) => (error: unknown) => {
  assert.ok(error instanceof OperatingError, String(error));
  assert.equal(error.code, code);
  assert.match(`${error.why} ${error.hint}`, why);
  return true;
};

test('a new catalogue is private, in WAL, and at the newest version', () => {
  openCatalogue(path)[Symbol.dispose]();
  using again = openCatalogue(path);
  assert.deepEqual(again.bases.all(), []);
  for (const name of readdirSync(folder))
    assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name);
  const db = new Database(path);
  assert.equal(db.pragma('user_version', { simple: true }), MIGRATIONS.length);
  assert.equal(db.pragma('journal_mode', { simple: true }), 'wal');
  db.close();
});

test('the catalogue of a newer siphon is not touched, and both versions are named', () => {
  openCatalogue(path)[Symbol.dispose]();
  const db = new Database(path);
  db.pragma('user_version = 99');
  db.close();
  const names = new RegExp(`version 99.*up to ${MIGRATIONS.length}`);
  assert.throws(() => openCatalogue(path), isError('mismatch', names));
});

test('a file that is no catalogue is corrupt, with what to do', () => {
  writeFileSync(path, Buffer.alloc(8192, 'no database '));
  assert.throws(() => openCatalogue(path), isError('corrupt', /rebuilds/));
});

test('a folder that is not there is not found', () => {
  assert.throws(() => openCatalogue(join(folder, 'no', 'where')), isError('not-found', /ENOENT/));
});

const ROW = {
  id: baseId(idsOf('a')),
  ids: idsOf('a'),
  name: { ...sourceOf('a'), fsid: FSID },
  format: 'qcow2',
  sourceFormat: 'raw',
  virtualSizeBytes: 1,
  sourceSizeBytes: 2,
  allocatedBytes: 3,
  digests: { sha256: 'aa' },
  verification: { kind: 'unverified' },
  signatures: ['x'],
  createdAtMs: 4,
  lastUsedAtMs: 5,
} as const;

test('bases, pins and leases are what they were after a restart', () => {
  const base = { ids: idsOf('a'), format: 'qcow2' } as const;
  const g1 = { uuid: 'u1', name: 'g1' };
  {
    using catalogue = openCatalogue(path);
    catalogue.bases.enter('reserve', ROW);
    catalogue.bases.move(ROW.id, 'published', { file: { sizeBytes: 6, mtimeMs: 7.125 } });
    catalogue.bases.move(ROW.id, 'damaged', { problem: 'bad' });
    catalogue.pins.add(ROW.id, 8);
    assert.equal(catalogue.leases.replace('running', g1, [base]), true);
    assert.equal(catalogue.leases.replace('running', g1, [base]), false);
    catalogue.leases.replace('defined', g1, [base]);
    catalogue.leases.replace('defined', { uuid: 'u2', name: 'g2' }, [base]);
  }
  using catalogue = openCatalogue(path);
  const file = { sizeBytes: 6, mtimeMs: 7.125 };
  assert.deepEqual(catalogue.bases.all(), [{ ...ROW, state: 'suspect', file, problem: 'bad' }]);
  assert.equal(catalogue.pins.has(ROW.id), true);
  assert.equal(catalogue.leases.ofBase(ROW.id).length, 3);
  assert.deepEqual(catalogue.leases.ofDomain('u1'), [base]);
  catalogue.leases.retain('defined', new Set(['u1']));
  catalogue.leases.replace('running', g1, []);
  assert.deepEqual(catalogue.leases.ofBase(ROW.id), [
    { domainUuid: 'u1', domainName: 'g1', kind: 'defined' },
  ]);
});

test('what the kernel seals of a file is told with its base, and after a restart', () => {
  const file = { sizeBytes: 6, mtimeMs: 7, fsVerity: 'ab' };
  {
    using catalogue = openCatalogue(path);
    const row = catalogue.bases.enter('reserve', ROW);
    assert.equal('fsVerity' in viewOf(catalogue, row), false);
    catalogue.bases.move(ROW.id, 'published', { file });
  }
  using catalogue = openCatalogue(path);
  const row = catalogue.bases.get(ROW.id) ?? assert.fail();
  assert.equal(viewOf(catalogue, row).fsVerity, 'ab');
});

test('a chunk table is kept as long as a base names it, and what no base named is gone at the next start', () => {
  const bytes = Buffer.from('a table');
  const [table, other] = ['aa', 'bb'].map((sha256) => ({ sha256, chunkBytes: 65_536 }));
  assert.ok(table && other);
  const second = { ...ROW, id: baseId(idsOf('b')), ids: idsOf('b') };
  {
    using catalogue = openCatalogue(path);
    const { bases, tables } = catalogue;
    for (const row of [ROW, second]) {
      bases.enter('reserve', row);
      tables.put('aa', bytes);
      bases.move(row.id, 'published', { chunkTable: table });
    }
    const evict = (id: string) => {
      bases.move(id, 'evict-begun');
      bases.move(id, 'evicted');
    };
    evict(second.id);
    assert.deepEqual(tables.get('aa'), bytes, 'the other base names it');
    // A fill of the same content has written its table, and not yet its row.
    tables.put('aa', bytes);
    evict(ROW.id);
    assert.deepEqual(tables.get('aa'), bytes);
    bases.enter('reserve', ROW);
    bases.move(ROW.id, 'published', { chunkTable: table });
    tables.put('bb', bytes);
    bases.amend(ROW.id, { chunkTable: other });
    assert.equal(tables.get('aa'), undefined, 'none names it');
    tables.put('cc', bytes);
  }
  using catalogue = openCatalogue(path);
  const { bases, tables } = catalogue;
  assert.deepEqual(bases.get(ROW.id)?.chunkTable, other);
  const used = new Set(bases.all().map(({ chunkTable }) => chunkTable?.sha256));
  assert.equal(
    tables.prune((sha256) => used.has(sha256)),
    1,
  );
  assert.deepEqual([tables.get('bb'), tables.get('cc')], [bytes, undefined]);
});

test('a move that the table of states does not know is a defect', () => {
  using catalogue = openCatalogue(path);
  assert.throws(() => catalogue.bases.move(ROW.id, 'published'), { name: 'AssertionError' });
  catalogue.bases.enter('reserve', ROW);
  assert.throws(
    () => catalogue.bases.move(ROW.id, 'evict-begun'),
    /means nothing to a base that is filling/,
  );
});

function job(i: number, state: JobRecord['state']): JobRecord {
  const id = `j${i}`;
  return {
    id,
    kind: 'fill',
    subject: 's',
    state,
    step: 'begun',
    data: { i },
    createdAtMs: i,
    updatedAtMs: i,
  };
}

test('open jobs stay for ever, ended ones up to a number, the newest first', () => {
  using catalogue = openCatalogue(path);
  catalogue.jobs.put(job(0, 'open'));
  for (let i = 1; i <= ENDED_JOBS_MAX + 5; i++) catalogue.jobs.put(job(i, 'done'));
  assert.deepEqual(
    catalogue.jobs.open().map(({ id }) => id),
    ['j0'],
  );
  assert.equal(catalogue.jobs.list(5000).length, ENDED_JOBS_MAX + 1);
  assert.equal(catalogue.jobs.list(1)[0]?.id, `j${ENDED_JOBS_MAX + 5}`);
  assert.equal(catalogue.jobs.get('j5'), undefined);
  assert.deepEqual(catalogue.jobs.get('j0'), job(0, 'open'));
});

test('snapshot sets, by domain, the newest first', () => {
  using catalogue = openCatalogue(path);
  const set = (id: string, domainUuid: string, createdAtMs: number) =>
    ({ id, domainUuid, createdAtMs, schema: 1 }) as SnapshotSet;
  catalogue.sets.put(set('a', 'u1', 1), 'taking');
  catalogue.sets.put(set('b', 'u1', 2), 'complete');
  catalogue.sets.put(set('c', 'u2', 3), 'complete');
  catalogue.sets.put(set('a', 'u1', 1), 'complete');
  assert.deepEqual(
    catalogue.sets.list('u1').map(({ id, state }) => [id, state]),
    [
      ['b', 'complete'],
      ['a', 'complete'],
    ],
  );
  catalogue.sets.remove('a');
  assert.equal(catalogue.sets.get('a'), undefined);
  assert.deepEqual(
    catalogue.sets.list().map(({ id }) => id),
    ['c', 'b'],
  );
});
