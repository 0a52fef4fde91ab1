import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { type BackingName, resolveBackingName } from '../../../src/domain/backing-name.ts';

const OVERLAY = '/vms/one/disk.qcow2';
const RBD = { kind: 'rbd', pool: 'p', namespace: '', image: 'i' } as const;

const NAMES: readonly { name: string; want: BackingName | 'unsupported' }[] = [
  { name: '/bases/x.qcow2', want: { kind: 'file', path: '/bases/x.qcow2' } },
  { name: 'x.qcow2', want: { kind: 'file', path: '/vms/one/x.qcow2' } },
  { name: '../x.qcow2', want: { kind: 'file', path: '/vms/one/../x.qcow2' } },
  { name: './/x', want: { kind: 'file', path: '/vms/one/x' } },
  { name: '//bases/./x', want: { kind: 'file', path: '/bases/x' } },
  { name: './a:b', want: { kind: 'file', path: '/vms/one/a:b' } },
  { name: '/bases/3/ab@4:5', want: { kind: 'file', path: '/bases/3/ab@4:5' } },
  { name: 'file:/bases/x', want: { kind: 'file', path: '/bases/x' } },
  { name: 'file:///bases/x', want: { kind: 'file', path: '/bases/x' } },
  { name: 'file:x', want: 'unsupported' },
  { name: 'a:b', want: 'unsupported' },
  { name: 'nbd://host/x', want: 'unsupported' },
  { name: 'fat:/etc', want: 'unsupported' },
  { name: '', want: 'unsupported' },
  { name: 'a\0b', want: 'unsupported' },
  { name: 'rbd:p/i', want: RBD },
  { name: 'rbd:p/i@s', want: { ...RBD, snapshot: 's' } },
  { name: 'rbd:p/n/i@s', want: { ...RBD, namespace: 'n', snapshot: 's' } },
  {
    name: 'rbd:p/i@s:id=user:conf=/etc/ceph/c.conf:mon_host=10.0.0.1\\:6789',
    want: {
      ...RBD,
      snapshot: 's',
      configFile: '/etc/ceph/c.conf',
      hosts: [{ name: '10.0.0.1', port: 6789 }],
      user: 'user',
    },
  },
  {
    name: 'json:{"driver":"rbd","pool":"p","image":"i","server":[{"host":"a","port":"6789"}]}',
    want: { ...RBD, hosts: [{ name: 'a', port: 6789 }] },
  },
  {
    name: 'json:{"driver":"rbd","pool":"p","image":"i","server.0.host":"a","server.0.port":"1"}',
    want: { ...RBD, hosts: [{ name: 'a', port: 1 }] },
  },
  { name: 'rbd:p\\/q/i\\@1\\:2', want: { ...RBD, pool: 'p/q', image: 'i@1:2' } },
  { name: 'rbd:p/i:id=a@b', want: { ...RBD, user: 'a@b' } },
  { name: 'rbd:p', want: 'unsupported' },
  { name: 'rbd:/i', want: 'unsupported' },
  { name: 'rbd:p/', want: 'unsupported' },
  { name: 'rbd:a/b/c/d', want: 'unsupported' },
  { name: 'rbd:p/i@s@t', want: 'unsupported' },
  {
    name: 'json:{"driver":"rbd","pool":"p","image":"i","namespace":"n","snapshot":"s","conf":"/c","user":"u"}',
    want: { ...RBD, namespace: 'n', snapshot: 's', configFile: '/c', user: 'u' },
  },
  {
    name: 'json:{"driver":"raw","file":{"driver":"rbd","pool":"p","image":"i"}}',
    want: { ...RBD, format: 'raw' },
  },
  {
    name: 'json:{"driver":"qcow2","file.driver":"file","file.filename":"/b/x"}',
    want: { kind: 'file', path: '/b/x', format: 'qcow2' },
  },
  { name: 'json:{"file.filename":"/b/x"}', want: { kind: 'file', path: '/b/x' } },
  { name: 'json:{"driver":"file","filename":"x"}', want: { kind: 'file', path: '/vms/one/x' } },
  { name: 'json:{"driver":"file","filename":"a:b"}', want: { kind: 'file', path: '/vms/one/a:b' } },
  {
    name: 'json:{"driver":"raw","file":{"filename":"rbd:p/i@s"}}',
    want: { ...RBD, snapshot: 's', format: 'raw' },
  },
  {
    name: 'json:{"driver":"raw","offset":512,"file":{"driver":"file","filename":"/x"}}',
    want: 'unsupported',
  },
  { name: 'json:{"driver":"qcow2","file":"node1"}', want: 'unsupported' },
  { name: 'json:{"driver":"nbd","host":"x"}', want: 'unsupported' },
  { name: 'json:{"driver":"rbd","pool":"p"}', want: 'unsupported' },
  { name: 'json:{"driver":"rbd","pool":1,"image":"i"}', want: 'unsupported' },
  {
    name: 'json:{"driver":"rbd","pool":"p","image":"i","encrypt.format":"luks"}',
    want: 'unsupported',
  },
  { name: 'json:[]', want: 'unsupported' },
  { name: 'json:{', want: 'unsupported' },
  { name: 'json:null', want: 'unsupported' },
  {
    name: 'json:{"driver":"throttle","file":{"driver":"qcow2","file":{"filename":"/x"}}}',
    want: 'unsupported',
  },
  { name: `json:${'{"file":'.repeat(50)}{"filename":"/x"}${'}'.repeat(50)}`, want: 'unsupported' },
];

for (const { name, want } of NAMES) {
  test(`backing name ${JSON.stringify(name).slice(0, 90)}`, () => {
    const expected = want === 'unsupported' ? { kind: 'unsupported', text: name } : want;
    assert.deepEqual(resolveBackingName(name, OVERLAY), expected);
  });
}

test('a relative name has no folder where the overlay is no file', () => {
  assert.deepEqual(resolveBackingName('x', null), { kind: 'unsupported', text: 'x' });
  assert.deepEqual(resolveBackingName('/x', null), { kind: 'file', path: '/x' });
});

test('no name makes it throw', () => {
  const hostile = fc.string({
    unit: fc.constantFrom('json:', 'rbd:', '{', '}', '"', '\\', '@', ':', '/', 'a', '.'),
  });
  fc.assert(
    fc.property(fc.oneof(fc.string(), hostile), (name) => void resolveBackingName(name, OVERLAY)),
  );
  fc.assert(fc.property(fc.json(), (name) => void resolveBackingName(`json:${name}`, OVERLAY)));
});
