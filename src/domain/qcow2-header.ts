// The header of a qcow2 file, from its first bytes: what it is, what it leans on, what its reader must know. Never a probe of
// the format: the caller knows that qcow2 is meant, or asks whether it is. After QEMU's docs/interop/qcow2.rst and block/qcow2.c.

export type Qcow2Result =
  | Qcow2Header
  /** The magic is not there. */
  | { readonly kind: 'not-qcow2' }
  /** More is to be read: at least this many bytes from the start. A file that has not so many is malformed. */
  | { readonly kind: 'truncated'; readonly needBytes: number }
  | { readonly kind: 'malformed'; readonly reason: string };

export interface Qcow2Header {
  readonly kind: 'qcow2';
  readonly version: 2 | 3;
  /** Of the disk that a guest sees. */
  readonly virtualSizeBytes: number;
  readonly clusterBits: number;
  readonly backing?: { readonly name: string; readonly format?: string };
  /** The guest's bytes are in another file (incompatible bit 2), named here or by whoever opens it. */
  readonly dataFile?: { readonly name?: string };
  readonly encryption: 'none' | 'aes' | 'luks';
  readonly features: {
    readonly incompatible: bigint;
    readonly compatible: bigint;
    readonly autoclear: bigint;
  };
  readonly l1: { readonly offset: number; readonly entries: number };
  readonly refcountTable: { readonly offset: number; readonly clusters: number };
  /** Width of a refcount is 1 << this, in bits. */
  readonly refcountOrder: number;
  readonly snapshots: { readonly count: number; readonly offset: number };
  /** 0 deflate, 1 zstd. */
  readonly compressionType: number;
  readonly headerLengthBytes: number;
  /** Types of header extensions that are not read here. */
  readonly otherExtensions: readonly number[];
}

export const INCOMPATIBLE = {
  dirty: 1n,
  corrupt: 2n,
  dataFile: 4n,
  compressionType: 8n,
  extendedL2: 16n,
} as const;
/** The incompatible bits that QEMU 11 knows: any other means that the file cannot be read right. */
export const KNOWN_INCOMPATIBLE = 31n;

/** Enough for the header, its extensions and a backing name as qemu-img writes them: read this much first. */
export const QCOW2_HEAD_BYTES = 4096;

const MAGIC = Uint8Array.of(0x51, 0x46, 0x49, 0xfb); // QFI\xfb
const V2_BYTES = 72;
const V3_BYTES = 104;
const GENEROUS_BYTES = 65_536;
const NAME_BYTES_MAX = 1023;
const FORMAT_BYTES_MAX = 15;
const ENCRYPTION = ['none', 'aes', 'luks'] as const;
const EXTENSION = { end: 0, backingFormat: 0xe2792aca, dataFile: 0x44415441 } as const;

/** Ends the parse from within; never leaves this file. */
class Stop extends Error {
  readonly result: Qcow2Result;
  constructor(result: Qcow2Result) {
    super(result.kind);
    this.result = result;
  }
}

/** Parses the first bytes of a file, or as many as there are. */
export function parseQcow2Header(bytes: Uint8Array): Qcow2Result {
  if (!MAGIC.every((byte, i) => i >= bytes.length || bytes[i] === byte))
    return { kind: 'not-qcow2' };
  try {
    return parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (error) {
    if (error instanceof Stop) return error.result;
    throw error;
  }
}

/** Whether a header says that some of the guest's bytes are elsewhere. */
export function leansOnOthers(header: Qcow2Header): boolean {
  return header.backing !== undefined || header.dataFile !== undefined;
}

function parse(bytes: Buffer): Qcow2Header {
  need(bytes, 8);
  const version = bytes.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw malformed(`version ${version} is not known`);
  need(bytes, version === 2 ? V2_BYTES : V3_BYTES);
  const fixed = parseFixed(bytes, version);
  const clusterBytes = 2 ** fixed.clusterBits;
  const name = backingName(bytes, clusterBytes);
  const nameOffset = safe(bytes, 8, 'backing name offset');
  // QEMU reads extensions up to the backing name, where there is one.
  const extensions = parseExtensions(
    bytes,
    fixed.headerLengthBytes,
    nameOffset || clusterBytes,
    clusterBytes,
  );
  const { format, dataFileName } = extensions;
  const hasDataFile = (fixed.features.incompatible & INCOMPATIBLE.dataFile) !== 0n;
  return {
    kind: 'qcow2',
    ...fixed,
    ...(name === '' ? {} : { backing: { name, ...(format === undefined ? {} : { format }) } }),
    ...(hasDataFile ? { dataFile: dataFileName === undefined ? {} : { name: dataFileName } } : {}),
    otherExtensions: extensions.others,
  };
}

type Fixed = Omit<Qcow2Header, 'kind' | 'backing' | 'dataFile' | 'otherExtensions'>;

function parseFixed(bytes: Buffer, version: 2 | 3): Fixed {
  const clusterBits = bytes.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21)
    throw malformed(`cluster bits ${clusterBits} are not within 9 to 21`);
  const encryption = ENCRYPTION[bytes.readUInt32BE(32)];
  if (encryption === undefined)
    throw malformed(`encryption method ${bytes.readUInt32BE(32)} is not known`);
  return {
    version,
    virtualSizeBytes: safe(bytes, 24, 'virtual size'),
    clusterBits,
    encryption,
    l1: { entries: bytes.readUInt32BE(36), offset: safe(bytes, 40, 'L1 table offset') },
    refcountTable: {
      offset: safe(bytes, 48, 'refcount table offset'),
      clusters: bytes.readUInt32BE(56),
    },
    snapshots: { count: bytes.readUInt32BE(60), offset: safe(bytes, 64, 'snapshot table offset') },
    ...(version === 2 ? V2_DEFAULTS : parseVersion3(bytes, 2 ** clusterBits)),
  };
}

