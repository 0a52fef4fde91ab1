// Tables of texts by text: an image's metadata and a pool's, which C reads alike.
import { check, errno } from './errors.ts';
import type { Handle } from './handle.ts';
import type { CFunction } from './library.ts';
import { bytes, textOf, textsOf, withRoom, word, words } from './memory.ts';

/** One value by `f(handle, key, value, length)`, or null where the key is not set. */
export async function getText(handle: Handle, f: CFunction, key: string): Promise<string | null> {
  const answer = await withRoom(f.symbol, 4096, async (room) => {
    const [value, length] = [bytes(room), words()];
    length[0] = BigInt(room);
    const result = await handle.try(f, key, value, length);
    return { result, wanted: Number(word(length)), value };
  });
  if (answer.result === -errno.ENOENT) return null;
  check(answer.result, f.symbol, key);
  return textOf(answer.value);
}

/** All of them by `f(handle, start, max, keys, keysLength, values, valuesLength)`, page after page. */
export async function listTexts(handle: Handle, f: CFunction): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  const pageLength = 64;
  for (let start = ''; ; ) {
    const page = await readPage(handle, f, start, pageLength);
    for (const [key, value] of page) all.set(key, value);
    if (page.length < pageLength) return all;
    start = page.at(-1)?.[0] ?? '';
  }
}

async function readPage(
  handle: Handle,
  f: CFunction,
  start: string,
  max: number,
): Promise<[string, string][]> {
  const answer = await withRoom(f.symbol, 16_384, async (room) => {
    const [keys, values, keysSize, valuesSize] = [bytes(room), bytes(room), words(), words()];
    keysSize[0] = valuesSize[0] = BigInt(room);
    const result = await handle.try(f, start, max, keys, keysSize, values, valuesSize);
    const [keysWanted, valuesWanted] = [Number(word(keysSize)), Number(word(valuesSize))];
    return {
      result,
      wanted: Math.max(keysWanted, valuesWanted),
      keys: keys.subarray(0, keysWanted),
      values: values.subarray(0, valuesWanted),
    };
  });
  check(answer.result, f.symbol);
  const values = textsOf(answer.values);
  return textsOf(answer.keys).map((key, index) => [key, values[index] ?? '']);
}
