// What a person sees: tables, sizes, times, errors. --json prints the API's own objects instead.

import { ERROR_TABLE, OperatingError } from '../wire/errors.ts';

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export interface Column {
  readonly head: string;
  /** Where the terminal is too narrow, the highest goes first; a column without one stays. */
  readonly drop?: number;
  /** Its text may be cut before it goes. */
  readonly isCut?: boolean;
}

/** Of the bases' ids: their sources name them as well, unless two have the same. */
export function baseColumn(sources: readonly string[], drop: number): Column {
  const isNeeded = new Set(sources).size < sources.length;
  return { head: 'BASE', ...(!isNeeded && { drop }) };
}

const GAP = '  ';
/** What is left of a cut text tells something from here on. */
const CUT_MIN = 16;

/** Columns as wide as their widest cells, as many as fit the width (of the terminal; elsewhere all). */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number = terminalWidth(),
): string {
  const cells = [columns.map(({ head }) => head), ...rows];
  const full = columns.map((_, at) => Math.max(...cells.map((row) => row[at]?.length ?? 0)));
  const widths = fit(columns, full, width);
  const line = (row: readonly string[]) =>
    widths
      .map((size, at) => (size === 0 ? [] : [cut(row[at] ?? '', size)]))
      .flat()
      .join(GAP)
      .trimEnd();
  return cells.map(line).join('\n');
}

/** The columns' widths; 0: it is left out. */
function fit(columns: readonly Column[], full: readonly number[], width: number): number[] {
  const widths = [...full];
  const going = columns
    .map(({ drop, isCut }, at) => ({ at, drop, isCut }))
    .filter(({ drop }) => drop !== undefined)
    .toSorted((a, b) => (b.drop ?? 0) - (a.drop ?? 0));
  for (const { at, isCut } of going) {
    const shown = widths.filter((size) => size > 0);
    const total = shown.reduce((sum, size) => sum + size + GAP.length, -GAP.length);
    if (total <= width) break;
    const left = (widths[at] ?? 0) - (total - width);
    widths[at] = isCut && left >= CUT_MIN ? left : 0;
  }
  return widths;
}

function cut(text: string, size: number): string {
  return text.length <= size ? text.padEnd(size) : `${text.slice(0, size - 1)}…`;
}

/** A terminal that does not know its width says 0. */
function terminalWidth(): number {
  const { isTTY, columns } = process.stdout;
  return isTTY && columns > 0 ? columns : Number.POSITIVE_INFINITY;
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
