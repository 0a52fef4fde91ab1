import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import * as fc from 'fast-check';
import {
  INCOMPATIBLE,
  KNOWN_INCOMPATIBLE,
  leansOnOthers,
  parseQcow2Header,
  type Qcow2Header,
} from '../../../src/domain/qcow2-header.ts';
import { FIXTURES } from './qcow2-fixtures.ts';

const MIB = 1024 * 1024;

function parsed(bytes: Uint8Array): Qcow2Header {
  const result = parseQcow2Header(bytes);
  assert(result.kind === 'qcow2', inspect(result));
  return result;
}

test('a plain version 3 file of qemu-img', () => {
  assert.deepEqual(parsed(FIXTURES.plain), {
    kind: 'qcow2',
    version: 3,
    virtualSizeBytes: 1024 * MIB,
    clusterBits: 16,
    encryption: 'none',
    l1: { entries: 2, offset: 0x30000 },
    refcountTable: { offset: 0x10000, clusters: 1 },
    snapshots: { count: 1, offset: 0x50000 },
    features: { incompatible: 0n, compatible: 0n, autoclear: 0n },
    refcountOrder: 4,
    headerLengthBytes: 112,
    compressionType: 0,
    otherExtensions: [0x6803f857],
  });
  assert.equal(leansOnOthers(parsed(FIXTURES.plain)), false);
});

const BACKINGS = [
  { file: 'rel', backing: { name: 'base.qcow2', format: 'qcow2' } },
  { file: 'abs', backing: { name: '/var/lib/siphon/bases/x.qcow2', format: 'qcow2' } },
  {
    file: 'json',
    backing: { name: 'json:{"driver":"rbd","pool":"p","image":"i","snapshot":"s"}', format: 'raw' },
  },
  { file: 'v2', backing: { name: 'rbd:p/i@s:conf=/etc/ceph/c.conf', format: 'raw' } },
] as const;

for (const { file, backing } of BACKINGS) {
  test(`the backing name of qemu-img's ${file} file`, () => {
    const header = parsed(FIXTURES[file]);
    assert.deepEqual(header.backing, backing);
    assert.equal(header.version, file === 'v2' ? 2 : 3);
    assert.equal(leansOnOthers(header), true);
  });
}

test('an external data file is a thing to lean on', () => {
  const header = parsed(FIXTURES.data);
  assert.deepEqual(header.dataFile, { name: 'd.raw' });
  assert.equal(header.features.autoclear, 2n);
  assert.equal(leansOnOthers(header), true);
});

test('extended L2 entries, zstd and large clusters', () => {
  const header = parsed(FIXTURES.ext);
  const bits = INCOMPATIBLE.extendedL2 | INCOMPATIBLE.compressionType;
  assert.equal(header.features.incompatible, bits);
  assert.equal(header.compressionType, 1);
  assert.equal(header.clusterBits, 17);
});

test('LUKS', () => {
  const header = parsed(FIXTURES.luks);
  assert.equal(header.encryption, 'luks');
  assert.deepEqual(header.otherExtensions, [0x0537be77, 0x6803f857]);
});

/** A header by hand: version 3, 64 KiB clusters, 1 MiB; then what `change` does to it. */
function made(change: (bytes: Buffer) => void, lengthBytes = 4096): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  bytes.write('QFI\u00fb', 'latin1');
  bytes.writeUInt32BE(3, 4);
  bytes.writeUInt32BE(16, 20);
  bytes.writeBigUInt64BE(BigInt(MIB), 24);
  bytes.writeUInt32BE(4, 96);
  bytes.writeUInt32BE(104, 100);
  change(bytes);
  return bytes;
}

function withBacking(bytes: Buffer, name: Buffer | string, offset = 1024): void {
  bytes.writeBigUInt64BE(BigInt(offset), 8);
  bytes.writeUInt32BE(Buffer.byteLength(name), 16);
  bytes.set(Buffer.from(name), offset);
}

function withExtension(bytes: Buffer, type: number, lengthBytes: number): void {
  bytes.writeUInt32BE(type, 104);
  bytes.writeUInt32BE(lengthBytes, 108);
}

test('the smallest header by hand', () => {
  const header = parsed(made(() => {}));
  assert.equal(header.virtualSizeBytes, MIB);
  assert.deepEqual(header.otherExtensions, []);
});

test('an unknown incompatible bit is kept for the caller to refuse', () => {
  const header = parsed(made((bytes) => bytes.writeBigUInt64BE(1n << 40n, 72)));
  assert.notEqual(header.features.incompatible & ~KNOWN_INCOMPATIBLE, 0n);
});

test('a data file without a name is still a data file', () => {
  const header = parsed(made((bytes) => bytes.writeBigUInt64BE(INCOMPATIBLE.dataFile, 72)));
  assert.deepEqual(header.dataFile, {});
});

test('a backing name of 1023 bytes is the longest', () => {
  const name = `/${'é'.repeat(511)}`;
  assert.equal(parsed(made((bytes) => withBacking(bytes, name))).backing?.name, name);
});

