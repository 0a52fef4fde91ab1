// What a source's first bytes are taken for, and what is refused.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { inspectHead } from '../../../src/trust/inspect.ts';

const MIB = 2 ** 20;

/** A qcow2 header (version 3, clusters of 64 KiB, 10 MiB of disk) in a file of 1 MiB. */
function header(change: (bytes: Buffer) => void = () => {}): Buffer {
  const bytes = Buffer.alloc(4096);
  bytes.write('QFI\xfb', 0, 'latin1');
  bytes.writeUInt32BE(3, 4);
  bytes.writeUInt32BE(16, 20);
  bytes.writeBigUInt64BE(BigInt(10 * MIB), 24);
  bytes.writeUInt32BE(1, 36); // L1 entries
  bytes.writeBigUInt64BE(0x30000n, 40);
  bytes.writeBigUInt64BE(0x10000n, 48);
  bytes.writeUInt32BE(1, 56); // clusters of the refcount table
  bytes.writeUInt32BE(4, 96);
  bytes.writeUInt32BE(104, 100);
  change(bytes);
  return bytes;
}

function refusal(head: Buffer, declared?: 'raw' | 'qcow2', sizeBytes = MIB): string {
  const found = inspectHead(head, sizeBytes, declared);
  assert(found.kind === 'refused', `it was taken for ${found.kind}`);
  return found.reason;
}

test('raw: anything without a known magic, its size rounded up to sectors', () => {
  assert.deepEqual(inspectHead(Buffer.alloc(512), 1000), { kind: 'raw', virtualSizeBytes: 1024 });
  assert.deepEqual(inspectHead(Buffer.from('Q'), 1), { kind: 'raw', virtualSizeBytes: 512 });
  assert.match(refusal(Buffer.alloc(0), undefined, 0), /empty/);
});

test('qcow2: whole, and as declared', () => {
  for (const declared of [undefined, 'qcow2'] as const) {
    assert.deepEqual(inspectHead(header(), MIB, declared), {
      kind: 'qcow2',
      virtualSizeBytes: 10 * MIB,
    });
  }
  for (const bits of [1n, 2n]) {
    assert.equal(
      inspectHead(
        header((b) => b.writeBigUInt64BE(bits, 72)),
        MIB,
      ).kind,
      'qcow2',
    );
  }
});

test('another format than the declared one', () => {
  assert.match(refusal(header(), 'raw'), /are qcow2, but its disk_format is raw/);
  assert.match(refusal(Buffer.alloc(512), 'qcow2'), /not qcow2, but/);
});

test('qcow2 that leans on others, hides, or needs what is not known', () => {
  const backing = header((b) => {
    b.writeBigUInt64BE(512n, 8);
    b.writeUInt32BE(11, 16);
    b.write('/etc/shadow', 512);
  });
  assert.match(refusal(backing), /backing file, "\/etc\/shadow"/);
  assert.match(refusal(header((b) => b.writeBigUInt64BE(4n, 72))), /data file/);
  assert.match(refusal(header((b) => b.writeBigUInt64BE(16n, 72))), /bits 0x10\b/);
  assert.match(
    refusal(header((b) => b.writeBigUInt64BE(1n << 63n, 72))),
    /bits 0x8000000000000000/,
  );
  assert.match(refusal(header((b) => b.writeUInt32BE(2, 32))), /encrypted \(luks\)/);
  for (const version of [0, 1, 4]) {
    assert.match(
      refusal(header((b) => b.writeUInt32BE(version, 4))),
      new RegExp(`version ${version}`),
    );
  }
});

test('qcow2 whose tables are not in it', () => {
  assert.match(refusal(header((b) => b.writeBigUInt64BE(BigInt(MIB), 40))), /L1 table outside/);
  assert.match(refusal(header((b) => b.writeBigUInt64BE(0n, 40))), /L1 table outside/);
  assert.match(refusal(header((b) => b.writeBigUInt64BE(0x30200n, 40))), /L1 table at 197120/);
  assert.match(refusal(header((b) => b.writeUInt32BE(16, 56))), /refcount table outside/);
  assert.match(refusal(header((b) => b.writeUInt32BE(0, 36))), /L1 table too small/);
  assert.match(
    refusal(header((b) => b.writeBigUInt64BE(BigInt(2 ** 40), 24))),
    /L1 table too small/,
  );
  assert.match(refusal(header((b) => b.writeBigUInt64BE(2n ** 63n, 24))), /beyond reason/);
  assert.match(refusal(header().subarray(0, 60), undefined, 60), /truncated/);
});

