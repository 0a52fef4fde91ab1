// What crash-fixture.ts and crash.test.ts work with: sizes in bytes by image.

export const CRASH_SOURCES: Readonly<Record<string, number>> = {
  a: 8192,
  b: 12_288,
  c: 4096,
  d: 6144,
};