const MALFORMED: readonly { what: string; change: (bytes: Buffer) => void; reason: RegExp }[] = [
  { what: 'version 1', change: (b) => b.writeUInt32BE(1, 4), reason: /version 1/ },
  { what: 'version 4', change: (b) => b.writeUInt32BE(4, 4), reason: /version 4/ },
  { what: 'tiny clusters', change: (b) => b.writeUInt32BE(8, 20), reason: /cluster bits 8/ },
  { what: 'huge clusters', change: (b) => b.writeUInt32BE(22, 20), reason: /cluster bits 22/ },
  {
    what: 'unknown encryption',
    change: (b) => b.writeUInt32BE(3, 32),
    reason: /encryption method 3/,
  },
  {
    what: 'a size beyond reason',
    change: (b) => b.writeBigUInt64BE(1n << 63n, 24),
    reason: /virtual size/,
  },
  {
    what: 'a short header length',
    change: (b) => b.writeUInt32BE(72, 100),
    reason: /header length 72/,
  },
  {
    what: 'a long header length',
    change: (b) => b.writeUInt32BE(1 << 17, 100),
    reason: /header length/,
  },
  { what: 'wide refcounts', change: (b) => b.writeUInt32BE(7, 96), reason: /refcount order 7/ },
  {
    what: 'a backing name too long',
    change: (b) => withBacking(b, 'x'.repeat(1024)),
    reason: /1024 bytes/,
  },
  {
    what: 'a backing name beyond the first cluster',
    change: (b) => {
      withBacking(b, 'base');
      b.writeBigUInt64BE(65_534n, 8);
    },
    reason: /first cluster/,
  },
  {
    what: 'a backing name far beyond the first cluster',
    change: (b) => b.writeBigUInt64BE(1n << 40n, 8),
    reason: /first cluster/,
  },
  { what: 'a NUL in the backing name', change: (b) => withBacking(b, 'a\0b'), reason: /NUL/ },
  {
    what: 'a backing name that is not UTF-8',
    change: (b) => withBacking(b, Buffer.of(0x2f, 0xff)),
    reason: /UTF-8/,
  },
  {
    what: 'an extension too long',
    change: (b) => withExtension(b, 0x1234, 65_536),
    reason: /0x1234/,
  },
  {
    what: 'a backing format too long',
    change: (b) => withExtension(b, 0xe2792aca, 16),
    reason: /format of 16/,
  },
  {
    what: 'an extension that runs into the backing name',
    change: (b) => {
      withBacking(b, 'base');
      withExtension(b, 0x1234, 1000);
    },
    reason: /too long/,
  },
];

for (const { what, change, reason } of MALFORMED) {
  test(`malformed: ${what}`, () => {
    const result = parseQcow2Header(made(change));
    assert(result.kind === 'malformed', JSON.stringify(result.kind));
    assert.match(result.reason, reason);
  });
}

test('what has not the magic is not qcow2, whatever its length', () => {
  for (const bytes of [Buffer.alloc(4096), Buffer.from('Q F'), Buffer.from('RBD')]) {
    assert.deepEqual(parseQcow2Header(bytes), { kind: 'not-qcow2' });
  }
});

test('every cut of every file asks for more, and gets there in a few reads', () => {
  for (const whole of Object.values(FIXTURES)) {
    const file = Buffer.concat([whole, Buffer.alloc(2 * MIB)]);
    for (let cut = 0; cut < 1024; cut += 7) {
      let result = parseQcow2Header(file.subarray(0, cut));
      for (let reads = 0; result.kind === 'truncated'; reads++) {
        assert(reads < 4, 'too many reads');
        result = parseQcow2Header(file.subarray(0, result.needBytes));
      }
      assert.deepEqual(result, parseQcow2Header(file));
    }
  }
});

test('many small extensions do not make many reads', () => {
  const bytes = made((b) => b.writeUInt32BE(21, 20), 2 * MIB);
  for (let at = 104; at < bytes.length; at += 8) bytes.writeUInt32BE(0x1234, at);
  let result = parseQcow2Header(bytes.subarray(0, 4096));
  let reads = 0;
  for (; result.kind === 'truncated'; reads++) {
    result = parseQcow2Header(bytes.subarray(0, result.needBytes));
  }
  assert(result.kind === 'qcow2');
  assert(reads < 10);
});

test('no bytes make it throw, or ask for more than a cluster and a name', () => {
  const magic = fc.constant(Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0));
  const body = fc.uint8Array({ maxLength: 600 });
  fc.assert(
    fc.property(magic, fc.constantFrom(2, 3), body, (head, version, rest) => {
      const bytes = Uint8Array.of(...head, version, ...rest);
      const result = parseQcow2Header(bytes);
      if (result.kind !== 'truncated') return;
      assert(result.needBytes > bytes.length && result.needBytes <= 2 * MIB);
    }),
  );
});
