// The pump: segments in order, many reads in flight, each chunk written as soon as it is there and hashed in its turn. Effects come
// in by ports; nothing here knows Ceph, files or threads.

import { Pace } from './pace.ts';
import type { Segment } from './segments.ts';
import { SlotQueue } from './slot-queue.ts';

export interface PipelinePorts<S extends Segment = Segment> {
  /** How many chunks there is room for. */
  readonly slots: number;
  /** Fills the slot with the segment's bytes, all of them. */
  read(slot: number, segment: S): Promise<void>;
  /** Reads of a segment may end in any order, and so do writes. */
  write(slot: number, segment: S): Promise<void>;
  /** As soon as the segment is read, in any order; done with the slot when it resolves. */
  check?(slot: number, segment: S): Promise<void>;
  /** Told in the order of offsets; done with the slot when it resolves. */
  hash(slot: number, segment: S): Promise<void>;
  /** Told in the order of offsets, among `hash`. */
  hashHole(length: number, offset: number): void;
  /** The segment is read, written and hashed. */
  done(segment: S): void;
  /** How long a read may take before it is given up, in ms. */
  readonly readTimeoutMs: number;
}

/**
 * Runs until every segment is through. Slots are given in the order of offsets, so the chunk whose turn it is to be hashed always
 * has one: it cannot lock up. At the first fault, or when `signal` aborts, nothing new begins; it rejects when all that
 * had begun has ended, so that the slots' memory is at rest.
 */
export async function runPipeline<S extends Segment>(
  segments: Iterable<S> | AsyncIterable<S>,
  ports: PipelinePorts<S>,
  signal?: AbortSignal,
): Promise<void> {
  const pump = new Pump(ports);
  const onAbort = () => pump.stop(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted) onAbort();
  try {
    for await (const segment of segments) await pump.take(segment);
    await pump.drain();
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await pump.rest();
  }
}

class Pump<S extends Segment> {
  readonly #ports: PipelinePorts<S>;
  readonly #pace: Pace;
  readonly #slots: SlotQueue;
  readonly #running = new Set<Promise<void>>();
  /** Resolves when all that came before was handed to the hashers. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(ports: PipelinePorts<S>) {
    this.#ports = ports;
    this.#pace = new Pace(ports.slots, ports.readTimeoutMs);
    this.#slots = new SlotQueue(ports.slots, this.#pace.limit);
  }

  /** Nothing new begins; what waits for a slot is told why. */
  stop(why: unknown): void {
    this.#slots.interrupt(why);
  }

  /** Begins a segment: a chunk as soon as there is a slot. */
  async take(segment: S): Promise<void> {
    if (segment.kind === 'hole') {
      this.#follow(this.#turn.then(() => this.#ports.hashHole(segment.length, segment.offset)));
      return;
    }
    const slot = await this.#slots.acquire();
    const carrying = this.#carry(slot, segment)
      .catch((why: unknown) => this.stop(why))
      .finally(() => this.#running.delete(carrying));
    this.#running.add(carrying);
  }

  /** Resolves when all is through; rejects with the first fault. */
  async drain(): Promise<void> {
    await this.rest();
    await this.#turn;
    await this.#slots.acquire(); // throws what stopped it
  }

  /** Resolves when nothing runs any more. */
  async rest(): Promise<void> {
    await Promise.all(this.#running);
  }

  async #carry(slot: number, segment: S): Promise<void> {
    const reading = this.#read(slot, segment);
    const writing = reading.then(() => this.#ports.write(slot, segment));
    const checking = reading.then(() => this.#ports.check?.(slot, segment));
    const handing = Promise.all([this.#turn, reading]).then(() => ({
      hashed: this.#ports.hash(slot, segment),
    }));
    this.#follow(handing);
    const hashing = handing.then(({ hashed }) => hashed);
    // All, also when one failed: the slot's memory is in use as long as any runs.
    const ends = await Promise.allSettled([checking, writing, hashing]);
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    this.#ports.done(segment);
    this.#slots.release(slot);
  }

  async #read(slot: number, segment: S): Promise<void> {
    const startedAt = performance.now();
    await this.#ports.read(slot, segment);
    this.#slots.setLimit(this.#pace.learn(performance.now() - startedAt));
  }

  #follow(handing: Promise<unknown>): void {
    this.#turn = handing;
    handing.catch((why: unknown) => this.stop(why));
  }
}
