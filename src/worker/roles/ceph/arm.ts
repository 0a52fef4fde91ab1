// Arms snapshots: foresees the monitors' next commit of the OSD map, with a tick still pending for it, so that what is asked just
// before it rides along. All that arm at the same time share the ticks.

import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { OperatingError } from '../../../wire/errors.ts';
import type { ArmMethods } from '../../../wire/hold-protocol.ts';
import { during } from '../../translate-error.ts';
import type { Connections } from './connections.ts';
import {
  decideLead,
  intervalOf,
  type LeadDecision,
  MARGIN_MS,
  nextMargin,
  remember,
} from './lead.ts';
import { inImage, openPool, placeOf } from './open.ts';
import { type Tick, Train } from './train.ts';

/** Monitors that take so much longer than usual for a change of a map are not well: no guest is touched then. */
const LATE_MS = 3000;
/**
 * From a commit to the end of a snapshot that rode on it: librbd still writes the image's header (docs/performance.md). A snapshot
 * that missed it comes an interval later.
 */
const GRACE_MS = 200;
/** A guest is held by now: a foreseen commit that is so much overdue is not waited for. */
const OVERDUE_MS = 1000;
/** From a board to its arm: the guards of many domains are set in between. */
const BOARDED_MS = 15_000;
/** Arms that were not asked for their end are forgotten, oldest first. */
const ARMS_MAX = 256;

interface Armed {
  readonly tick: Tick;
  readonly atMs: number;
  readonly dueAtMs: number;
}

type Unforeseen = Extract<LeadDecision, { kind: 'unforeseen' }>;

const WHY: Readonly<Record<Unforeseen['why'], string>> = {
  restless:
    'the monitors’ commits are too uneven: others change the map of the OSDs, or the load does',
  'lead-too-long': 'the monitors commit more often than a guest is held',
};

/** What of the snapshots is to be known. */
interface Riders {
  /** Of those that are prepared: where ticks may go, too. */
  firstPool(): string | undefined;
  /** What was asked for after `fromMs` and before `untilMs`: how it went until now. */
  outcomeOf(fromMs: number, untilMs: number): 'none' | 'made' | 'late';
}

export class Arming {
  readonly #connections: Connections;
  readonly #riders: Riders;
  readonly #tickPool: string | undefined;
  readonly #boarded = new Map<string, DisposableStack>();
  readonly #armed = new Map<string, Armed>();
  readonly #judged = new WeakSet<Tick>();
  #tookMs: readonly number[] = [];
  #marginMs: number = MARGIN_MS.least;
  #train: Promise<Train> | undefined;

  constructor(connections: Connections, riders: Riders, tickPool: string | undefined) {
    this.#connections = connections;
    this.#riders = riders;
    this.#tickPool = tickPool;
  }

  board(signal: AbortSignal): Promise<ArmMethods['board']['result']> {
    return during(stepOf('the monitors’ commits'), async () => {
      using stack = new DisposableStack();
      const askedAtMs = performance.now();
      const train = await this.#running(signal);
      stack.use(train.board());
      // What came back before says nothing of the monitors as they are now.
      if (train.backAtMs < askedAtMs) await this.#back(train.tick().back, signal);
      const board = randomUUID();
      const timer = setTimeout(() => this.#leave(board)?.dispose(), BOARDED_MS);
      stack.defer(() => clearTimeout(timer));
      this.#boarded.set(board, stack.move());
      return { board };
    });
  }

  #leave(board: string): DisposableStack | undefined {
    const stack = this.#boarded.get(board);
    this.#boarded.delete(board);
    return stack;
  }

