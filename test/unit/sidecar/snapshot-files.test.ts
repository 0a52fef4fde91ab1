// Files get their names together, wherever that was cut before; and never that of another.

import assert from 'node:assert/strict';
import { link, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { snapshotFiles } from '../../../src/sidecar/snapshot-files.ts';
import { pathsOf } from '../../../src/snapshot/publish/files.ts';

const NAMES = ['gold-vda.raw', 'gold-vdb.raw'];
let folder: string;
const paths = () =>
  ['vda', 'vdb'].map((target) =>
    pathsOf(
      { folder, format: 'raw', reserveBytes: 0 },
      { marked: `siphon.p.${target}`, file: `gold-${target}` },
    ),
  );

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'siphon-folder-'));
  for (const { partial } of paths()) await writeFile(partial, partial);
});

afterEach(() => rm(folder, { recursive: true }));

const filesIn = async () => (await readdir(folder)).toSorted();

test('wherever it was cut, it goes on', async () => {
  const [first = assert.fail(), second = assert.fail()] = paths();
  await link(first.partial, first.path);
  await snapshotFiles.nameFiles(paths());
  assert.deepEqual(await filesIn(), NAMES);
  // All had their names, and one of the marked ones was still there.
  await link(second.path, second.partial);
  await snapshotFiles.nameFiles(paths());
  assert.deepEqual(await filesIn(), NAMES);
  assert.equal(await readFile(first.path, 'utf8'), first.partial);
});

test('where one name is taken none is given, and what is dropped is our own alone', async () => {
  const [, second = assert.fail()] = paths();
  await writeFile(second.path, 'theirs');
  await assert.rejects(snapshotFiles.nameFiles(paths()), { code: 'refused' });
  await snapshotFiles.dropFiles(paths());
  await snapshotFiles.dropFiles(paths());
  assert.deepEqual(await filesIn(), ['gold-vdb.raw']);
  assert.equal(await readFile(second.path, 'utf8'), 'theirs');
});
