// Chunk manifests of sources: omap object `siphon.manifests` in the image's pool and namespace. Key `IMAGEID@SNAPID` names a generation, whose
// parts are values of their own: all are there before it is named, by one operation that takes the old ones away. So whoever is killed leaves the
// old manifest or the new one. A generation that is not named is what somebody leaves who was killed, or has not ended: `IMAGEID@SNAPID!GENERATION` tells
// how many parts it has, and its parts are only written as long as that is there.

import { createHash, randomBytes } from 'node:crypto';
import { omapCompareAndSet, omapGet, omapGetAll, omapRemove, type Pool } from 'ceph-napi';
import { OperatingError } from '../../../wire/errors.ts';
import { MANIFEST_BYTES_MAX } from '../../../wire/verification-plan.ts';
import type { SourceIds } from '../../../wire/vocabulary.ts';
import type { Session } from './connections.ts';
import { absentAs } from './omap.ts';
import { inImage, openPool, placeOf } from './open.ts';
import { assertFsid } from './source.ts';

const OBJECT = 'siphon.manifests';
const PART_BYTES = 256 * 1024;
const PARTS_MAX = MANIFEST_BYTES_MAX / PART_BYTES;
/** In one operation. */
const PARTS_AT_ONCE = 4;
/** A manifest that is replaced while it is read is read again. */
const READS_MAX = 5;

interface Named {
  readonly schema: 1;
  readonly generation: string;
  readonly parts: number;
  readonly sizeBytes: number;
  readonly sha256: string;
}

