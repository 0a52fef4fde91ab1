// Sizes and durations as the config and the policies spell them: a number and a unit, nothing guessed.

const SIZE = /^(\d{1,12}(?:\.\d{1,3})?) ?(B|KiB|MiB|GiB|TiB)$/;
const SIZE_UNITS = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;
const DURATION = /^(\d{1,9}(?:\.\d{1,3})?) ?(ms|s|min|h|d)$/;
const DURATION_UNITS = { ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const;

export const SIZE_ALLOWED = 'a size such as "100GiB" (units: B, KiB, MiB, GiB, TiB)';
export const DURATION_ALLOWED = 'a duration such as "5s" (units: ms, s, min, h, d)';

/** Bytes, rounded down; undefined for anything that is not exactly a size. */
export function parseSize(text: string): number | undefined {
  const [, amount, unit] = SIZE.exec(text) ?? [];
  if (amount === undefined || unit === undefined) return undefined;
  const bytes = Math.floor(Number(amount) * SIZE_UNITS[unit as keyof typeof SIZE_UNITS]);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Milliseconds, rounded down; undefined for anything that is not exactly a duration. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit] = DURATION.exec(text) ?? [];
  if (amount === undefined || unit === undefined) return undefined;
  return Math.floor(Number(amount) * DURATION_UNITS[unit as keyof typeof DURATION_UNITS]);
}
