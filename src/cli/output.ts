// What a person sees: tables, sizes, times, errors. --json prints the API's own objects instead.

import { ERROR_TABLE, OperatingError } from '../wire/errors.ts';

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Columns as wide as their widest cell; the last one is not padded. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        column === cells.length - 1 ? cell : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ');
  return [head, ...rows].map((cells) => line(cells).trimEnd()).join('\n');
}

/** Names and values, one a line, values aligned. */
export function sheet(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

/** Local-independent: UTC to the second. */
export function time(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/** Prints the error as people, or with --json programs, want it; gives the exit code. */
export function reportError(error: unknown, isJson: boolean): number {
  if (!(error instanceof OperatingError)) throw error;
  const hint = error.hint === undefined ? '' : `\n  ${error.hint}`;
  const text = isJson
    ? JSON.stringify({ error: error.toWire() })
    : `siphon: ${error.message}${hint}`;
  process.stderr.write(`${text}\n`);
  return ERROR_TABLE[error.code].exit;
}
