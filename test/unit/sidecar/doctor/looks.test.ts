// The pure halves of the doctor's looks: texts of others to facts; and the caps that are printed.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { capsCommands, capsFor, capsText } from '../../../../src/sidecar/doctor/caps.ts';
import { parseHook, parseUnits } from '../../../../src/sidecar/doctor/gather-host.ts';
import { factsOf } from '../../../../src/sidecar/doctor/gather-libvirt.ts';
import { keyringPaths, keyType } from '../../../../src/sidecar/doctor/keyring.ts';
import { settings } from './healthy.ts';

test('keyrings are looked for where librados looks', () => {
  const conf = '[global]\nkeyring = /g/$cluster.$name\n[client]\nkeyring=/c/${id}.keyring # mine\n';
  assert.deepEqual(keyringPaths(conf, 'u'), ['/c/u.keyring']);
  assert.deepEqual(keyringPaths(`${conf}[client.u]\nkeyring = /u`, 'u'), ['/u']);
  assert.deepEqual(keyringPaths('[global]\nkeyring = /g/$cluster.$name', 'u'), [
    '/g/ceph.client.u',
  ]);
  assert.equal(keyringPaths('', 'u')[0], '/etc/ceph/ceph.client.u.keyring');
  assert.equal(keyringPaths('', 'u').length, 4);
});

test('a key is known by its type', () => {
  const keyring = (type: number) => {
    const bytes = Buffer.alloc(28);
    bytes.writeUInt16LE(type);
    return `[client.u]\n\tkey = ${bytes.toString('base64')}\n`;
  };
  assert.equal(keyType(keyring(1), 'u'), 'aes');
  assert.equal(keyType(keyring(2), 'u'), 'aes256k');
  assert.equal(keyType(keyring(3), 'u'), 'other');
  assert.equal(keyType('[client.u]\nkey = \n', 'u'), 'other');
  assert.equal(keyType(keyring(1), 'v'), undefined);
});

test('units, as systemctl show tells them', () => {
  const unit = (id: string, load: string, active: string, file: string) =>
    `Id=${id}\nBefore=a.service b.service\nLoadState=${load}\nActiveState=${active}\nUnitFileState=${file}`;
  const text = [
    unit('x', 'loaded', 'active', 'enabled'),
    unit('y', 'not-found', 'inactive', ''),
  ].join('\n\n');
  const before = ['a.service', 'b.service'];
  assert.deepEqual(parseUnits(`${text}\n`), [
    { name: 'x', isLoaded: true, isActive: true, isEnabled: true, before },
    { name: 'y', isLoaded: false, isActive: false, isEnabled: false, before },
  ]);
});

test("the hook, as its installer's status tells it", () => {
  const state = (code: number, text: string) => parseHook(code, text).state;
  assert.equal(state(0, 'installed and seen: /x'), 'seen');
  assert.equal(state(1, 'install-hook.sh: not installed: /x'), 'missing');
  assert.equal(state(1, 'installed, but another version than /x'), 'other-version');
  assert.equal(state(1, 'installed, but not as an executable regular file'), 'not-executable');
  assert.equal(state(1, "installed, but not seen yet: run 'x'"), 'unseen');
  assert.equal(state(1, 'who knows'), 'unknown');
  const copied = parseHook(0, 'warning: /h/50-siphon~ is executable, so libvirt runs it too\n');
  assert.deepEqual(copied.copies, ['/h/50-siphon~']);
});

test('a domain: its RBD disks, their users, its agent channel', () => {
  const xml = (more: string) => `<domain><name>d</name>
    <uuid>11111111-2222-4333-8444-555555555555</uuid><devices>
    <disk type='network' device='disk'><source protocol='rbd' name='vms/disk'>
      <auth username='libvirt'><secret type='ceph' uuid='x'/></auth></source>
      <target dev='vda'/></disk>
    <disk type='file'><source file='/x'/><target dev='vdb'/></disk>${more}</devices></domain>`;
  const disks = [{ pool: 'vms', namespace: '', image: 'disk', user: 'libvirt' }];
  assert.deepEqual(factsOf(xml('')), { name: 'd', hasAgentChannel: false, disks });
  const channel = "<channel><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";
  assert.equal(factsOf(xml(channel)).hasAgentChannel, true);
});

const pools = { images: ['images', 'more'], vms: ['vms'] };

