// A siphond that kills itself (SIGKILL) at its Nth chance: argv is ROOT N. Chances come after every write of the journal, before
// (so after what was done to files) and after every write of a base's row, and after a worker's end. It fills `a`, refills the
// suspect `b`, evicts `c`, scrubs and mends the rotten `d`; prints the number of chances if it survives.

import type { CacheParts } from '../../../src/cache/index.ts';
import { createCache } from '../../../src/cache/index.ts';
import type { Job } from '../../../src/wire/journal.ts';
import { CRASH_SOURCES } from './crash-sources.ts';
import { openWorld, sourceOf } from './support.ts';

const [root = '', last = ''] = process.argv.slice(2);
let chances = 0;

function step(): void {
  if (chances === Number(last)) process.kill(process.pid, 'SIGKILL');
  chances += 1;
}

/** The same object, with a chance to die after each call of these methods; `before`: and one before it. */
function mortal<T extends object>(
  target: T,
  methods: readonly (keyof T)[],
  when: 'after' | 'before and after' = 'after',
): T {
  return new Proxy(target, {
    get(object, key) {
      const value: unknown = Reflect.get(object, key, object);
      if (typeof value !== 'function') return value;
      const bound = (value as (...args: unknown[]) => unknown).bind(object);
      if (!methods.includes(key as keyof T)) return bound;
      return (...args: unknown[]) => {
        if (when === 'before and after') step();
        const result = bound(...args);
        if (!(result instanceof Promise)) step();
        else void result.then(step, step);
        return result;
      };
    },
  });
}

const world = await openWorld(root);
for (const [image, size] of Object.entries(CRASH_SOURCES)) world.sources.set(image, size);
const { parts } = world;
const jobOf = (job: Job) => mortal(job, ['step', 'done', 'failed']);
const mortalParts: CacheParts = {
  ...parts,
  catalogue: {
    ...parts.catalogue,
    bases: mortal(parts.catalogue.bases, ['enter', 'move', 'amend'], 'before and after'),
  },
  journal: {
    ...parts.journal,
    begin(kind, subject, data) {
      const job = parts.journal.begin(kind, subject, data);
      step();
      return jobOf(job);
    },
    resume: (id) => jobOf(parts.journal.resume(id)),
  },
  startFillWorker: async (...ask) => mortal(await parts.startFillWorker(...ask), ['call']),
};
const cache = createCache(mortalParts);
await cache.recover();
for (const image of ['a', 'b']) {
  await (await cache.warm({ source: sourceOf(image), priority: 'operator' })).done;
}
await cache.evict({
  dryRun: false,
  bases: cache.list().flatMap(({ id, name }) => (name.image === 'c' ? [id] : [])),
});
const rotten = cache.list().flatMap(({ id, name }) => (name.image === 'd' ? [id] : []));
await (await cache.scrub({ bases: rotten })).done;
await world[Symbol.asyncDispose]();
process.stdout.write(`${chances}\n`);
