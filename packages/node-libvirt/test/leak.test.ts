// Rounds of look-up, read and free on one connection keep memory and descriptors. SIPHON_SOAK=1: 10,000 of them.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  blockStatistics,
  Connection,
  jobStatistics,
  listDomains,
  listSecrets,
  lookUpDomainByName,
  lookUpDomainByUuid,
  lookUpSecretByUuid,
  VIR_ERR,
} from '../src/index.ts';
import { defineTestDomain, diskXml, makeFolder, makeQcow2, testName, URI } from './lab.ts';

const ROUNDS = process.env['SIPHON_SOAK'] === '1' ? 10_000 : 500;
const WARM_UP_ROUNDS = 200;
/** A leak of a page a round is 40 MiB over all of the soak, and of a domain's XML twice that. */
const GROWTH_MIB_MAX = 16;

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

function residentMiB(): number {
  globalThis.gc?.();
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;
}

test(`${ROUNDS} rounds of look-up, XML, statistics, failure and free`, async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const file = await makeQcow2(`${await makeFolder(stack)}/disk`, 1);
  const { name, uuid } = await (async () => {
    const made = await defineTestDomain(connection, stack, testName(), diskXml(file));
    await made.start();
    return made;
  })();
  const round = async (): Promise<void> => {
    await using domain = await lookUpDomainByName(connection, name);
    assert.match(await domain.xml(), new RegExp(uuid));
    await using list = await listDomains(connection, { isActive: true });
    assert(list.items.length > 0);
    await using secrets = await listSecrets(connection);
    for (const { uuid } of secrets) {
      await using secret = await lookUpSecretByUuid(connection, uuid);
      assert.equal(secret.uuid, uuid);
    }
    assert((await blockStatistics(domain, 'vda')).writtenBytes === 0);
    assert.equal((await jobStatistics(domain)).type, 'none');
    await assert.rejects(lookUpDomainByUuid(connection, 'no uuid'), { code: VIR_ERR.INVALID_ARG });
  };
  for (let i = 0; i < WARM_UP_ROUNDS; i++) await round();
  const [descriptors, resident] = [openDescriptors(), residentMiB()];
  for (let i = 0; i < ROUNDS; i++) await round();
  assert.equal(openDescriptors(), descriptors);
  const grown = residentMiB() - resident;
  assert(grown < GROWTH_MIB_MAX, `${ROUNDS} rounds took ${grown} MiB`);
});
