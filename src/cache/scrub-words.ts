// What a scrub found, for people. Pure.

import type { FileDamage } from '../wire/scrub-protocol.ts';

/** Runs of chunks that are told one by one, and kept. */
const RUNS_TOLD = 100;
const RUNS_NAMED = 5;

/** With the first runs alone: a journal is no place for a hundred thousand. */
export function boundedDamage(damage: FileDamage): FileDamage {
  return { ...damage, chunks: damage.chunks.slice(0, RUNS_TOLD) };
}

/** `chunkBytes`: of a whole one. */
export function damageText(
  damage: FileDamage,
  {
    chunkBytes,
    sourceSizeBytes,
  }: { readonly chunkBytes: number; readonly sourceSizeBytes: number },
): string {
  const { chunks, chunkCount, isHead, isTail, unreadBytes } = damage;
  const named = chunks.slice(0, RUNS_NAMED).map(([first, count]) => {
    const end = Math.min((first + count) * chunkBytes, sourceSizeBytes);
    const which = count === 1 ? `${first}` : `${first} to ${first + count - 1}`;
    return `${which} (bytes ${first * chunkBytes} to ${end - 1})`;
  });
  const more = chunks.length > RUNS_NAMED ? ' and more' : '';
  const what = chunkCount === 1 ? 'chunk' : 'chunks';
  const found = [
    ...(chunkCount > 0 ? [`${chunkCount} ${what}: ${named.join(', ')}${more}`] : []),
    ...(isHead ? ['its qcow2 tables'] : []),
    ...(isTail ? ['its length, or what is after its data'] : []),
  ];
  const lost = unreadBytes > 0 ? `; ${unreadBytes} bytes could not be read` : '';
  return `its file is not what was read of its source: ${found.join('; ')}${lost}`;
}