type Version3 = Pick<Fixed, 'features' | 'refcountOrder' | 'headerLengthBytes' | 'compressionType'>;

const V2_DEFAULTS: Version3 = {
  features: { incompatible: 0n, compatible: 0n, autoclear: 0n },
  refcountOrder: 4,
  headerLengthBytes: V2_BYTES,
  compressionType: 0,
};

function parseVersion3(bytes: Buffer, clusterBytes: number): Version3 {
  const headerLengthBytes = bytes.readUInt32BE(100);
  if (headerLengthBytes < V3_BYTES || headerLengthBytes > clusterBytes) {
    throw malformed(`header length ${headerLengthBytes} is not within ${V3_BYTES} to a cluster`);
  }
  const refcountOrder = bytes.readUInt32BE(96);
  if (refcountOrder > 6) throw malformed(`refcount order ${refcountOrder} is over 6`);
  if (headerLengthBytes > V3_BYTES) need(bytes, headerLengthBytes, clusterBytes);
  return {
    features: {
      incompatible: bytes.readBigUInt64BE(72),
      compatible: bytes.readBigUInt64BE(80),
      autoclear: bytes.readBigUInt64BE(88),
    },
    refcountOrder,
    headerLengthBytes,
    compressionType: headerLengthBytes > V3_BYTES ? bytes.readUInt8(104) : 0,
  };
}

/** '' where there is none. */
function backingName(bytes: Buffer, clusterBytes: number): string {
  const offset = safe(bytes, 8, 'backing name offset');
  const length = bytes.readUInt32BE(16);
  if (offset === 0 || length === 0) return '';
  if (length > NAME_BYTES_MAX)
    throw malformed(`backing name of ${length} bytes, over ${NAME_BYTES_MAX}`);
  if (offset + length > clusterBytes)
    throw malformed('backing name is not within the first cluster');
  need(bytes, offset + length, clusterBytes);
  return textAt(bytes, offset, length, 'backing name');
}

interface Extensions {
  format?: string;
  dataFileName?: string;
  others: number[];
}

function parseExtensions(
  bytes: Buffer,
  start: number,
  end: number,
  clusterBytes: number,
): Extensions {
  const found: Extensions = { others: [] };
  if (end > clusterBytes) throw malformed('backing name is not within the first cluster');
  let at = start;
  while (at < end) {
    need(bytes, at + 8, clusterBytes);
    const type = bytes.readUInt32BE(at);
    const length = bytes.readUInt32BE(at + 4);
    at += 8;
    if (type === EXTENSION.end) break;
    if (length > end - at)
      throw malformed(`header extension 0x${type.toString(16)} of ${length} bytes is too long`);
    need(bytes, at + length, clusterBytes);
    readExtension(bytes, { type, at, length }, found);
    at += (length + 7) & ~7;
  }
  return found;
}

function readExtension(
  bytes: Buffer,
  extension: { type: number; at: number; length: number },
  found: Extensions,
): void {
  const { type, at, length } = extension;
  if (type === EXTENSION.backingFormat) {
    if (length > FORMAT_BYTES_MAX) throw malformed(`backing format of ${length} bytes`);
    found.format = textAt(bytes, at, length, 'backing format');
  } else if (type === EXTENSION.dataFile) {
    found.dataFileName = textAt(bytes, at, length, 'data file name');
  } else {
    found.others.push(type);
  }
}

/** QEMU ends such a text at a NUL, others do not: two readers must not see two names, so it is refused. */
function textAt(bytes: Buffer, at: number, length: number, what: string): string {
  const slice = bytes.subarray(at, at + length);
  const text = slice.toString('utf8');
  if (text.includes('\0')) throw malformed(`${what} holds a NUL`);
  if (!Buffer.from(text).equals(slice)) throw malformed(`${what} is not UTF-8`);
  return text;
}

/** What is missing is asked for generously, so that many small extensions do not make many reads. */
function need(bytes: Buffer, count: number, clusterBytes = count): void {
  if (count <= bytes.length) return;
  const generous = Math.max(count, GENEROUS_BYTES, 2 * bytes.length);
  throw new Stop({
    kind: 'truncated',
    needBytes: Math.max(count, Math.min(clusterBytes, generous)),
  });
}

function safe(bytes: Buffer, at: number, what: string): number {
  const value = bytes.readBigUInt64BE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed(`${what} ${value} is beyond reason`);
  return Number(value);
}

function malformed(reason: string): Stop {
  return new Stop({ kind: 'malformed', reason });
}