  arm(
    { board, leadMs }: ArmMethods['arm']['params'],
    signal: AbortSignal,
  ): Promise<ArmMethods['arm']['result']> {
    return during(stepOf(`${leadMs} ms before a commit`), async () => {
      const askedAtMs = performance.now();
      using boarded = this.#leave(board);
      if (boarded === undefined) throw failed('unavailable', 'its ticks have ended meanwhile');
      const train = await this.#running(signal);
      using _ = train.board();
      let [ticks, earlyTicks] = [0, 0];
      for (;;) {
        const tick = train.tick();
        const nowMs = performance.now();
        const [ageMs, armingMs] = [nowMs - tick.sentAtMs, nowMs - askedAtMs];
        const known = { tookMs: this.#tookMs, marginMs: this.#marginMs };
        const facts = { ...known, leadMs, earlyTicks, ticks, armingMs };
        const decision = decideLead({ ...facts, tick: { ...tick, ageMs } });
        if (decision.kind === 'unforeseen') return { unforeseen: WHY[decision.why] };
        if (decision.kind === 'go') {
          const { leftMs, intervalMs } = decision;
          return { arm: this.#keep(tick, leftMs), intervalMs, rounds: earlyTicks + 1, leftMs };
        }
        if (decision.kind === 'another') await this.#back(tick.back, signal);
        else if ((await within(decision.waitMs, tick.back, signal)) === LATE) continue;
        else earlyTicks++;
        ticks++;
      }
    });
  }

  async end(
    { arm }: ArmMethods['armEnd']['params'],
    signal: AbortSignal,
  ): Promise<ArmMethods['armEnd']['result']> {
    const armed = this.#armed.get(arm);
    if (armed === undefined) throw failed('usage', `there is no arm ${arm}`);
    this.#armed.delete(arm);
    return await during(stepOf('the commit'), async () => {
      const boundMs = Math.max(0, armed.dueAtMs + OVERDUE_MS - performance.now());
      const backAtMs = await within(boundMs, armed.tick.back, signal);
      if (backAtMs === LATE) throw failed('unavailable', 'the commit that was foreseen is overdue');
      await delay(Math.max(0, backAtMs + GRACE_MS - performance.now()), undefined, { signal });
      this.#judge(armed, backAtMs);
      return { tookMs: backAtMs - armed.atMs };
    });
  }

  #keep(tick: Tick, leftMs: number): string {
    const arm = randomUUID();
    const atMs = performance.now();
    this.#armed.set(arm, { tick, atMs, dueAtMs: atMs + leftMs });
    const [oldest] = this.#armed.keys();
    if (this.#armed.size > ARMS_MAX && oldest !== undefined) this.#armed.delete(oldest);
    return arm;
  }

  /** Once for each commit, however many rode on it. */
  #judge({ tick, atMs }: Armed, backAtMs: number): void {
    const outcome = this.#riders.outcomeOf(atMs, backAtMs);
    if (outcome === 'none' || this.#judged.has(tick)) return;
    this.#judged.add(tick);
    this.#marginMs = nextMargin(this.#marginMs, outcome === 'late');
  }

  /** @throws OperatingError unavailable: it did not come back in time */
  async #back<T>(asked: Promise<T>, signal: AbortSignal): Promise<T> {
    const boundMs = Math.round(LATE_MS + (intervalOf(this.#tookMs) ?? 0));
    const back = await within(boundMs, asked, signal);
    if (back !== LATE) return back;
    throw failed('unavailable', `the monitors did not change a map in ${boundMs} ms`);
  }

  async #running(signal: AbortSignal): Promise<Train> {
    for (;;) {
      this.#train ??= this.#begin();
      const train = await this.#back(this.#train, signal);
      if (!train.isEnded) return train;
    }
  }

  #begin(): Promise<Train> {
    const starting = this.#start();
    const forget = () => {
      if (this.#train === starting) this.#train = undefined;
    };
    starting.then((train) => void train.ended.then(forget), forget);
    return starting;
  }

  /** A pool that is not there, that this user may not tick in, or that has snapshots of its own: the next one is tried. */
  async #start(): Promise<Train> {
    let failure = failed('usage', 'there is no pool to tick in: prepare snapshots first');
    for (const pool of [this.#tickPool, this.#riders.firstPool()]) {
      if (pool === undefined) continue;
      try {
        return await this.#startIn(pool);
      } catch (error) {
        if (!(error instanceof OperatingError) || !ELSEWHERE.includes(error.code)) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  /** A train whose first tick is back. */
  async #startIn(name: string): Promise<Train> {
    await using stack = new AsyncDisposableStack();
    const hold = stack.use(await this.#connections.hold('snapshot'));
    try {
      const pool = stack.use(await openPool(hold.session, name, ''));
      const train = new Train(pool, (tookMs) => {
        this.#tookMs = remember(this.#tookMs, tookMs);
      });
      await inImage(hold.session, pool, 'tick', placeOf(pool), () => train.tick().back);
      const open = stack.move();
      train.ended.then(() => open.disposeAsync()).catch(reportClose);
      return train;
    } catch (error) {
      hold.report(error);
      throw error;
    }
  }
}

const ELSEWHERE: readonly string[] = ['not-found', 'denied', 'usage'];

const LATE = Symbol('late');

/** What settles within `ms`, else LATE. */
async function within<T>(
  ms: number,
  asked: Promise<T>,
  signal: AbortSignal,
): Promise<T | typeof LATE> {
  const over = new AbortController();
  const timer = delay(ms, LATE, { signal: AbortSignal.any([signal, over.signal]) } as const);
  try {
    return await Promise.race([asked, timer]);
  } finally {
    over.abort();
  }
}

const stepOf = (subject: string) => ({ op: 'arm snapshots', subject });

function failed(code: OperatingError['code'], why: string): OperatingError {
  return new OperatingError({ code, op: 'arm snapshots', subject: 'the monitors’ commits', why });
}

/** Its calls have ended: what does not close in order is lost memory, no more. */
function reportClose(error: unknown): void {
  console.error(`closing the pool of ticks: ${String(error)}`);
}
