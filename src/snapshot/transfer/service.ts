// Exports and imports of sets: each a job with a worker of its own, whose bytes go to and from the command that asked.

import { splitPlace } from '../../wire/caps.ts';
import { OperatingError } from '../../wire/errors.ts';
import { type Job, SIPHOND_STOPS } from '../../wire/journal.ts';
import { formatImage } from '../../wire/source.ts';
import type { ExportRequest, ImportRequest, TransferAnswer } from '../../wire/transfer-api.ts';
import type { TransferMethods } from '../../wire/transfer-protocol.ts';
import type { Devices, SnapshotSet } from '../../wire/vocabulary.ts';
import type { Port } from '../../wire/worker-protocol.ts';
import { newSetId } from '../set-id.ts';
import {
  decideLeft,
  isSameImport,
  type LeftDecision,
  readWritten,
  type Written,
} from './left-imports.ts';
import { manifestsOf } from './manifests.ts';
import type { TransferParts } from './ports.ts';

export interface Transfers {
  /** Begun when it answers; its client is waited for a minute. @throws OperatingError not-found, busy, mismatch */
  export(request: ExportRequest): Promise<TransferAnswer>;
  import(request: ImportRequest): Promise<TransferAnswer>;
  /** Finishes or undoes imports that nobody goes on with. Call it at start, and again and again. */
  recover(): Promise<void>;
  /** Settles when nothing is in progress. */
  idle(): Promise<void>;
}

/** Each has a worker, with its connections and 32 MiB. */
const AT_ONCE = 4;
const LISTEN = { deadlineMs: 30_000 };
/** 100 TiB at 200 MiB/s; one that stands still ends by its client's silence. */
const TRANSFER_MS_MAX = 7 * 24 * 3_600_000;
/** With the wait for a client, the connection, and a look at the base. */
const OPEN_MS_MAX = 3_600_000;
/** With a dead client's watch, and a rollback. */
const SETTLE = { deadlineMs: 3_600_000 };

type Worker = Port<TransferMethods> & AsyncDisposable;
type ImportPlace = Pick<Written, 'fsid' | 'pool' | 'namespace'>;
type LeftSettle = Extract<LeftDecision, { kind: 'settle' }>;

export function createTransfers(parts: TransferParts): Transfers {
  return new Room(parts);
}

class Room implements Transfers {
  readonly #parts: TransferParts;
  readonly #running = new Map<string, { readonly work: Promise<void>; written?: Written }>();
  /** Of imports that were interrupted, open in the journal. */
  readonly #parked = new Map<string, Job>();
  #recovering: Promise<void> | undefined;
  /** The job that recovery is at. */
  #settling: string | undefined;

  constructor(parts: TransferParts) {
    this.#parts = parts;
  }

  async export({ set: id, since: sinceId, devices = 'all' }: ExportRequest) {
    const { byFsid, newExportId, now } = this.#parts;
    this.#assertRoom();
    const set = onlyDisks(await this.#set(id), devices);
    const since = sinceId === undefined ? undefined : await this.#set(sinceId);
    if (since !== undefined && since.fsid !== set.fsid) throw otherCluster(set, since);
    const cluster = await byFsid(set.fsid);
    const spec = {
      ceph: cluster.settings,
      set,
      ...(since && { since: onlyDisks(since, targetsOf(set)) }),
      manifests: await manifestsOf(this.#parts, cluster, set),
      id: newExportId(),
      nowMs: now(),
    };
    const subject = `${set.domainName} ${set.id}`;
    const job = this.#parts.journal.begin('export', subject, { set: set.id });
    return await this.#start(job, async (worker) => {
      const { signal } = job;
      const onProgress = (progress: Parameters<Job['progress']>[0]) => job.progress(progress);
      const bounds = { deadlineMs: TRANSFER_MS_MAX, signal, onProgress };
      job.done(await worker.call('exportSet', spec, bounds));
    });
  }

  async import({ to, cluster: name, name: images }: ImportRequest) {
    this.#assertRoom();
    const cluster = await this.#parts.byName(name);
    const fsid = await cluster.fsid();
    const [pool, namespace] = splitPlace(to);
    const job = this.#parts.journal.begin('import', to, { fsid });
    const spec = {
      ceph: cluster.settings,
      place: { pool, namespace },
      host: this.#parts.host,
      ...(images !== undefined && { name: images }),
    };
    return await this.#start(job, async (worker) => {
      const { signal } = job;
      await this.#settled({ fsid, pool, namespace });
      const opening = { deadlineMs: OPEN_MS_MAX, signal };
      const plan = await worker
        .call('openImport', spec, opening)
        .catch((error: unknown) => Promise.reject(this.#explained(error)));
      const setId = plan.isResumed ? plan.setId : await this.#freeId(plan.setId);
      const written = { fsid, pool, namespace, exportId: plan.id, setId, isGivenUp: false };
      this.#take(job, written);
      await this.#write(job, worker, written);
    });
  }

