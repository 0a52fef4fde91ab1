// Errors belong to the call that failed, however many run at once on however many threads.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Connection, listDomains, lookUpDomainByName, lookUpDomainByUuid } from '../src/index.ts';
import { URI } from './lab.ts';

test('concurrent failing calls each get their own error', async () => {
  await using connection = await Connection.open(URI);
  const calls = Array.from({ length: 900 }, async (_, i) => {
    if (i % 3 === 0) {
      await assert.rejects(lookUpDomainByName(connection, `missing-${i}-`), {
        code: 42,
        call: 'virDomainLookupByName',
        message: new RegExp(`missing-${i}-`),
      });
    } else if (i % 3 === 1) {
      await assert.rejects(lookUpDomainByUuid(connection, `bad-${i}-`), {
        code: 8,
        call: 'virDomainLookupByUUIDString',
        message: /Invalid UUID/,
      });
    } else {
      await using list = await listDomains(connection);
      assert(list.domains.length >= 0);
    }
  });
  await Promise.all(calls);
});

test('concurrent failing connections each get their own error', async () => {
  const paths = Array.from({ length: 12 }, (_, i) => `/run/no-such-socket-${i}-`);
  await Promise.all(
    paths.map((path) =>
      assert.rejects(Connection.open(`qemu+unix:///system?socket=${path}`), {
        name: 'LibvirtError',
        code: 38, // VIR_ERR_SYSTEM_ERROR
        call: 'virConnectOpen',
        message: new RegExp(path),
      }),
    ),
  );
});
