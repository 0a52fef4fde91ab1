// JSON of somebody else's: how deep it is and how many values it has is known before anything is made of it. Pure.

const DEPTH_MAX = 16;
const VALUES_MAX = 1000;

/** Bytes in, or why they are not JSON that is read here. */
export type Json =
  | { readonly kind: 'json'; readonly value: unknown }
  | { readonly kind: 'none'; readonly why: string };

/** UTF-8, of few values, some of which may be long. */
export function parseJson(bytes: Uint8Array): Json {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    const excess = excessOf(text);
    if (excess !== undefined) return { kind: 'none', why: excess };
    return { kind: 'json', value: JSON.parse(text) };
  } catch {
    return { kind: 'none', why: 'it is not JSON' };
  }
}

function excessOf(text: string): string | undefined {
  let depth = 0;
  let values = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charAt(at)) {
      case '"':
        at = endOfString(text, at);
        break;
      case '{':
      case '[':
        depth += 1;
        values += 1;
        break;
      case '}':
      case ']':
        depth -= 1;
        break;
      case ',':
        values += 1;
        break;
    }
    if (depth > DEPTH_MAX) return `it is deeper than ${DEPTH_MAX} levels`;
    if (values > VALUES_MAX) return `it has more than ${VALUES_MAX} values`;
  }
  return undefined;
}

/** Where the quote is that ends the string which begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; ; at++) {
    at = text.indexOf('"', at);
    if (at < 0) return text.length;
    let backslashes = 0;
    while (text[at - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return at;
  }
}
