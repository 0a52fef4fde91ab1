// Which cluster a disk is in: a table of what disks say against clusters whose ceph.confs are as Ceph's tools write them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type DiskSays,
  type KnownCluster,
  monitorsInConf,
  whichCluster,
} from '../../../src/domain/disk-cluster.ts';

/** Two clusters whose monitors share an address. */
const FIRST: KnownCluster = {
  name: 'first',
  conf: '/etc/ceph/ceph.conf',
  monitors: monitorsInConf('mon host = [v2:10.77.0.1:3300,v1:10.77.0.1:6789]'),
};
const SECOND: KnownCluster = {
  name: 'second',
  conf: '/etc/ceph/ceph2.conf',
  monitors: monitorsInConf('mon host = [v2:10.77.0.1:3310,v1:10.77.0.1:6799]'),
};
const SILENT: KnownCluster = { name: 'silent', conf: '/etc/ceph/silent.conf', monitors: [] };

const at = (name: string, port?: number) => (port === undefined ? { name } : { name, port });
const hosts = (...all: DiskSays['hosts']): DiskSays => ({ hosts: all });

const TABLE: readonly [what: string, disk: DiskSays, found: string][] = [
  ['the first’s port', hosts(at('10.77.0.1', 6789)), 'first'],
  ['its port of msgr2', hosts(at('10.77.0.1', 3300)), 'first'],
  ['no port: the default ones', hosts(at('10.77.0.1')), 'first'],
  ['port 0, as libvirt writes none', hosts(at('10.77.0.1', 0)), 'first'],
  ['the second’s port', hosts(at('10.77.0.1', 6799)), 'second'],
  ['its port of msgr2', hosts(at('10.77.0.1', 3310)), 'second'],
  ['a third cluster on the same address', hosts(at('10.77.0.1', 6809)), 'none'],
  ['another address', hosts(at('10.77.0.2', 6789)), 'none'],
  ['one monitor of several', hosts(at('10.77.0.9'), at('10.77.0.1', 6799)), 'second'],
  ['monitors of both', hosts(at('10.77.0.1', 6789), at('10.77.0.1', 6799)), 'first second'],
  ['a conf', { hosts: [], configFile: '/etc/ceph/ceph2.conf' }, 'second'],
  ['an unknown conf', { hosts: [], configFile: '/etc/ceph/x.conf' }, 'none'],
  ['nothing: librados’ own conf', { hosts: [] }, 'first'],
  [
    'monitors go before a conf',
    { hosts: [at('10.77.0.1', 6789)], configFile: '/etc/ceph/ceph2.conf' },
    'first',
  ],
  [
    'the conf of a cluster whose monitors are not known',
    { hosts: [at('192.0.2.1')], configFile: '/etc/ceph/silent.conf' },
    'silent',
  ],
];

for (const order of [
  [FIRST, SECOND, SILENT],
  [SILENT, SECOND, FIRST],
]) {
  for (const [what, disk, found] of TABLE) {
    test(`${what}: ${found}, with ${order[0]?.name} in front`, () => {
      const which = whichCluster(disk, order);
      const names = which.kind === 'one' ? [which.name] : [];
      const told = which.kind === 'several' ? which.names : names;
      assert.equal(told.toSorted().join(' ') || 'none', found);
    });
  }
}

test('a conf of another name is known by its monitors', () => {
  const disk = { hosts: [], configFile: '/etc/nova/ceph.conf' };
  const monitors = monitorsInConf('mon_host=10.77.0.1:6799');
  assert.deepEqual(whichCluster(disk, [FIRST, SECOND], monitors), { kind: 'one', name: 'second' });
});

test('the only cluster is not every disk’s', () => {
  assert.deepEqual(whichCluster(hosts(at('10.9.9.9')), [FIRST]), { kind: 'none' });
});

test('an address has one name', () => {
  const six = { ...FIRST, monitors: monitorsInConf('mon host = [v2:[fd00::1]:3300/0]') };
  assert.equal(whichCluster(hosts(at('FD00:0:0::1', 6789)), [six]).kind, 'one');
  assert.equal(whichCluster(hosts(at('[fd00::1]')), [six]).kind, 'one');
  assert.equal(whichCluster(hosts(at('fd00::2')), [six]).kind, 'none');
});

const CONFS: readonly [text: string, monitors: readonly string[]][] = [
  ['mon host = 10.0.0.1', ['10.0.0.1']],
  [
    '\tmon_host=10.0.0.1:6789,10.0.0.2:6790 mon-c.east',
    ['10.0.0.1:6789', '10.0.0.2:6790', 'mon-c.east'],
  ],
  [
    'mon-host = [v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0] # the one',
    ['10.0.0.1:3300', '10.0.0.1:6789'],
  ],
  [
    'mon host = [v2:[fd00::1]:3300,v1:[fd00::1]:6789],[fd00::2]',
    ['fd00::1:3300', 'fd00::1:6789', 'fd00::2'],
  ],
  ['mon host = [v2:[fd00::1],v1:10.0.0.1]', ['fd00::1', '10.0.0.1']],
  ['mon host = fd00::1', ['fd00::1']],
  ['mon host = "10.0.0.1, \\\n 10.0.0.2"', ['10.0.0.1', '10.0.0.2']],
  ['# mon host = 10.0.0.1\nfsid = x\n', []],
  ['mon host =\nkeyring = /k', []],
];

for (const [text, monitors] of CONFS) {
  test(`the monitors of ${JSON.stringify(text)}`, () => {
    const found = monitorsInConf(`[global]\n${text}\n`);
    const told = found.map(({ name, port }) => (port === undefined ? name : `${name}:${port}`));
    assert.deepEqual(told, monitors);
  });
}
