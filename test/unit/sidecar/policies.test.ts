// The folder of policies: a configured one that is missing is a problem, and each state is said once.

import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { POLICIES_DEFAULT } from '../../../src/sidecar/config/schema.ts';
import { openPolicies } from '../../../src/sidecar/policies.ts';
import { keptLog, temporaryFolder } from './support/quiet.ts';

it('a configured folder that is missing is a problem until it is there', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'policies.d');
  const kept = keptLog();
  const policies = openPolicies(() => path, kept.log);
  for (let each = 0; each < 3; each += 1) await policies.load();
  assert.ok(policies.isMissing);
  const what = 'this folder of policies does not exist: none is in force';
  assert.deepEqual(policies.problems, [{ where: path, what }]);
  await mkdir(path);
  await writeFile(join(path, 'a.toml'), '[[policy]]\nname="a"\ndomains=["*"]\nkeep_last=1\n');
  for (let each = 0; each < 3; each += 1) await policies.load();
  assert.deepEqual([policies.isMissing, policies.problems], [false, []]);
  assert.deepEqual(
    policies.current.map((policy) => policy.name),
    ['a'],
  );
  await rm(path, { recursive: true });
  await policies.load();
  assert.deepEqual([policies.isMissing, policies.current], [true, []]);
  const said = kept.lines.map(
    (line) => (JSON.parse(line.replace(/^<\d>/, '')) as { msg: string }).msg,
  );
  const [problem, inForce] = ['the policies have an error', 'policies in force'];
  assert.deepEqual(said, [problem, inForce, inForce, problem, inForce]);
});

it('where none is configured, a missing one is not', async () => {
  const policies = openPolicies(() => POLICIES_DEFAULT, keptLog().log);
  await policies.load();
  assert.deepEqual([policies.isMissing, policies.problems], [false, []]);
});
