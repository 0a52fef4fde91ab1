// What is asked of the world of snapshots again and again.

import assert from 'node:assert/strict';
import { type ErrorCode, OperatingError } from '../../../src/wire/errors.ts';
import type { World } from './world.ts';

/** Nothing is claimed that is not there, nothing is there that is not claimed, and no job is open. */
export function assertTidy(made: World): void {
  const sets = [...made.catalogue.values()];
  assert.deepEqual(
    sets.map((set) => set.state).filter((state) => state !== 'complete'),
    [],
  );
  const claimed = sets.flatMap((set) => set.disks.map(() => `siphon.${set.id}`));
  assert.deepEqual(made.snapshots().toSorted(), claimed.toSorted());
  assert.deepEqual([...made.omap.keys()].toSorted(), sets.map((set) => set.id).toSorted());
  for (const { copy } of sets.flatMap((set) => set.keptFiles ?? []))
    if (copy) assert.ok(made.objects.has(copy.object), copy.object);
  for (const name of made.objects.keys())
    assert.ok(
      sets.some(({ id, keptFiles }) => keptFiles && name.startsWith(`siphon.sets.${id}.`)),
      name,
    );
  assert.deepEqual(made.openJobs(), []);
}

export function isError(code: ErrorCode) {
  return (error: unknown) => error instanceof OperatingError && error.code === code;
}

export async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!condition()) {
    assert.ok(performance.now() < endMs, 'it does not come');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