const keyOf = ({ imageId, snapId }: SourceIds) => `${imageId}@${snapId}`;
const markOf = (key: string, generation: string) => `${key}!${generation}`;
const partsOf = (key: string, generation: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${key}/${generation}/${String(i).padStart(3, '0')}`);

/** Whether there is one; it may be unreadable. */
export async function hasManifest(session: Session, pool: Pool, ids: SourceIds): Promise<boolean> {
  return (await valueOf(session, pool, keyOf(ids))) !== undefined;
}

/** As it was attached. @throws OperatingError corrupt; mismatch for a newer siphon's */
export async function readManifest(
  session: Session,
  ids: SourceIds,
): Promise<{ readonly envelope: string | null }> {
  const key = keyOf(ids);
  assertFsid(session, ids.fsid, key);
  await using pool = await openPool(session, ids.poolId, ids.namespace);
  for (let reads = 0; reads < READS_MAX; reads++) {
    const value = await valueOf(session, pool, key);
    if (value === undefined) return { envelope: null };
    const named = parseNamed(value, key);
    const bytes = await readParts(session, pool, key, named);
    if (bytes !== undefined) return { envelope: bytes.toString('utf8') };
  }
  throw corrupt(key, 'its parts are not what it says');
}

/** null removes it. @throws OperatingError busy: somebody else attaches one to the same source now */
export async function setManifest(
  session: Session,
  { ids, envelope }: { readonly ids: SourceIds; readonly envelope: string | null },
): Promise<null> {
  const key = keyOf(ids);
  assertFsid(session, ids.fsid, key);
  await using pool = await openPool(session, ids.poolId, ids.namespace);
  await inImage(session, pool, `write ${OBJECT}`, `${placeOf(pool)}/${OBJECT} ${key}`, async () => {
    const before = await absentAs(omapGet(pool, OBJECT, [key]), new Map<string, Buffer>());
    const old = before.get(key);
    const left = await generationsOf(pool, key);
    const current = old === undefined ? undefined : generationIn(old);
    for (const [generation, parts] of left) {
      if (generation === current) continue;
      // As long as no other is named: it may be the one that is.
      const remove = keysOf(key, generation, parts);
      const isDone = await omapCompareAndSet(pool, OBJECT, {
        expect: { [key]: old ?? null },
        remove,
      });
      if (!isDone) throw overtaken(key);
    }
    const gone = [...left]
      .filter(([generation]) => generation === current)
      .flatMap((each) => keysOf(key, ...each));
    if (envelope === null) await forget(pool, key, old, gone);
    else await replace(pool, key, Buffer.from(envelope), old, gone);
  });
  return null;
}

async function forget(pool: Pool, key: string, old: Buffer | undefined, gone: readonly string[]) {
  if (old === undefined) return;
  const isDone = await omapCompareAndSet(pool, OBJECT, {
    expect: { [key]: old },
    remove: [key, ...gone],
  });
  if (!isDone) throw overtaken(key);
}

async function replace(
  pool: Pool,
  key: string,
  bytes: Buffer,
  old: Buffer | undefined,
  gone: readonly string[],
): Promise<void> {
  const generation = randomBytes(8).toString('hex');
  const mark = markOf(key, generation);
  const names = partsOf(key, generation, Math.ceil(bytes.length / PART_BYTES));
  const ours = { [mark]: String(names.length) };
  const tell = async (change: Parameters<typeof omapCompareAndSet>[2]) => {
    if (await omapCompareAndSet(pool, OBJECT, change)) return;
    await drop(pool, key, generation, names.length);
    throw overtaken(key);
  };
  await tell({ expect: { [mark]: null }, set: ours });
  for (let first = 0; first < names.length; first += PARTS_AT_ONCE) {
    const some = names.slice(first, first + PARTS_AT_ONCE).map((name, i) => {
      const at = (first + i) * PART_BYTES;
      return [name, bytes.subarray(at, at + PART_BYTES)] as const;
    });
    await tell({ expect: ours, set: new Map(some) });
  }
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const sizeBytes = bytes.length;
  const named: Named = { schema: 1, generation, parts: names.length, sizeBytes, sha256 };
  const expect = { ...ours, [key]: old ?? null };
  await tell({ expect, set: { [key]: JSON.stringify(named) }, remove: gone });
}

async function drop(pool: Pool, key: string, generation: string, parts: number): Promise<void> {
  await absentAs(omapRemove(pool, OBJECT, keysOf(key, generation, parts)), undefined);
}

const keysOf = (key: string, generation: string, parts: number) => [
  markOf(key, generation),
  ...partsOf(key, generation, parts),
];

/** All that are there, by how many parts they have. */
async function generationsOf(pool: Pool, key: string): Promise<Map<string, number>> {
  const prefix = markOf(key, '');
  const marks = await absentAs(omapGetAll(pool, OBJECT, { prefix }), new Map<string, Buffer>());
  return new Map(
    [...marks].map(([mark, count]) => {
      const parts = Math.min(Number(count.toString()) || 0, PARTS_MAX);
      return [mark.slice(prefix.length), parts];
    }),
  );
}

async function valueOf(session: Session, pool: Pool, key: string): Promise<Buffer | undefined> {
  const subject = `${placeOf(pool)}/${OBJECT} ${key}`;
  return await inImage(session, pool, `read ${OBJECT}`, subject, async () => {
    const found = await absentAs(omapGet(pool, OBJECT, [key]), new Map<string, Buffer>());
    return found.get(key);
  });
}

/** undefined: they are not, or not all, the ones that were named. */
async function readParts(
  session: Session,
  pool: Pool,
  key: string,
  { generation, parts, sizeBytes, sha256 }: Named,
): Promise<Buffer | undefined> {
  const names = partsOf(key, generation, parts);
  const subject = `${placeOf(pool)}/${OBJECT} ${key}`;
  const found = await inImage(session, pool, `read ${OBJECT}`, subject, () =>
    absentAs(omapGet(pool, OBJECT, names), new Map<string, Buffer>()),
  );
  const bytes = Buffer.concat(names.map((name) => found.get(name) ?? Buffer.alloc(0)));
  const digest = createHash('sha256').update(bytes).digest('hex');
  return bytes.length === sizeBytes && digest === sha256 ? bytes : undefined;
}

function parseNamed(value: Buffer, key: string): Named {
  const named = jsonOf(value);
  if (typeof named?.schema === 'number' && named.schema !== 1) {
    const why = `its schema is ${named.schema}, not 1`;
    throw new OperatingError({
      code: 'mismatch',
      op: OP,
      subject: subjectOf(key),
      why,
      hint: HINT,
    });
  }
  const { generation, parts, sizeBytes, sha256 } = named ?? {};
  const isOne =
    typeof generation === 'string' &&
    typeof sizeBytes === 'number' &&
    typeof sha256 === 'string' &&
    typeof parts === 'number' &&
    Number.isSafeInteger(parts) &&
    parts > 0 &&
    parts <= PARTS_MAX;
  if (!isOne) throw corrupt(key, 'it is no such record');
  return { schema: 1, generation, parts, sizeBytes, sha256 };
}

/** Of a record that may be anything. */
function generationIn(value: Buffer): string | undefined {
  const generation = jsonOf(value)?.generation;
  return typeof generation === 'string' ? generation : undefined;
}

type Untold = { readonly [K in keyof Named]?: unknown };

function jsonOf(value: Buffer): Untold | undefined {
  try {
    const found: unknown = JSON.parse(value.toString('utf8'));
    return typeof found === 'object' && found !== null ? found : undefined;
  } catch {
    return undefined; // whoever asks says that it is none
  }
}

const OP = 'read manifest';
const HINT =
  'Attach it anew (siphon describe SOURCE --manifest FILE), or remove it (--remove-manifest).';
const subjectOf = (key: string) => `${OBJECT} ${key}`;

function corrupt(key: string, why: string): OperatingError {
  return new OperatingError({ code: 'corrupt', op: OP, subject: subjectOf(key), why, hint: HINT });
}

function overtaken(key: string): OperatingError {
  const why = 'somebody else attaches a manifest to it, or removes one, at this moment';
  const hint = 'Try again.';
  return new OperatingError({
    code: 'busy',
    op: 'write manifest',
    subject: subjectOf(key),
    why,
    hint,
  });
}
