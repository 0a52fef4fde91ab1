import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bounds, confine } from '../../../src/worker/confine.ts';
import type { StartRole } from '../../../src/worker/role.ts';

const started: unknown[] = [];
const role = async (): Promise<StartRole> => (settings) => {
  started.push(settings);
  return { handlers: {} };
};
const roles = { ceph: role, libvirt: role, fill: role, transfer: role };
const within = (bounds: Bounds) => confine(roles, bounds);
const LIBVIRT = { role: 'libvirt', uri: 'qemu:///system' };
const ignore = () => undefined;

test('a worker that was started as one role takes no other', async () => {
  for (const other of ['ceph', 'fill', 'transfer'] as const)
    await assert.rejects(within(LIBVIRT)[other](), { code: 'denied', why: /as libvirt alone/ });
  const fill = await within({ role: 'fill', uri: undefined }).fill();
  assert.deepEqual(fill(null, ignore).handlers, {});
});

test('a libvirt worker whose unit states a URI connects to no other, which might name a command', async () => {
  const start = await within(LIBVIRT).libvirt();
  for (const uri of ['qemu+ssh://x/system?command=/tmp/x', 'qemu:///session', ''])
    assert.throws(() => start({ uri }, ignore), { code: 'denied', why: /qemu:\/\/\/system/ });
  assert.deepEqual(started, [null]);
  start({ uri: 'qemu:///system' }, ignore);
  const any = await within({ role: undefined, uri: undefined }).libvirt();
  any({ uri: 'test:///default' }, ignore);
  assert.equal(started.length, 3);
});