  /** One at a time. */
  recover(): Promise<void> {
    this.#recovering ??= this.#recover().finally(() => (this.#recovering = undefined));
    return this.#recovering;
  }

  async #recover(): Promise<void> {
    const { journal, now } = this.#parts;
    for (const record of journal.open()) {
      if (record.kind !== 'import' || this.#running.has(record.id)) continue;
      const job = this.#resume(record.id);
      const decision = decideLeft(record, now());
      if (decision.kind === 'end') this.#end(job, interrupted(record.subject, decision.why));
      else {
        if (record.step !== 'left') job.step('left', decision.written); // its day begins now
        await this.#settle(job, record.subject, decision);
      }
    }
  }

  /** What an earlier life left there is looked at, and finished where it is whole, before another import looks at the place. */
  async #settled(place: ImportPlace): Promise<void> {
    const isLeft = this.#parts.journal.open().some(({ id, kind, step, data }) => {
      if (kind !== 'import' || this.#running.has(id)) return false;
      const of = readWritten(data);
      const isThere = of !== undefined && placeKey(of) === placeKey(place);
      return isThere && (step !== 'left' || this.#settling === id);
    });
    if (isLeft) await this.recover();
  }

  /** What is in the way may be this very import, of which only the answer was lost. */
  #explained(error: unknown): unknown {
    if (!(error instanceof OperatingError) || error.code !== 'refused') return error;
    const there = this.#parts.catalogue.list().find(({ imported, disks }) => {
      return imported !== undefined && disks.some((disk) => formatImage(disk) === error.subject);
    });
    if (there === undefined) return error;
    const { code, op, subject } = error;
    const why = `${error.why}: it is of set ${there.id}, the copy of set ${there.imported?.setId}`;
    const hint = `If that is what was wanted, it is done: siphon snapshot get ${there.id}`;
    return new OperatingError({ code, op, subject, why, hint, cause: error });
  }

  async idle(): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ work }) => work));
  }

  /** The worker listens when this resolves. */
  async #start(job: Job, work: (worker: Worker) => Promise<void>): Promise<TransferAnswer> {
    const worker = this.#parts.startWorker(job.id);
    const listening = worker.call('listen', { folder: this.#parts.folder }, LISTEN);
    void this.#track(job, async () => {
      await using held = worker;
      await listening;
      await work(held);
    });
    return { job: job.id, stream: await listening };
  }

  /** Its operating error ends the job; of an import that has written, it leaves it open. */
  #track(job: Job, work: () => Promise<void>): Promise<void> {
    const run = async () => {
      try {
        await work();
      } catch (error) {
        if (error instanceof OperatingError) job.failed(error.toWire());
        else this.#parts.onDefect(error);
      } finally {
        this.#running.delete(job.id);
      }
    };
    const running = run();
    this.#running.set(job.id, { work: running });
    return running;
  }

  /** From here on something of it may be in Ceph. An earlier try of the same ends: this one goes on with it. */
  #take(job: Job, written: Written): void {
    const { journal } = this.#parts;
    const others = [...this.#running].filter(([id]) => id !== job.id);
    const isTaken = others.some(([, { written: of }]) => of && isSameImport(of, written));
    if (isTaken) throw busy(`export ${written.exportId}`, 'it is being imported there already');
    for (const record of journal.open()) {
      const of = readWritten(record.data);
      if (record.kind !== 'import' || record.id === job.id || !of) continue;
      if (!isSameImport(of, written)) continue;
      this.#end(
        this.#resume(record.id),
        interrupted(record.subject, `job ${job.id} goes on with it`),
      );
    }
    const running = this.#running.get(job.id);
    if (running !== undefined) running.written = written;
    job.step('write', written);
  }

  async #write(job: Job, worker: Worker, written: Written): Promise<void> {
    const { now, catalogue } = this.#parts;
    const { signal } = job;
    const onProgress = (progress: Parameters<Job['progress']>[0]) => job.progress(progress);
    const bounds = { deadlineMs: TRANSFER_MS_MAX, signal, onProgress };
    try {
      const { setId } = written;
      const set = await worker.call('runImport', { setId, nowMs: now() }, bounds);
      catalogue.put(set, 'complete');
      job.done(set);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      if (error.code === 'cancelled' || error.code === 'unavailable')
        this.#leave(job, written, error);
      throw error;
    }
  }

  /** Interrupted: a job of its own keeps what is there until it is gone on with, or is given up. */
  #leave(job: Job, written: Written, { why }: OperatingError): void {
    if (isStopping(job)) return; // the job itself stays open
    const { journal, log } = this.#parts;
    const isGivenUp = job.signal.aborted;
    const { pool, namespace } = written;
    const subject = namespace === '' ? pool : `${pool}/${namespace}`;
    const left = journal.begin('import', subject, { ...written, isGivenUp });
    left.step('left');
    this.#parked.set(left.id, left);
    log.info({ job: left.id, why, isGivenUp }, 'an import was interrupted');
  }

  /** While it cannot be told, or waits to be gone on with, the job stays open. */
  async #settle(job: Job, subject: string, { written, isGivenUp }: LeftSettle): Promise<void> {
    const { fsid, pool, namespace, exportId: id } = written;
    const { byFsid, catalogue, log } = this.#parts;
    const isOver = isGivenUp || (job.signal.aborted && !isStopping(job));
    this.#settling = job.id;
    try {
      const { ceph } = await byFsid(fsid);
      const ref = { id, pool, namespace, isGivenUp: isOver };
      const settled = await ceph.call('settleImport', ref, SETTLE);
      if (settled.was === 'left') return;
      this.#parked.delete(job.id);
      if (settled.was !== 'finished') return job.failed(interrupted(subject, UNDONE).toWire());
      catalogue.put(settled.set, 'complete');
      job.done(settled.set);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      log.warn({ job: job.id, error: error.toWire() }, 'an interrupted import stays as it is');
    } finally {
      this.#settling = undefined;
    }
  }

  #resume(id: string): Job {
    const job = this.#parked.get(id) ?? this.#parts.journal.resume(id);
    this.#parked.set(id, job);
    return job;
  }

  #end(job: Job, error: OperatingError): void {
    this.#parked.delete(job.id);
    job.failed(error.toWire());
  }

  async #set(id: string): Promise<SnapshotSet> {
    const known = this.#parts.catalogue.get(id);
    if (known === undefined) return await this.#parts.findSet(id);
    const { state, ...set } = known;
    if (state === 'complete') return set;
    throw busy(`set ${id}`, `it is ${state === 'taking' ? 'being taken' : 'being removed'}`);
  }

  async #freeId(id: string): Promise<string> {
    const { catalogue, findSet, now } = this.#parts;
    if (catalogue.get(id) !== undefined) return newSetId(now());
    try {
      await findSet(id);
    } catch (error) {
      if (error instanceof OperatingError && error.code === 'not-found') return id;
      throw error;
    }
    return newSetId(now());
  }

  #assertRoom(): void {
    if (this.#running.size < AT_ONCE) return;
    throw busy('transfers', `${AT_ONCE} exports and imports are under way`);
  }
}

