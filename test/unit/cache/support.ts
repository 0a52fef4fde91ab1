// A cache over a real catalogue, journal and folder; Ceph and the fill worker are stood in for: what they do wrong is chosen here.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import pino from 'pino';
import {
  type Cache,
  type CacheParts,
  type CacheSettings,
  type Catalogue,
  createCache,
  openCatalogue,
} from '../../../src/cache/index.ts';
import { createJournal, type JobJournal } from '../../../src/sidecar/journal.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { Cluster, Clusters } from '../../../src/wire/ports.ts';
import type { MendSpec, ScrubSpec } from '../../../src/wire/scrub-protocol.ts';
import type { ChunkTableBytes, VerificationPlan } from '../../../src/wire/verification-plan.ts';
import type {
  Digests,
  SourceFacts,
  SourceIds,
  SourceProperties,
  VerifiedBy,
} from '../../../src/wire/vocabulary.ts';
import type { FillSpec } from '../../../src/wire/worker-protocol.ts';

export const FSID = '7b7e4c4e-6c1a-4b7e-9a55-0d7c5e0a9b11';
export const MIB = 1024 * 1024;
/** Where this host has files that siphond does not see. */
export const HIDDEN = '/hidden';
export const NOBODY = '';

/** The world beyond the cache: which sources there are, and what goes wrong with them. */
export interface World {
  readonly root: string;
  readonly catalogue: Catalogue;
  readonly journal: JobJournal;
  readonly parts: CacheParts;
  readonly cache: Cache;
  /** Sizes by image name; what is not in here is not in Ceph. */
  readonly sources: Map<string, number>;
  /** Beside images: see manifestIn. */
  readonly manifests: Map<string, string>;
  readonly properties: Map<string, SourceProperties>;
  /** Images that vanish while they are read. */
  readonly vanishing: Set<string>;
  /** Images whose fill fails, and how. */
  readonly failing: Map<string, OperatingError>;
  readonly fills: string[];
  readonly digests: string[];
  readonly scrubs: string[];
  readonly mends: string[];
  /** Images whose mend finds that a fill is the way. */
  readonly unmendable: Set<string>;
  /** What was said to be damaged. */
  readonly damaged: string[];
  freeBytes: number;
  /** Why what was just filled is not trusted any more. */
  fallen: string | undefined;
  locks: string | null;
  clockMs: number;
  /** What every fill waits for, when it has written its first half. */
  gate: Promise<void>;
}

export const SETTINGS: Omit<CacheSettings, 'path' | 'mountPath'> = {
  limitBytes: 100 * MIB,
  reserveBytes: 0,
  quarantine: { ageMs: 7 * 86_400_000, limitBytes: 10 * MIB },
  rawBecomes: 'raw',
  overlayFolders: [],
  fillConcurrency: 2,
  fillDeadlineMs: 10_000,
  scrubRateBytes: 0,
  scrubEveryMs: 7 * 86_400_000,
  cephDeadlineMs: 1000,
};

export async function makeFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'siphon-cache-'));
}

export async function openWorld(
  root: string,
  settings: Partial<CacheSettings> = {},
): Promise<World & AsyncDisposable> {
  await mkdir(join(root, 'bases'), { recursive: true });
  const catalogue = openCatalogue(join(root, 'siphon.db'));
  const world = {} as { -readonly [K in keyof World]: World[K] };
  const journal = createJournal({
    rows: catalogue.jobs,
    log: pino({ level: 'silent' }),
    now: () => world.clockMs,
  });
  const parts: CacheParts = {
    settings: { ...SETTINGS, path: join(root, 'bases'), mountPath: '/srv/bases', ...settings },
    catalogue,
    journal,
    clusters: clustersOf(world),
    startFillWorker: () => Promise.resolve(workerOf(world)),
    planVerification: async (request) => planOf(request),
    whyFallen: async () => world.fallen,
    pauses: () => catalogue.pauses.all(),
    now: () => world.clockMs++,
    readLocks: () => world.locks,
    log: { error: (fields) => world.damaged.push((fields as { why: string }).why) },
    hiddenFolders: [HIDDEN],
    readFreeBytes: () => world.freeBytes,
  };
  Object.assign(world, {
    root,
    catalogue,
    journal,
    parts,
    sources: new Map(),
    properties: new Map(),
    manifests: new Map(),
    vanishing: new Set(),
    failing: new Map(),
    fills: [],
    digests: [],
    scrubs: [],
    mends: [],
    unmendable: new Set(),
    damaged: [],
    freeBytes: 1024 * MIB,
    fallen: undefined,
    locks: NOBODY,
    clockMs: 1_700_000_000_000,
    gate: Promise.resolve(),
    cache: createCache(parts),
  });
  return Object.assign(world, {
    async [Symbol.asyncDispose]() {
      journal.stop();
      await world.cache.settled();
      catalogue[Symbol.dispose]();
    },
  });
}

