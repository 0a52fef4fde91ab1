// The frame of DER: tags, lengths, and what stands in what. For long lists: the library keeps an object for each value of them.

export interface DerValue {
  readonly tag: number;
  /** Where its header, its content and its successor begin. */
  readonly start: number;
  readonly body: number;
  readonly end: number;
}

/** Not DER, or not what was looked for. */
export class DerError extends Error {
  override readonly name = 'DerError';
}

/** The value at `at`, which must end by `limit`. @throws DerError */
export function readValue(bytes: Uint8Array, at: number, limit: number): DerValue {
  const [tag, first] = [bytes[at], bytes[at + 1]];
  if (tag === undefined || first === undefined || at + 2 > limit)
    throw new DerError('it is cut off');
  if ((tag & 0x1f) === 0x1f || first === 0x80) throw new DerError('it is not DER');
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  if (lengthBytes > 4) throw new DerError('a length in it is beyond reason');
  let length = lengthBytes === 0 ? first : 0;
  for (let index = 0; index < lengthBytes; index += 1) {
    length = length * 256 + (bytes[at + 2 + index] ?? 0);
  }
  const body = at + 2 + lengthBytes;
  if (body + length > limit) throw new DerError('it is cut off');
  return { tag, start: at, body, end: body + length };
}

/** What stands in a value, one after the other. @throws DerError */
export function* valuesIn(bytes: Uint8Array, { body, end }: DerValue): Generator<DerValue> {
  for (let at = body; at < end; ) {
    const value = readValue(bytes, at, end);
    yield value;
    at = value.end;
  }
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  context0: 0xa0,
} as const;