function isStopping({ signal }: Job): boolean {
  return signal.reason instanceof OperatingError && signal.reason.why === SIPHOND_STOPS;
}

const placeKey = ({ fsid, pool, namespace }: ImportPlace): string =>
  [fsid, pool, namespace].join('/');

const targetsOf = ({ disks }: SnapshotSet): readonly string[] => disks.map(({ target }) => target);

/** @throws OperatingError not-found */
function onlyDisks(set: SnapshotSet, devices: Devices): SnapshotSet {
  if (devices === 'all') return set;
  const wanted = devices === 'root' ? targetsOf(set).slice(0, 1) : devices;
  const absent = wanted.find((target) => !targetsOf(set).includes(target));
  if (absent === undefined) {
    return { ...set, disks: set.disks.filter(({ target }) => wanted.includes(target)) };
  }
  const why = `it has no disk ${absent}, but ${targetsOf(set).join(', ')}`;
  const subject = `set ${set.id}`;
  throw new OperatingError({ code: 'not-found', op: 'export', subject, why });
}

const UNDONE = 'nobody went on with it, and nothing of it is left';

function interrupted(subject: string, why: string): OperatingError {
  return new OperatingError({ code: 'cancelled', op: 'import', subject, why });
}

function busy(subject: string, why: string): OperatingError {
  return new OperatingError({ code: 'busy', op: 'transfer', subject, why });
}

function otherCluster(set: SnapshotSet, since: SnapshotSet): OperatingError {
  const why = `set ${since.id} is of another cluster`;
  const subject = `set ${set.id}`;
  return new OperatingError({ code: 'mismatch', op: 'export since', subject, why });
}
