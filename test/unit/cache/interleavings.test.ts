// Random interleavings of all that happens to a cache; fast-check prints the seed of a failure.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { DiskChain } from '../../../src/cache/index.ts';
import { createCache } from '../../../src/cache/index.ts';
import { basePath } from '../../../src/domain/base-path.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import {
  contentOf,
  corrupt,
  idsOf,
  makeFolder,
  openWorld,
  sourceOf,
  type World,
} from './support.ts';

const IMAGES = ['a', 'b', 'c', 'd'];
const SIZE = 65_536;
const UUID = '6e1c0a52-24a7-4a5c-8a3c-8d3c6b1f0a01';

const image = fc.constantFrom(...IMAGES);
const act = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('warm'), image, hook: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('evict'),
      images: fc.subarray(IMAGES, { minLength: 1 }),
    }),
  },
  fc.record({ kind: fc.constant('evict-to-limit') }),
  fc.record({ kind: fc.constantFrom('pin', 'unpin'), image }),
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('lease'), images: fc.subarray(IMAGES) }) },
  fc.record({ kind: fc.constantFrom('fail', 'heal', 'vanish', 'open', 'close'), image }),
  fc.record({ kind: fc.constant('cancel') }),
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('pause') }) },
);
type Act = { kind: string; image?: string; hook?: boolean; images?: string[] };

class Run {
  readonly world: World;
  readonly cache;
  readonly pending: Promise<unknown>[] = [];
  readonly open = new Set<string>();

  constructor(world: World) {
    this.world = world;
    const { bases } = world.catalogue;
    // Whatever is removed is not needed by anybody at that instant.
    const move: typeof bases.move = (id, event, change) => {
      if (event === 'evict-begun') {
        const view = world.cache.list().find((each) => each.id === id);
        assert.ok(view && !view.isPinned && view.leases.length === 0, `${id} was needed`);
        assert.ok(!this.open.has(view.name.image), `${id} was open`);
      }
      return bases.move(id, event, change);
    };
    const catalogue = { ...world.catalogue, bases: { ...bases, move } };
    this.cache = createCache({ ...world.parts, catalogue });
  }

  async do({ kind, image: name = '', hook = false, images = [] }: Act): Promise<void> {
    const { world, cache } = this;
    const priority = hook ? 'hook' : 'operator';
    const id = cache.list().find((base) => base.name.image === name)?.id;
    if (kind === 'warm') this.#start(this.#warm(name, priority));
    if (kind === 'evict') this.#start(cache.evict({ dryRun: false, bases: this.#idsOf(images) }));
    if (kind === 'evict-to-limit') this.#start(cache.evict({ dryRun: false }));
    if (kind === 'pin' && id) this.#start(cache.pin(id));
    if (kind === 'unpin' && id) this.#start(cache.unpin(id));
    if (kind === 'lease') this.#lease(images);
    if (kind === 'fail') world.failing.set(name, corrupt(name, 'flipped'));
    if (kind === 'vanish') world.vanishing.add(name);
    if (kind === 'heal') {
      world.failing.delete(name);
      world.vanishing.delete(name);
    }
    if (kind === 'open') this.open.add(name);
    if (kind === 'close') this.open.delete(name);
    this.#showLocks();
    if (kind === 'cancel') this.#cancel();
    if (kind === 'pause') await new Promise((resolve) => setImmediate(resolve));
  }

  async #warm(name: string, priority: 'hook' | 'operator'): Promise<void> {
    const fill = await this.cache.warm({ source: sourceOf(name), priority });
    const base = await fill.done;
    assert.equal(base.state, 'ready');
  }

  #idsOf(images: readonly string[]): string[] {
    return this.cache.list().flatMap((base) => (images.includes(base.name.image) ? [base.id] : []));
  }

  #start(work: Promise<unknown>): void {
    const told = work.catch((error: unknown) => {
      if (!(error instanceof OperatingError)) throw error;
    });
    // Looked at when all is done; Node must not think that nobody does.
    told.catch(() => undefined);
    this.pending.push(told);
  }

  #lease(images: readonly string[]): void {
    const bases = images.map((name) => ({ ids: idsOf(name), format: 'raw' as const }));
    const chain: DiskChain = { kind: 'known', target: 'vda', bases };
    this.cache.leases.running({ uuid: UUID, name: 'g1' }, [chain]);
    this.#leased = images;
  }
  #leased: readonly string[] = [];

  #cancel(): void {
    const job = this.world.journal.open().find(({ kind }) => kind === 'fill');
    if (job) this.world.journal.cancel(job.id);
  }

  #showLocks(): void {
    const inodes = [...this.open].flatMap((name) => {
      const found = statSync(pathOf(this.world, name), { throwIfNoEntry: false });
      return found ? [found.ino] : [];
    });
    this.world.locks = inodes
      .map((ino, i) => `${i + 1}: OFDLCK ADVISORY  READ -1 00:2a:${ino} 100 100\n`)
      .join('');
  }

  /** Between any two acts, and in the end. */
  check(): void {
    for (const base of this.cache.list()) {
      if (base.state !== 'ready') continue;
      const path = pathOf(this.world, base.name.image);
      assert.ok(existsSync(path), `${base.name.image} is ready without its file`);
      assert.deepEqual(readFileSync(path), contentOf(base.name.image, SIZE));
    }
    const needed = this.cache.leases.ofDomain(UUID);
    assert.equal(needed.length, this.#leased.length);
  }

  async end(): Promise<void> {
    await Promise.all(this.pending);
    await this.cache.settled();
    this.check();
    assert.deepEqual(this.world.journal.open(), []);
    assert.deepEqual(readdirSync(join(this.world.parts.settings.path, '.partial')), []);
    for (const base of this.cache.list()) assert.equal(base.state, 'ready');
    for (const name of IMAGES) {
      const isListed = this.cache.list().some((base) => base.name.image === name);
      assert.equal(existsSync(pathOf(this.world, name)), isListed);
    }
    await this.#assertNothingPromised();
  }

  /** What is promised to nobody would leave no room for these. */
  async #assertNothingPromised(): Promise<void> {
    this.#lease([]);
    this.open.clear();
    this.#showLocks();
    this.world.failing.clear();
    this.world.vanishing.clear();
    for (const base of this.cache.list()) await this.cache.unpin(base.id);
    await this.cache.evict({ dryRun: false, bases: this.cache.list().map(({ id }) => id) });
    assert.deepEqual(this.cache.usage().allocatedBytes, 0);
    for (const name of IMAGES.slice(0, 2)) await this.#warm(name, 'operator');
    assert.equal(this.cache.list().length, 2);
  }
}

function pathOf(world: World, name: string): string {
  return basePath(world.parts.settings.path, idsOf(name), 'raw');
}

test('whatever happens in whatever order, nothing needed goes and nothing ready is missing', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 5, maxLength: 40 }), async (acts) => {
      const root = await makeFolder();
      try {
        // Room for two bases and their tables.
        await using world = await openWorld(root, { limitBytes: 2.5 * 1024 * 1024 });
        for (const name of IMAGES) world.sources.set(name, SIZE);
        const run = new Run(world);
        await run.cache.recover();
        for (const image of ['a', 'b']) await run.do({ kind: 'warm', image });
        await Promise.all(run.pending);
        for (const each of acts) {
          await run.do(each);
          run.check();
        }
        await run.end();
      } finally {
        await rm(root, { recursive: true });
      }
    }),
    { numRuns: 30, interruptAfterTimeLimit: 30_000 },
  );
});
