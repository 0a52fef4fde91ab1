// Tables, keys and manifests for tests: made the slow, obvious way.

import { execFileSync } from 'node:child_process';
import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { ChunkTable } from '../../src/trust/manifest/chunk-table.ts';
import { keyIdOf, type ManifestKeys } from '../../src/trust/manifest/keys.ts';

export const KIB = 1024;
/** The least that chunks may have. */
export const CHUNK = 64 * KIB;

export const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

/** The table of `content`, chunk after chunk. */
export function tableBytes(content: Buffer, chunkBytes = CHUNK): Buffer {
  const header = Buffer.alloc(12);
  header.writeBigUInt64BE(BigInt(content.length), 0);
  header.writeUInt32BE(chunkBytes, 8);
  const chunks: Buffer[] = [];
  for (let at = 0; at < content.length; at += chunkBytes)
    chunks.push(content.subarray(at, at + chunkBytes));
  const bitmap = Buffer.alloc(Math.ceil(chunks.length / 8));
  const digests: Buffer[] = [];
  for (const [index, chunk] of chunks.entries()) {
    if (chunk.equals(Buffer.alloc(chunk.length))) continue;
    bitmap[index >> 3]! |= 1 << (index & 7);
    digests.push(sha256(chunk));
  }
  return Buffer.concat([header, bitmap, ...digests]);
}

export function tableOf(content: Buffer, chunkBytes = CHUNK): ChunkTable {
  const parsed = ChunkTable.parse(tableBytes(content, chunkBytes));
  if (parsed.kind === 'table') return parsed.table;
  throw new Error(parsed.why);
}

/** Zeros, but for one byte in each of these chunks. */
export function sparse(sizeBytes: number, chunks: readonly number[], chunkBytes = CHUNK): Buffer {
  const content = Buffer.alloc(sizeBytes);
  for (const chunk of chunks) content[chunk * chunkBytes] = (chunk % 255) + 1;
  return content;
}

const GENPKEY = {
  ed25519: ['-algorithm', 'ed25519'],
  p256: ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  p384: ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
} as const;

/** As the openssl command makes it. */
export function opensslKey(kind: keyof typeof GENPKEY): {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly pem: string;
  readonly id: string;
} {
  const pem = execFileSync('openssl', ['genpkey', ...GENPKEY[kind]], { stdio: 'pipe' });
  const privateKey = createPrivateKey(pem);
  const der = execFileSync('openssl', ['pkey', '-pubout', '-outform', 'DER'], { input: pem });
  const publicKey = createPublicKey({ key: der, format: 'der', type: 'spki' });
  return { privateKey, publicKey, pem: pem.toString(), id: sha256(der).toString('hex') };
}

export function keysOf(
  trusted: readonly KeyObject[],
  revoked: readonly string[] = [],
): ManifestKeys {
  return {
    trusted: new Map(trusted.map((key) => [keyIdOf(key), key])),
    revoked: new Set(revoked),
    folder: '/trust/manifest-keys',
  };
}
