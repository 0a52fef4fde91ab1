// Waiting for several at once.

/** All results, or the first rejection once all have ended: none goes on unseen, and what they used can be closed then. */
export async function allOf<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises);
  return await Promise.all(promises);
}
