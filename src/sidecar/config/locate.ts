// Where in a TOML text a key stands. The parser keeps no positions of keys, so that this finds them: by tables' headers
// and the keys at the beginnings of lines. A key of an inline table is found at the line of its table.

const PART = `(?:[A-Za-z0-9_-]+|"(?:[^"\\\\]|\\\\.)*"|'[^']*')`;
const DOTTED = `${PART}(?:\\s*\\.\\s*${PART})*`;
const HEADER = new RegExp(`^\\s*\\[{1,2}\\s*(${DOTTED})\\s*\\]{1,2}`);
const KEY = new RegExp(`^\\s*(${DOTTED})\\s*=(.*)$`);

export interface Place {
  /** From 1. */
  readonly line: number;
  /** How many parts of the path stand there: fewer than all where it is the nearest table around. */
  readonly depth: number;
}

/** Where a key or a table stands, or the nearest table around it; undefined where none is written. */
export function locate(toml: string): (path: readonly PropertyKey[]) => Place | undefined {
  const lines = linesOfKeys(toml);
  return (path) => {
    for (let depth = path.length; depth > 0; depth -= 1) {
      const line = lines.get(pathText(path.slice(0, depth).map(String)));
      if (line !== undefined) return { line, depth };
    }
    return undefined;
  };
}

function linesOfKeys(toml: string): Map<string, number> {
  const found = new Map<string, number>();
  let table: string[] = [];
  const counts = new Map<string, number>();
  let fence: string | undefined; // of a multi-line string that is open
  for (const [index, line] of toml.split('\n').entries()) {
    if (fence !== undefined) {
      if (line.includes(fence)) fence = undefined;
      continue;
    }
    const [, header] = HEADER.exec(line) ?? [];
    const [, key, value = ''] = KEY.exec(line) ?? [];
    if (header !== undefined && key === undefined) table = tableOf(line, header, counts);
    else if (key === undefined) continue;
    const path = key === undefined ? table : [...table, ...partsOf(key)];
    for (let length = path.length; length > 0; length -= 1) {
      const text = pathText(path.slice(0, length));
      if (!found.has(text)) found.set(text, index + 1);
    }
    fence = openFence(value);
  }
  return found;
}

/** Of a list of tables, `[[a.b]]`, the next of them: `a.b.0`. */
function tableOf(line: string, header: string, counts: Map<string, number>): string[] {
  const parts = partsOf(header);
  if (!/^\s*\[\[/.test(line)) return parts;
  const count = counts.get(pathText(parts)) ?? 0;
  counts.set(pathText(parts), count + 1);
  return [...parts, String(count)];
}

function openFence(value: string): string | undefined {
  const [, fence, rest = ''] = /^\s*("""|''')(.*)$/.exec(value) ?? [];
  return fence !== undefined && !rest.includes(fence) ? fence : undefined;
}

function partsOf(dotted: string): string[] {
  return (dotted.match(new RegExp(PART, 'g')) ?? []).map((part) =>
    part.startsWith('"') || part.startsWith("'") ? part.slice(1, -1) : part,
  );
}

/** No key holds a NUL: TOML forbids control characters. */
function pathText(path: readonly string[]): string {
  return path.join('\0');
}
