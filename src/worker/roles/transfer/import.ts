// An export's bytes to images: planned, written, read back, and then named; or gone on with where an earlier try ended.

import { createImage, feature, imageId, listImages, type Pool } from 'ceph-napi';
import { ExportReader, type Header } from '../../../export-file/index.ts';
import { OperatingError } from '../../../wire/errors.ts';
import type { ImportPlan, ImportSpec, TransferProgress } from '../../../wire/transfer-protocol.ts';
import type { SnapshotSet } from '../../../wire/vocabulary.ts';
import { Connections, type Hold, type Session } from '../ceph/connections.ts';
import { clientOf } from '../ceph/lock-break.ts';
import { inImage, openPool, placeOf } from '../ceph/open.ts';
import { dropLocks, finishImport, undoImport } from './import-end.ts';
import { bringManifests } from './import-manifests.ts';
import { namesFor, planDisks } from './import-plan.ts';
import {
  type ImportDisk,
  type ImportRecord,
  readRecord,
  unfinishedName,
  writeRecord,
} from './import-record.ts';
import { writeDisks } from './import-write.ts';
import type { StreamClient } from './stream-client.ts';

/** Another host's import that has noted nothing for so long is dead. */
const ALIVE_MS = 300_000;

/** What siphon's images can have; `rbd feature` changes it later. */
const FEATURES =
  feature.layering |
  feature.exclusiveLock |
  feature.objectMap |
  feature.fastDiff |
  feature.deepFlatten;

interface Opened {
  readonly spec: ImportSpec;
  readonly client: StreamClient;
  readonly reader: ExportReader;
  readonly hold: Hold;
  readonly pool: Pool;
  /** Of an earlier try. */
  readonly left: ImportRecord | undefined;
  readonly disks: readonly ImportDisk[];
}

export class Import {
  readonly #opened: Opened;

  private constructor(opened: Opened) {
    this.#opened = opened;
  }

  /** @throws OperatingError corrupt, mismatch: no export, or on another base; refused; busy: another host is at it */
  static async open(spec: ImportSpec, client: StreamClient): Promise<Import> {
    const reader = await ExportReader.open(client);
    const hold = await new Connections(spec.ceph).hold('restore');
    const { session } = hold;
    const pool = await openPool(session, spec.place.pool, spec.place.namespace);
    const left = await readRecord(session, pool, reader.header.id);
    if (left !== undefined) assertDead(left, spec, Date.now());
    if (left !== undefined) assertSameNames(left, reader.header, spec);
    const disks = left?.disks ?? (await planDisks(session, pool, reader.header, spec));
    return new Import({ spec, client, reader, hold, pool, left, disks });
  }

  get plan(): ImportPlan {
    const { reader, left } = this.#opened;
    const { id, state, since, set } = reader.header;
    return {
      id,
      domainName: set.domainName,
      setId: left?.setId ?? state.setId,
      isIncremental: since !== undefined,
      isResumed: left !== undefined,
    };
  }

  /** Where it fails, but for an interruption, nothing of it is left. @throws OperatingError */
  async run(
    { setId, nowMs }: { readonly setId: string; readonly nowMs: number },
    signal: AbortSignal,
    onProgress: (progress: TransferProgress) => void,
  ): Promise<SnapshotSet> {
    const { hold, pool, client, reader } = this.#opened;
    const { session } = hold;
    let record = await this.#intend(setId, nowMs, signal);
    try {
      record = await this.#prepare(record);
      await writeDisks({ session, pool, reader, client, record }, signal, async (mark) => {
        record = { ...record, mark, atMs: Date.now() };
        await writeRecord(session, pool, record);
        const { position } = mark;
        onProgress({ doneBytes: position, totalBytes: client.hello.fileBytes ?? position });
      });
      await bringManifests(session, pool, record.disks, reader.header);
      const whole = this.#wholeSet(record);
      record = { ...record, whole };
      await writeRecord(session, pool, record);
      return await finishImport(session, pool, record, whole);
    } catch (error) {
      hold.report(error);
      if (!staysLeft(error)) await undoImport(session, pool, record);
      throw error;
    } finally {
      await session.cluster.close();
    }
  }