const FOREIGN = { formats: ['raw', 'qcow2'], foreignRaw: true } as const;

test('other formats by name, unless they are declared to be a disk and a rule takes that', () => {
  const magics = {
    qed: 'QED\0',
    vmdk: 'KDMV',
    vhdx: 'vhdxfile',
    vpc: 'conectix',
    luks: 'LUKS\xba\xbe',
    parallels: 'WithoutFreeSpace',
    bochs: 'Bochs Virtual HD Image',
    cloop: '#!/bin/sh\n#V2.0 Format',
  };
  for (const [name, magic] of Object.entries(magics)) {
    const head = Buffer.alloc(512);
    head.write(magic, 'latin1');
    assert.match(refusal(head), new RegExp(`bytes are ${name},`));
    assert.match(refusal(head, 'raw'), /no rule of trust takes that \(allow_foreign_raw\)/);
    assert.equal(inspectHead(head, MIB, 'raw', { ...FOREIGN, foreignRaw: false }).kind, 'refused');
    assert.equal(inspectHead(head, MIB, 'raw', FOREIGN).kind, 'raw');
    assert.equal(inspectHead(head, MIB, undefined, FOREIGN).kind, 'refused', 'nobody says raw');
  }
  assert.equal(inspectHead(header(), MIB, 'raw', FOREIGN).kind, 'refused', 'it is taken as qcow2');
  const vdi = Buffer.alloc(512);
  vdi.writeUInt32LE(0xbeda107f, 64);
  assert.match(refusal(vdi), /bytes are vdi,/);
});

test('a rule may take one format only', () => {
  const only = (format: 'raw' | 'qcow2') => ({ formats: [format], foreignRaw: true }) as const;
  const found = [
    inspectHead(header(), MIB, undefined, only('raw')),
    inspectHead(Buffer.alloc(512), MIB, 'raw', only('qcow2')),
  ];
  for (const each of found) {
    assert(each.kind === 'refused');
    assert.match(each.reason, /its bytes are \w+, and its rule of trust takes \w+$/);
  }
  assert.equal(inspectHead(header(), MIB, undefined, only('qcow2')).kind, 'qcow2');
});

const CD001 = (head: Buffer) => void head.write('CD001', 0x8001);

test('an ISO image is raw, also one that boots from disks; with another format in it it is refused', () => {
  const iso = Buffer.alloc(64 * 1024);
  iso.writeUInt16LE(0xaa55, 510);
  assert.equal(inspectHead(iso, MIB).kind, 'raw', 'a boot sector');
  CD001(iso);
  assert.equal(inspectHead(iso, MIB).kind, 'raw');
  iso.write('KDMV', 0);
  assert.match(refusal(iso), /bytes are vmdk,/);
  const both = Buffer.concat([header(), Buffer.alloc(64 * 1024)]);
  CD001(both);
  assert.match(refusal(both), /qcow2, and an ISO image/);
  assert.match(refusal(header((b) => b.writeUInt16LE(0xaa55, 510))), /qcow2, and a boot sector/);
});

test('any bytes give an answer', () => {
  const heads = fc.uint8Array({ maxLength: 300 });
  const mutated = fc
    .array(fc.tuple(fc.integer({ min: 4, max: 127 }), fc.integer({ min: 0, max: 255 })), {
      maxLength: 6,
    })
    .map((changes) => header((b) => changes.forEach(([at, byte]) => (b[at] = byte))));
  fc.assert(
    fc.property(fc.oneof(heads, mutated), fc.nat(2 * MIB), (head, sizeBytes) => {
      const found = inspectHead(head, sizeBytes);
      if (found.kind !== 'refused') assert(found.virtualSizeBytes >= 0);
    }),
    { numRuns: 5000 },
  );
});
