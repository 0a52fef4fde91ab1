// Snapshots that are about to be made, all at one instant: their images are open and looked at before, so that what is left to do while
// a guest is held is to make them.

import { randomUUID } from 'node:crypto';
import { createSnapshot, type Image, type Pool, snapshotExists } from 'ceph-napi';
import { allOf } from '../../../wire/all-of.ts';
import { OperatingError } from '../../../wire/errors.ts';
import type { ArmMethods } from '../../../wire/hold-protocol.ts';
import { formatImage } from '../../../wire/source.ts';
import type { DiskAt } from '../../../wire/worker-protocol.ts';
import { errnoOf, translateError } from '../../translate-error.ts';
import type { Connections, Hold, Session } from './connections.ts';
import { assertOwnerAlive, beforeLockBreak } from './lock-break.ts';
import { inImage, openImage, openPool, refOf } from './open.ts';
import { assertMarked, describeCreated, EEXIST } from './snapshots.ts';
import { mayAppear } from './undo-late.ts';

const KEPT_MS_MAX = 120_000;
/** Each takes a thread while it is made, and the worker has more (worker/supervisor/limits.ts). */
const DISKS_MAX = 96;

/** As many as can be under way. */
const ASKED_MAX = DISKS_MAX;

type At = DiskAt & { readonly snap: string };
type Created = ArmMethods['createPrepared']['result'][number];

interface Disk {
  readonly at: At;
  readonly subject: string;
  readonly pool: Pool;
  readonly image: Image;
  readonly imageId: string;
}

interface Asked {
  readonly atMs: number;
  isMade: boolean;
}

interface Prepared {
  readonly disks: readonly Disk[];
  readonly hold: Hold;
  readonly open: AsyncDisposableStack;
  readonly timer: NodeJS.Timeout;
  asked?: Asked;
}

export class PreparedSnapshots {
  readonly #connections: Connections;
  readonly #prepared = new Map<string, Prepared>();
  /** The last ones. */
  #asked: readonly Asked[] = [];
  /** Those that are being opened, too. */
  #disks = 0;

  constructor(connections: Connections) {
    this.#connections = connections;
  }

  /** The pool of the first disk that is prepared. */
  firstPool(): string | undefined {
    return this.#prepared.values().next().value?.disks[0]?.at.pool;
  }

  outcomeOf(fromMs: number, untilMs: number): 'none' | 'made' | 'late' {
    const asked = this.#asked.filter(({ atMs }) => atMs > fromMs && atMs < untilMs);
    if (asked.length === 0) return 'none';
    return asked.every(({ isMade }) => isMade) ? 'made' : 'late';
  }

  async prepare(
    { disks }: ArmMethods['prepareSnapshots']['params'],
    signal: AbortSignal,
  ): Promise<ArmMethods['prepareSnapshots']['result']> {
    for (const at of disks) assertMarked(at.snap, OP.prepare, subjectOf(at));
    await using stack = new AsyncDisposableStack();
    this.#take(disks, stack);
    const hold = stack.use(await this.#connections.hold('snapshot'));
    try {
      const opened = await allOf(disks.map((at) => openDisk(hold.session, at, stack)));
      signal.throwIfAborted();
      const prepared = randomUUID();
      const timer = setTimeout(() => void this.drop({ prepared }).catch(reportClose), KEPT_MS_MAX);
      const open = stack.move();
      this.#prepared.set(prepared, {
        disks: opened,
        hold,
        open,
        timer: timer.unref(),
      });
      return { prepared };
    } catch (error) {
      hold.report(error);
      throw error;
    }
  }

  async create({
    prepared,
  }: ArmMethods['createPrepared']['params']): Promise<ArmMethods['createPrepared']['result']> {
    const found = this.#find(prepared);
    if (found.asked) throw failed('usage', prepared, 'they were asked for already');
    const asked = { atMs: performance.now(), isMade: false };
    found.asked = asked;
    this.#asked = [...this.#asked, asked].slice(-ASKED_MAX);
    const created = await Promise.all(found.disks.map((disk) => createOne(found.hold, disk)));
    asked.isMade = true;
    return created;
  }

  async describe({
    prepared,
  }: ArmMethods['describePrepared']['params']): Promise<ArmMethods['describePrepared']['result']> {
    const { disks, hold } = this.#find(prepared);
    try {
      return await allOf(
        disks.map(({ pool, imageId, at }) => describeCreated(hold.session, pool, imageId, at.snap)),
      );
    } finally {
      await this.drop({ prepared });
    }
  }

  /** Calls that still run end first. */
  async drop({ prepared }: ArmMethods['dropPrepared']['params']): Promise<null> {
    const found = this.#prepared.get(prepared);
    this.#prepared.delete(prepared);
    clearTimeout(found?.timer);
    await found?.open.disposeAsync();
    return null;
  }

  /** A watch outlives its client by half a minute, and whoever changes the image waits for that. */
  async dropAll(): Promise<void> {
    await allOf([...this.#prepared.keys()].map((prepared) => this.drop({ prepared })));
  }

  #take(disks: readonly At[], stack: AsyncDisposableStack): void {
    if (this.#disks + disks.length > DISKS_MAX) {
      const why = `${this.#disks} are prepared already, of at most ${DISKS_MAX}`;
      throw failed('busy', `${disks.length} disks`, why);
    }
    this.#disks += disks.length;
    stack.defer(() => void (this.#disks -= disks.length));
  }

  #find(prepared: string): Prepared {
    const found = this.#prepared.get(prepared);
    if (found) return found;
    const why = 'they are not prepared any more: the worker that did it is gone, or it is long ago';
    throw failed('unavailable', prepared, why);
  }
}

const OP = { prepare: 'prepare snapshots', create: 'create snapshot' } as const;

const subjectOf = (at: At) => `${formatImage(at)}@${at.snap}`;

async function openDisk(session: Session, at: At, stack: AsyncDisposableStack): Promise<Disk> {
  const subject = subjectOf(at);
  const pool = stack.use(await openPool(session, at.pool, at.namespace));
  const opened = await openImage(session, pool, refOf(at), { writable: true });
  const image = stack.use(opened);
  return await inImage(session, image, OP.prepare, subject, async () => {
    await assertOwnerAlive(image, subject);
    if (await snapshotExists(image, at.snap)) {
      throw failed('refused', subject, 'there is one of that name already');
    }
    return { at, subject, pool, image, imageId: await image.id() };
  });
}

async function createOne({ session, report }: Hold, disk: Disk): Promise<Created> {
  const { image, subject, at } = disk;
  const fromMs = performance.now();
  try {
    await inImage(session, image, OP.create, subject, () =>
      beforeLockBreak(subject, () => createSnapshot(image, at.snap)),
    );
    return { kind: 'made', tookMs: performance.now() - fromMs };
  } catch (error) {
    report(error);
    const failure = translateError(error, { op: OP.create, subject });
    const isOthers = errnoOf(error) === EEXIST;
    return { kind: 'failed', error: (isOthers ? failure : mayAppear(failure)).toWire() };
  }
}

function failed(code: OperatingError['code'], subject: string, why: string): OperatingError {
  return new OperatingError({ code, op: OP.prepare, subject, why });
}

function reportClose(error: unknown): void {
  console.error(`closing prepared images: ${String(error)}`);
}