/** A world in a folder of its own, with its sources, removed in the end. */
export async function freshWorld(
  sources: Record<string, number>,
  settings: Partial<CacheSettings> = {},
): Promise<World & AsyncDisposable> {
  const root = await makeFolder();
  const world = await openWorld(root, settings);
  for (const [image, size] of Object.entries(sources)) world.sources.set(image, size);
  await world.cache.recover();
  const close = world[Symbol.asyncDispose].bind(world);
  return Object.assign(world, {
    async [Symbol.asyncDispose]() {
      await close();
      await rm(root, { recursive: true });
    },
  });
}

export function sourceOf(image: string) {
  return { pool: 'images', namespace: '', image, snap: 's' };
}

/** The image's id is its name in hex, so that names can be hostile and ids tell them. */
export function idsOf(image: string): SourceIds {
  const imageId = Buffer.from(image).toString('hex');
  return { fsid: FSID, poolId: 3, namespace: '', imageId, snapId: 1 };
}

export function contentOf(image: string, size: number): Buffer {
  return Buffer.alloc(size, `${image};`);
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Stands for one: nobody here reads it. */
export function tableOf(bytes: Buffer): ChunkTableBytes {
  const base64 = Buffer.from(`table of ${bytes.length}`).toString('base64');
  return { sha256: sha256(bytes), chunkBytes: 4 * MIB, base64 };
}

export function sha512(bytes: Buffer): string {
  return createHash('sha512').update(bytes).digest('hex');
}

function nameOf(ids: SourceIds): string {
  return Buffer.from(ids.imageId, 'hex').toString();
}

const vmdk = new OperatingError({ code: 'refused', op: 'plan', subject: 'disk_format', why: 'no' });

function planOf(request: Parameters<CacheParts['planVerification']>[0]): VerificationPlan {
  const { operator = {}, properties = {} } = request;
  if (properties.disk_format === 'vmdk') throw vmdk;
  const digests: VerificationPlan['digests'][number][] = [];
  if (operator.sha256)
    digests.push({ algorithm: 'sha256', hex: operator.sha256, from: 'operator' });
  if (operator.sha512)
    digests.push({ algorithm: 'sha512', hex: operator.sha512, from: 'operator' });
  if (properties.os_hash_value)
    digests.push({ algorithm: 'sha512', hex: properties.os_hash_value, from: 'properties' });
  if (request.manifest === undefined) return { digests };
  return { digests, manifest: manifestIn(request.manifest) };
}

/** An envelope is the text of the table's content here; one that is `bad` nobody trusts. */
function manifestIn({ envelope, subject, sizeBytes }: Beside) {
  if (envelope === 'bad')
    throw new OperatingError({ code: 'refused', op: 'verify manifest', subject });
  const table = { ...tableOf(Buffer.alloc(sizeBytes, envelope)) };
  return { keyId: 'k', dataBytes: sizeBytes / 4, table };
}
type Beside = NonNullable<Parameters<CacheParts['planVerification']>[0]['manifest']>;

function clustersOf(world: World): Clusters {
  const facts = (image: string): SourceFacts => {
    const sizeBytes = world.sources.get(image);
    if (sizeBytes === undefined) throw absent(image);
    const properties = world.properties.get(image);
    const hasManifest = world.manifests.has(image);
    return {
      ids: idsOf(image),
      name: { ...sourceOf(image), fsid: FSID },
      sizeBytes,
      objectSizeBytes: 4 * MIB,
      features: [],
      isProtected: false,
      ...(properties === undefined ? {} : { properties }),
      ...(hasManifest && { hasManifest }),
    };
  };
  const methods: Record<string, (params: never) => unknown> = {
    resolveSource: (name: { image: string }) => facts(name.image),
    describeSource: (ids: SourceIds) => facts(nameOf(ids)),
    readManifest: (ids: SourceIds) => ({ envelope: world.manifests.get(nameOf(ids)) ?? null }),
    checkSource: (ids: SourceIds) =>
      world.vanishing.has(nameOf(ids)) ? { kind: 'gone', what: 'image' } : { kind: 'present' },
  };
  const ceph = {
    call: async (method: string, params: unknown) => methods[method]?.(params as never),
  } as Cluster['ceph'];
  const user = { name: 'siphon' };
  const users = { fill: user, snapshot: user, publish: user };
  const settings = { conf: '/etc/ceph/ceph.conf', users, timeoutMs: 1000 };
  const cluster: Cluster = { name: 'ceph', fsid: async () => FSID, ceph, settings };
  const find = async () => cluster;
  return { ofSource: find, byFsid: find, ofDisk: find, all: [cluster] };
}

function absent(image: string): OperatingError {
  return new OperatingError({ code: 'not-found', op: 'open image', subject: image });
}

type Worker = Awaited<ReturnType<CacheParts['startFillWorker']>>;

function workerOf(world: World): Worker {
  const call = async (
    method: string,
    spec: FillSpec,
    options: { signal?: AbortSignal; onProgress?: (p: object) => void },
  ) => {
    if (method === 'scrub') return scrubOf(world, spec as unknown as ScrubSpec, options.signal);
    const image = nameOf(spec.ids);
    if (method === 'mend') return mendOf(world, spec as unknown as MendSpec, options.signal);
    if (method === 'table')
      return { table: tableOf(contentOf(image, world.sources.get(image) ?? 0)) };
    world[method === 'fill' ? 'fills' : 'digests'].push(image);
    const bytes = contentOf(image, world.sources.get(image) ?? 0);
    if (method === 'fill') await writeFile(spec.partialPath, bytes.subarray(0, bytes.length / 2));
    const [half, whole] = [bytes.length / 2, bytes.length];
    const read = { readBytes: half, allocatedBytes: whole };
    options.onProgress?.({ doneBytes: half, totalBytes: whole, ...read });
    await Promise.race([world.gate, aborted(options.signal)]);
    const failure = world.failing.get(image);
    if (failure !== undefined) throw failure;
    if (method === 'fill') await writeFile(spec.partialPath, bytes);
    const table = tableOf(bytes);
    const { manifest } = spec.plan;
    if (manifest && manifest.table.sha256 !== table.sha256) throw corrupt(image, 'its manifest');
    const digests: Digests = Object.fromEntries(
      spec.plan.digests.map(({ algorithm }) => [
        algorithm,
        algorithm === 'sha256' ? sha256(bytes) : sha512(bytes),
      ]),
    );
    const by: VerifiedBy[] = spec.plan.digests.map(({ algorithm, hex, from }) => {
      const is = algorithm === 'sha256' ? sha256(bytes) : sha512(bytes);
      if (is !== hex) throw corrupt(image, `${algorithm} is ${is}`);
      return { what: 'digest' as const, algorithm, from };
    });
    if (manifest !== undefined) by.push({ what: 'manifest', keyId: manifest.keyId });
    const verification = by.length === 0 ? { kind: 'unverified' } : { kind: 'verified', by };
    return {
      digests,
      table,
      verification,
      sourceFormat: 'raw',
      format: spec.rawBecomes,
      virtualSizeBytes: bytes.length,
      sourceSizeBytes: bytes.length,
      allocatedBytes: bytes.length,
    };
  };
  return { call: call as unknown as Worker['call'], [Symbol.asyncDispose]: async () => undefined };
}

/** Chunks of a byte, so to speak: any damage is told as chunk 3. */
async function scrubOf(world: World, { path }: ScrubSpec, signal?: AbortSignal) {
  const image = Buffer.from(basename(path).split('@')[0] ?? '', 'hex').toString();
  const found = await readFile(path);
  world.scrubs.push(image);
  await Promise.race([world.gate, aborted(signal)]);
  const failure = world.failing.get(`scrub ${image}`);
  if (failure !== undefined) throw failure;
  const readBytes = found.length;
  if (found.equals(contentOf(image, world.sources.get(image) ?? found.length)))
    return { readBytes };
  const told = { chunks: [[3, 1]], chunkCount: 1, chunkBytes: 4 * MIB };
  return { readBytes, damage: { ...told, isHead: false, isTail: false, unreadBytes: 0 } };
}

async function mendOf(world: World, { ids, partialPath }: MendSpec, signal?: AbortSignal) {
  const image = nameOf(ids);
  world.mends.push(image);
  await Promise.race([world.gate, aborted(signal)]);
  const failure = world.failing.get(image);
  if (failure !== undefined) throw failure;
  if (world.unmendable.has(image)) return { kind: 'refill', why: 'it cannot be mended' };
  await writeFile(partialPath, contentOf(image, world.sources.get(image) ?? 0));
  return { kind: 'mended', chunks: 1, isHead: false, readBytes: 4, isReflinked: false };
}

async function aborted(signal: AbortSignal | undefined): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  if (signal?.aborted) reject(signal.reason);
  return promise;
}