  /** The intent is in Ceph before the first image is. */
  async #intend(setId: string, nowMs: number, signal: AbortSignal): Promise<ImportRecord> {
    const { hold, pool, spec, reader, left, disks } = this.#opened;
    const { session } = hold;
    const { id, since } = reader.header;
    if (left !== undefined) await dropLocks(session, pool, left, signal);
    const mine = { host: spec.host, client: clientOf(session.cluster), atMs: nowMs };
    const fresh = { schema: 1, id, setId, isIncremental: since !== undefined, disks } as const;
    const intent: ImportRecord = { ...(left ?? fresh), ...mine };
    await writeRecord(session, pool, intent);
    return intent;
  }

  /** Its images are there, and the client knows from where on it is to send. */
  async #prepare(intent: ImportRecord): Promise<ImportRecord> {
    const { hold, pool, reader, client } = this.#opened;
    const { session } = hold;
    const record = { ...intent, disks: await makeImages(session, pool, intent, reader.header) };
    await writeRecord(session, pool, record);
    if (record.mark !== undefined) reader.goOnFrom(record.mark);
    const from = Buffer.alloc(8);
    from.writeBigUInt64LE(BigInt(reader.mark.position));
    await client.write([from]);
    return record;
  }

  #wholeSet({ setId }: ImportRecord): SnapshotSet {
    const { reader, spec } = this.#opened;
    const { state, set: was } = reader.header;
    const imported = { fsid: state.fsid, setId: state.setId, disks: state.disks };
    const { fsid } = this.#opened.hold.session;
    return {
      ...was,
      id: setId,
      fsid,
      host: spec.host,
      disks: [],
      imported,
    };
  }
}

/** An interruption, or an answer that did not come: what is there stays, and is gone on with. */
function staysLeft(error: unknown): boolean {
  if (!(error instanceof OperatingError)) return true;
  return ['cancelled', 'unavailable'].includes(error.code);
}

/** @throws OperatingError refused */
function assertSameNames(left: ImportRecord, header: Header, { name }: ImportSpec): void {
  const wanted = namesFor(header, name).map((disk) => disk.name);
  const begun = left.disks.map((disk) => disk.name);
  if (left.isIncremental || begun.join() === wanted.join()) return;
  const why = `it was begun as ${begun.join(', ')}`;
  const hint = 'Go on with the same --name; or end that job first: siphon jobs --cancel JOB.';
  throw new OperatingError({
    code: 'refused',
    op: 'import',
    subject: wanted.join(', '),
    why,
    hint,
  });
}

function assertDead({ host, atMs, id }: ImportRecord, spec: ImportSpec, nowMs: number): void {
  if (host === spec.host || nowMs - atMs > ALIVE_MS) return;
  const why = `${host} imports it`;
  const hint = `Should that host be gone: try again in ${Math.ceil((atMs + ALIVE_MS - nowMs) / 1000)} s.`;
  throw new OperatingError({ code: 'busy', op: 'import', subject: `export ${id}`, why, hint });
}

/** With their ids; those that an earlier try made are found by their names. */
async function makeImages(
  session: Session,
  pool: Pool,
  record: ImportRecord,
  { state, shapes }: Header,
): Promise<ImportDisk[]> {
  if (record.isIncremental) return [...record.disks];
  const disks: ImportDisk[] = [];
  for (const [at, disk] of record.disks.entries()) {
    const name = unfinishedName(record, disk.target);
    const { sizeBytes = 0 } = state.disks[at] ?? {};
    const { order = 22, features = 0 } = shapes[at] ?? {};
    const made = await inImage(
      session,
      pool,
      'create image',
      `${placeOf(pool)}/${name}`,
      async () => {
        if (disk.imageId !== undefined) return disk.imageId;
        const there = (await listImages(pool)).find((image) => image.name === name);
        if (there !== undefined) return there.id;
        await createImage(pool, name, sizeBytes, { order, features: features & FEATURES });
        return await imageId(pool, name);
      },
    );
    disks.push({ ...disk, imageId: made });
  }
  return disks;
}
