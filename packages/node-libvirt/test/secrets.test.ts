import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import {
  Connection,
  defineSecret,
  listSecrets,
  lookUpSecretByUsage,
  lookUpSecretByUuid,
  type Secret,
  VIR_ERR,
} from '../src/index.ts';
import { run, URI } from './lab.ts';

async function makeSecret(
  connection: Connection,
  stack: AsyncDisposableStack,
  isPrivate = false,
): Promise<Secret> {
  const uuid = randomUUID();
  const secret = await defineSecret(
    connection,
    `<secret ephemeral='no' private='${isPrivate ? 'yes' : 'no'}'><uuid>${uuid}</uuid>
       <usage type='ceph'><name>client.${uuid} é</name></usage></secret>`,
  );
  stack.defer(async () => {
    await secret.undefine();
    await secret[Symbol.asyncDispose]();
  });
  return secret;
}

test('a secret is defined, found in every way, listed, and gone when it is undefined', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const { uuid, usageId } = await makeSecret(connection, stack);
  assert.equal(usageId, `client.${uuid} é`);
  await using byUuid = await lookUpSecretByUuid(connection, uuid);
  await using byUsage = await lookUpSecretByUsage(connection, 'ceph', usageId);
  await using list = await listSecrets(connection);
  const listed = [...list].find((each) => each.uuid === uuid);
  for (const secret of [byUuid, byUsage, listed]) {
    assert.deepEqual([secret?.uuid, secret?.usage, secret?.usageId], [uuid, 'ceph', usageId]);
  }
  assert.match(await byUuid.xml(), /<usage type='ceph'>/);
  await stack.disposeAsync();
  await assert.rejects(lookUpSecretByUuid(connection, uuid), { code: VIR_ERR.NO_SECRET });
  await assert.rejects(lookUpSecretByUsage(connection, 'ceph', usageId), {
    code: VIR_ERR.NO_SECRET,
  });
  await assert.rejects(byUuid.undefine(), { code: VIR_ERR.NO_SECRET });
});

test('its value is bytes, any of them, and the same for virsh', async () => {
  await using connection = await Connection.open(URI);
  await using readOnly = await Connection.open(URI, { isReadOnly: true });
  await using stack = new AsyncDisposableStack();
  const secret = await makeSecret(connection, stack);
  await assert.rejects(secret.value(), { code: VIR_ERR.NO_SECRET });
  const value = Buffer.from([0, 1, 255, 0, ...Buffer.from('kéy'), 0]);
  await secret.setValue(value);
  assert.deepEqual(await secret.value(), value);
  const { stdout } = await run('virsh', ['-c', URI, 'secret-get-value', secret.uuid]);
  assert.deepEqual(Buffer.from(stdout, 'base64'), value);
  await using seen = await lookUpSecretByUuid(readOnly, secret.uuid);
  await assert.rejects(seen.value(), { code: VIR_ERR.OPERATION_DENIED });
});

test('a private secret keeps its value', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const secret = await makeSecret(connection, stack, true);
  await secret.setValue(Buffer.from('value'));
  await assert.rejects(secret.value(), { code: VIR_ERR.INVALID_SECRET });
});