export function corrupt(image: string, why: string): OperatingError {
  return new OperatingError({ code: 'corrupt', op: 'fill', subject: image, why });
}

/** A version 3 header as docs/interop/qcow2.rst lays it out. */
export function qcow2(backing?: string, format?: string): Buffer {
  const bytes = Buffer.alloc(65_536);
  bytes.write('QFI\xfb', 'latin1');
  bytes.writeUInt32BE(3, 4);
  bytes.writeUInt32BE(16, 20);
  bytes.writeBigUInt64BE(1n << 20n, 24);
  bytes.writeUInt32BE(4, 96);
  bytes.writeUInt32BE(104, 100);
  let at = 104;
  if (format !== undefined) {
    bytes.writeUInt32BE(0xe2792aca, at);
    bytes.writeUInt32BE(format.length, at + 4);
    bytes.write(format, at + 8);
    at += 16;
  }
  if (backing !== undefined) {
    bytes.writeBigUInt64BE(BigInt(at + 8), 8);
    bytes.writeUInt32BE(Buffer.byteLength(backing), 16);
    bytes.write(backing, at + 8);
  }
  return bytes;
}

export const warm = (world: World, image: string, more: object = {}) =>
  world.cache.warm({ source: sourceOf(image), priority: 'operator', ...more });

/** For `assert.rejects`. */
export const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof OperatingError, String(error));
  assert.equal(error.code, expected);
  return true;
};
