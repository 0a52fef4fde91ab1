import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitRbdName } from '../../../src/domain/disk-source.ts';
import { type Disk, parseDomain } from '../../../src/domain/domain.ts';

const UUID = '5e1c7f0a-0d8f-4a53-93b7-0e4b8f6f2f10';

function domain(inside: string, attributes = `type='qemu'`): string {
  return `<domain ${attributes}><name>vm1</name><uuid>${UUID}</uuid>${inside}</domain>`;
}

function disk(xml: string): Disk {
  const [only, ...more] = parseDomain(domain(`<devices>${xml}</devices>`)).disks;
  assert(only !== undefined && more.length === 0);
  return only;
}

const RBD_PREPARE = `<disk type='network' device='disk'>
  <driver name='qemu' type='raw' cache='none' discard='unmap'/>
  <auth username='f_qemu'><secret type='ceph' uuid='${UUID}'/></auth>
  <source protocol='rbd' name='vms/vol1'>
    <host name='127.0.0.1' port='41001'/><host name='::1'/>
    <snapshot name='ro1'/><config file='/etc/ceph/c.conf'/>
  </source>
  <target dev='vda' bus='virtio'/><readonly/>
</disk>`;

test('an rbd disk as `prepare` shows it', () => {
  assert.deepEqual(disk(RBD_PREPARE), {
    target: 'vda',
    device: 'disk',
    isReadOnly: true,
    isTransient: false,
    format: 'raw',
    source: {
      kind: 'rbd',
      pool: 'vms',
      namespace: '',
      image: 'vol1',
      snapshot: 'ro1',
      hosts: [{ name: '127.0.0.1', port: 41001 }, { name: '::1' }],
      configFile: '/etc/ceph/c.conf',
      user: 'f_qemu',
      isEncrypted: false,
    },
    backing: { kind: 'unstated' },
  });
});

const RBD_BASE = { kind: 'rbd', hosts: [], isEncrypted: false } as const;

test('an rbd disk with <auth> and <encryption> inside its source, and a namespace', () => {
  const { source } = disk(`<disk type='network'><source protocol='rbd' name='vms/ns1/n1'>
    <auth username='u'><secret type='ceph' usage='client.u'/></auth>
    <encryption format='luks2' engine='librbd'><secret type='passphrase' uuid='${UUID}'/></encryption>
    </source><target dev='vdb'/></disk>`);
  const want = {
    ...RBD_BASE,
    pool: 'vms',
    namespace: 'ns1',
    image: 'n1',
    user: 'u',
    isEncrypted: true,
  };
  assert.deepEqual(source, want);
});

const BASE_LAYER = {
  format: 'qcow2',
  source: { kind: 'file', path: '/cache/base.qcow2' },
} as const;
const FILE_PREPARE = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
  <source file='/x/ov.qcow2'/><target dev='vda'/></disk>`;
const FILE_STARTED = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
  <source file='/x/ov.qcow2' index='1'/>
  <backingStore type='file' index='3'><format type='qcow2'/><source file='/cache/base.qcow2'/><backingStore/>
  </backingStore><target dev='vda' bus='virtio'/><alias name='virtio-disk0'/></disk>`;

test('a file disk says nothing of its chain at `prepare`, and all of it at `started`', () => {
  assert.deepEqual(disk(FILE_PREPARE).backing, { kind: 'unstated' });
  assert.deepEqual(disk(FILE_STARTED).source, { kind: 'file', path: '/x/ov.qcow2' });
  assert.deepEqual(disk(FILE_STARTED).backing, {
    kind: 'stated',
    layers: [BASE_LAYER],
    isTerminated: true,
  });
});

test('a chain that is not terminated, through rbd', () => {
  const { backing } = disk(`<disk type='file'><source file='/x'/>
    <backingStore type='file'><format type='qcow2'/><source file='/cache/base.qcow2'/>
      <backingStore type='network'><format type='raw'/><source protocol='rbd' name='p/i'/></backingStore>
    </backingStore><target dev='vda'/></disk>`);
  const rbd = { format: 'raw', source: { ...RBD_BASE, pool: 'p', namespace: '', image: 'i' } };
  assert.deepEqual(backing, { kind: 'stated', layers: [BASE_LAYER, rbd], isTerminated: false });
});

test('an empty <backingStore/> states that nothing is below', () => {
  const { backing } = disk(
    `<disk type='file'><source file='/x'/><backingStore/><target dev='vda'/></disk>`,
  );
  assert.deepEqual(backing, { kind: 'stated', layers: [], isTerminated: true });
});

test('a chain of 200 layers', () => {
  const open = `<backingStore type='file'><format type='qcow2'/><source file='/b'/>`;
  const chain = `${open.repeat(200)}<backingStore/>${'</backingStore>'.repeat(200)}`;
  const { backing } = disk(
    `<disk type='file'><source file='/x'/>${chain}<target dev='vda'/></disk>`,
  );
  assert(backing.kind === 'stated' && backing.isTerminated);
  assert.equal(backing.layers.length, 200);
});

test('a mirror, a transient disk, a name with every kind of escape', () => {
  const name = `/v/a&amp;b&lt;&quot;&apos;&gt;é&#x20AC; /x.qcow2`;
  const found = disk(`<disk type='file'><source file='${name}'/><target dev='vda'/><transient/>
    <mirror type='file' job='copy' ready='yes'><format type='raw'/><source file='/m'/></mirror></disk>`);
  assert.deepEqual(found.source, { kind: 'file', path: `/v/a&b<"'>é€ /x.qcow2` });
  assert.deepEqual(found.mirror, { format: 'raw', source: { kind: 'file', path: '/m' } });
  assert.equal(found.isTransient, true);
  assert.equal(found.format, undefined);
});