test('three users get the caps of their jobs, and none that blocklists', () => {
  const [fill, snapshot, publish] = capsFor(settings, pools);
  assert.equal(fill?.osd, 'profile rbd-read-only pool=images, profile rbd-read-only pool=more');
  assert.deepEqual(snapshot?.osd.split(', '), [
    'profile rbd-read-only pool=vms',
    'allow rwx pool=vms object_prefix rbd_header.',
    'allow wx pool=vms object_prefix rbd_object_map.',
    'allow w pool=vms object_prefix siphon.sets',
    'allow class-read object_prefix rbd_children',
    'profile rbd-read-only pool=images',
    'profile rbd-read-only pool=more',
  ]);
  assert.deepEqual(publish?.osd.split(', '), [
    'profile rbd-read-only pool=vms',
    'profile rbd pool=images',
    'profile rbd pool=more',
  ]);
  for (const each of [fill, snapshot, publish]) assert.equal(each?.mon, 'allow r');
});

test('the manager is asked by the publish user alone, and where policies let the cluster flatten', () => {
  const [none] = capsCommands([{ name: 'ceph', settings }], pools);
  assert.ok(none?.users.every(({ create, mgr }) => mgr === undefined && !create.includes('mgr')));
  const [some] = capsCommands([{ name: 'ceph', settings }], { ...pools, tasks: ['images'] });
  const asking = some?.users.filter(({ create, correct }) => {
    const words = " mgr 'profile rbd pool=images'";
    return create.includes(words) && correct.endsWith(words);
  });
  assert.deepEqual(
    asking?.map(({ jobs }) => jobs),
    [['publish']],
  );
});

test('a namespace is named in each grant', () => {
  const [fill, , publish] = capsFor(settings, { images: ['images/tenant'], vms: [] });
  assert.equal(fill?.osd, 'profile rbd-read-only pool=images namespace=tenant');
  assert.equal(publish?.osd, 'profile rbd pool=images namespace=tenant');
});

test('one user for all jobs gets them together, each grant once', () => {
  const one = { name: 'one', keyring: '/k' };
  const users = { fill: one, snapshot: one, publish: one };
  const clusters = [{ name: 'c', settings: { ...settings, conf: '/etc/ceph/c.conf', users } }];
  const text = capsText(capsCommands(clusters, { images: ['images'], vms: ['vms'] }));
  const [command, ...more] = text.split('\n').filter((line) => !line.startsWith('#'));
  assert.deepEqual(more, []);
  const [, osd = ''] =
    /^ceph -c \/etc\/ceph\/c\.conf auth get-or-create client\.one mon 'allow r' osd '(.*)' -o \/k$/.exec(
      command ?? '',
    ) ?? assert.fail(command);
  assert.deepEqual(osd.split(', ').toSorted(), [
    'allow class-read object_prefix rbd_children',
    'allow rwx pool=vms object_prefix rbd_header.',
    'allow w pool=vms object_prefix siphon.sets',
    'allow wx pool=vms object_prefix rbd_object_map.',
    'profile rbd pool=images',
    'profile rbd-read-only pool=images',
    'profile rbd-read-only pool=vms',
  ]);
});

test('a user for restores is named where the config has one, and is nobody else', () => {
  const users = { ...settings.users, restore: { name: 'r' } };
  const [, , , restore, ...more] = capsFor({ ...settings, users }, pools);
  assert.deepEqual([restore?.user.name, restore?.jobs, more], ['r', ['restore'], []]);
  assert.deepEqual(restore?.osd.split(', '), [
    'profile rbd pool=vms',
    'profile rbd-read-only pool=images',
    'profile rbd-read-only pool=more',
  ]);
});

test('the README has the commands that the doctor prints', async () => {
  const readme = await readFile(new URL('../../../../README.md', import.meta.url), 'utf8');
  const named = (job: string) => ({ name: `siphon-${job}` });
  const users = {
    fill: named('fill'),
    snapshot: named('snapshot'),
    publish: named('publish'),
  };
  const clusters = [{ name: 'ceph', settings: { ...settings, users, tickPool: 'siphon' } }];
  const [printed] = capsCommands(clusters, { images: ['images'], vms: ['vms'] });
  assert.deepEqual(
    readme.match(/^ceph auth get-or-create .*$/gm),
    printed?.users.map(({ create }) => create),
  );
});
