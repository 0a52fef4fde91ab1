// What is beside a source in Ceph: its properties and its manifest, shown, attached and removed.

import { manifestKeys } from '../trust/index.ts';
import type { ManifestKeys } from '../trust/manifest/keys.ts';
import {
  assertSize,
  type Manifest,
  readManifest,
  trustManifest,
} from '../trust/manifest/manifest.ts';
import { OperatingError } from '../wire/errors.ts';
import type {
  ManifestAnswer,
  ManifestFacts,
  ManifestRequest,
  SourceAnswer,
} from '../wire/manifest-api.ts';
import type { Cluster, Clusters } from '../wire/ports.ts';
import { formatSource, parseSource } from '../wire/source.ts';
import type { SourceFacts, SourceIds } from '../wire/vocabulary.ts';
import type { Config } from './config/load.ts';

export interface ManifestParts {
  readonly clusters: Clusters;
  readonly cephDeadlineMs: () => number;
  readonly findKeys: () => Promise<ManifestKeys>;
}

/** Whose manifests are believed on this host. @throws OperatingError as manifestKeys does */
export function trustedKeys({ trust }: Pick<Config, 'trust'>): Promise<ManifestKeys> {
  return manifestKeys(trust.folder);
}

/** @throws OperatingError not-found, unavailable, denied */
export async function showSource(parts: ManifestParts, source: string): Promise<SourceAnswer> {
  const { facts, ceph } = await resolve(parts, source);
  const { ids, sizeBytes, properties, hasManifest } = facts;
  const manifest = hasManifest && { manifest: await lookAt(parts, facts, ceph) };
  return { ids, sizeBytes, ...(properties && { properties }), ...manifest };
}

/** @throws OperatingError corrupt (no manifest), mismatch (of another size; the source is another by now), busy */
export async function setManifest(
  parts: ManifestParts,
  { source, envelope, ids }: ManifestRequest,
): Promise<ManifestFacts | Record<string, never>> {
  const { facts, ceph } = await resolve(parts, source);
  const { sizeBytes, name } = facts;
  const subject = formatSource(name);
  if (ids !== undefined && !areSame(ids, facts.ids)) throw replaced(subject);
  const manifest = envelope === null ? undefined : readManifest(Buffer.from(envelope), subject);
  if (manifest !== undefined) assertSize(manifest, { subject, sizeBytes });
  const deadlineMs = parts.cephDeadlineMs();
  await ceph.call('setManifest', { ids: facts.ids, envelope }, { deadlineMs });
  return manifest === undefined ? {} : factsOf(manifest);
}

/** @throws OperatingError not-found: it has none; corrupt, unavailable, denied */
export async function getManifest(parts: ManifestParts, source: string): Promise<ManifestAnswer> {
  const { facts, ceph } = await resolve(parts, source);
  const { ids, name } = facts;
  const { envelope } = await ceph.call('readManifest', ids, { deadlineMs: parts.cephDeadlineMs() });
  if (envelope !== null) return { envelope };
  const why = 'it has no manifest';
  const subject = formatSource(name);
  throw new OperatingError({ code: 'not-found', op: 'read manifest', subject, why });
}

async function resolve(
  { clusters, cephDeadlineMs }: ManifestParts,
  source: string,
): Promise<{ readonly facts: SourceFacts; readonly ceph: Cluster['ceph'] }> {
  const name = parseSource(source);
  const { ceph } = await clusters.ofSource(name);
  const facts = await ceph.call('resolveSource', name, { deadlineMs: cephDeadlineMs() });
  return { facts, ceph };
}

/** What a fill would make of it: a problem is told, and not thrown. */
async function lookAt(
  { cephDeadlineMs, findKeys }: ManifestParts,
  { ids, name, sizeBytes }: SourceFacts,
  ceph: Cluster['ceph'],
): Promise<NonNullable<SourceAnswer['manifest']>> {
  const subject = formatSource(name);
  let facts: ManifestFacts | undefined;
  try {
    const { envelope } = await ceph.call('readManifest', ids, { deadlineMs: cephDeadlineMs() });
    const bytes = Buffer.from(envelope ?? '');
    facts = factsOf(readManifest(bytes, subject));
    const { keyId } = trustManifest(bytes, await findKeys(), { subject, sizeBytes });
    return { facts, keyId };
  } catch (error) {
    if (!(error instanceof OperatingError) || error.code === 'unavailable') throw error;
    return { ...(facts && { facts }), problem: error.why };
  }
}

function factsOf({ table, claims, keyIds }: Manifest): ManifestFacts {
  const { sizeBytes, chunkBytes, dataChunks, sha256 } = table;
  return { sizeBytes, chunkBytes, dataChunks, sha256, ...claims, keyIds };
}

const areSame = (a: SourceIds, b: SourceIds): boolean =>
  a.fsid === b.fsid &&
  a.poolId === b.poolId &&
  a.namespace === b.namespace &&
  a.imageId === b.imageId &&
  a.snapId === b.snapId;

function replaced(subject: string): OperatingError {
  const why = 'it was replaced meanwhile: another image or snapshot has its name now';
  return new OperatingError({ code: 'mismatch', op: 'attach manifest', subject, why });
}