const SOURCES: readonly { what: string; xml: string; want: object }[] = [
  {
    what: 'a block device',
    xml: `<disk type='block'><source dev='/dev/sda'/></disk>`,
    want: { kind: 'block', path: '/dev/sda' },
  },
  {
    what: 'a volume',
    xml: `<disk type='volume'><source pool='rp' volume='n0'/></disk>`,
    want: { kind: 'volume', pool: 'rp', volume: 'n0' },
  },
  { what: 'an empty drive', xml: `<disk type='file' device='cdrom'/>`, want: { kind: 'none' } },
  {
    what: 'an emptied drive',
    xml: `<disk type='file' device='cdrom'><source/></disk>`,
    want: { kind: 'none' },
  },
  {
    what: 'nbd',
    xml: `<disk type='network'><source protocol='nbd' name='x'/></disk>`,
    want: { kind: 'other', type: 'network', protocol: 'nbd' },
  },
  {
    what: 'rbd without a pool',
    xml: `<disk type='network'><source protocol='rbd' name='x'/></disk>`,
    want: { kind: 'other', type: 'network', protocol: 'rbd' },
  },
  {
    what: 'nvme',
    xml: `<disk type='nvme'><source type='pci'/></disk>`,
    want: { kind: 'other', type: 'nvme' },
  },
];

for (const { what, xml, want } of SOURCES) {
  test(`the source of ${what}`, () => assert.deepEqual(disk(xml).source, want));
}

for (const [name, want] of [
  ['p/i', { pool: 'p', namespace: '', image: 'i' }],
  ['p/n/i', { pool: 'p', namespace: 'n', image: 'i' }],
  ['i', null],
  ['', null],
  ['/i', null],
  ['p//i', null],
  ['p/', null],
  ['a/b/c/d', null],
] as const) {
  test(`the rbd name '${name}'`, () => assert.deepEqual(splitRbdName(name), want));
}

test('identity: a running domain has an id, a stopped one has none', () => {
  const running = parseDomain(domain('', `type='kvm' id='7'`));
  const rest = { wish: { kind: 'none' }, disks: [], stateFiles: [] };
  assert.deepEqual(running, { uuid: UUID, name: 'vm1', id: 7, ...rest });
  assert.equal(parseDomain(domain('', `type='kvm' id='-1'`)).id, undefined);
  assert.equal(parseDomain(domain('').replace(UUID, UUID.toUpperCase())).uuid, UUID);
});

const DAILY = { kind: 'stated', policy: 'daily', tags: [] };

for (const [what, metadata] of [
  ['its own prefix', `<s:siphon xmlns:s='urn:siphon:domain:1' policy='daily'/>`],
  ['no prefix', `<siphon xmlns='urn:siphon:domain:1' policy='daily'/>`],
] as const) {
  test(`siphon's metadata is found by its namespace: ${what}`, () => {
    const other = `<o:siphon xmlns:o='urn:other' policy='no'/><siphon policy='no'/>`;
    const { wish } = parseDomain(domain(`<metadata>${other}${metadata}</metadata>`));
    assert.deepEqual(wish, DAILY);
    const { wish: none } = parseDomain(domain(`<metadata>${other}</metadata>`));
    assert.deepEqual(none, { kind: 'none' });
  });
}

test('a namespace that was declared above counts', () => {
  const xml = domain(
    `<metadata><s:siphon policy='daily'/></metadata>`,
    `xmlns:s='urn:siphon:domain:1'`,
  );
  assert.deepEqual(parseDomain(xml).wish, DAILY);
});

for (const [what, xml] of [
  ['another root', '<network/>'],
  ['no name', `<domain><uuid>${UUID}</uuid></domain>`],
  ['no UUID', '<domain><name>x</name></domain>'],
  ['a UUID that is none', '<domain><name>x</name><uuid>../../x</uuid></domain>'],
] as const) {
  test(`refused: ${what}`, () => {
    assert.throws(() => parseDomain(xml), {
      name: 'OperatingError',
      code: 'usage',
      op: 'read domain XML',
    });
  });
}

test('state that is in no disk: NVRAM in both its forms, and an emulated TPM', () => {
  const files = (inside: string) => parseDomain(domain(inside)).stateFiles;
  const nvram = '/var/lib/libvirt/qemu/nvram/vm1_VARS.fd';
  assert.deepEqual(files(`<os><nvram template='/t.fd'>${nvram}</nvram></os>`), [
    { what: 'nvram', path: nvram },
  ]);
  const typed = `<os><nvram type='file'><source file='${nvram}'/></nvram></os>`;
  assert.deepEqual(files(typed), [{ what: 'nvram', path: nvram }]);
  const tpm = (backend: string) => `<devices><tpm model='tpm-crb'>${backend}</tpm></devices>`;
  assert.deepEqual(files(tpm(`<backend type='emulator' version='2.0'/>`)), [
    { what: 'tpm', path: `/var/lib/libvirt/swtpm/${UUID}` },
  ]);
  const elsewhere = `<backend type='emulator'><source type='dir' path='/tpm/vm1'/></backend>`;
  assert.deepEqual(files(tpm(elsewhere)), [{ what: 'tpm', path: '/tpm/vm1' }]);
  const passed = `<backend type='passthrough'><device path='/dev/tpm0'/></backend>`;
  assert.deepEqual(files(tpm(passed)), []);
  assert.deepEqual(files('<os><nvram/></os>'), []);
});
