// node scripts/bindings-table.ts [--check]: writes docs/bindings.md, the table of the C functions that the bindings call. --check only says
// whether it is up to date (exit code 1: it is not). It reads the sources alone, so that it runs where no library is installed.
//
// Both packages keep two conventions: a C function is declared by its prototype, given to one of `declaredBy`; and the docstring of what
// calls it says `Implements:` and its name.

import { globSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '..');
const PAGE = path.join(ROOT, 'docs/bindings.md');

/** Each package, and the functions that declare a C function there. */
export const PACKAGES = {
  'ceph-napi': { declaredBy: ['librados', 'librbd'], header: 'librados.h and librbd.h' },
  'node-libvirt': { declaredBy: ['bind'], header: 'libvirt.h and libvirt-qemu.h' },
} as const;
export type PackageName = keyof typeof PACKAGES;

export interface Row {
  readonly symbol: string;
  /** As in the header, spaces apart. */
  readonly prototype: string;
  /** What calls it, by file: `watch.ts: ObjectWatch.open`. */
  readonly callers: readonly string[];
}

/** The C functions that a package declares, in the order of their names. */
export function rowsOf(name: PackageName): Row[] {
  const prototypes = new Map<string, string>();
  const callers = new Map<string, string[]>();
  for (const file of globSync(`packages/${name}/src/*.ts`, { cwd: ROOT }).toSorted()) {
    const source = readFileSync(path.join(ROOT, file), 'utf8');
    for (const prototype of prototypesIn(source, PACKAGES[name].declaredBy)) {
      const symbol = /(\w+)\(/.exec(prototype.replace(/\(\*\w+\)/g, ''))?.[1];
      if (symbol !== undefined) prototypes.set(symbol, prototype);
    }
    for (const [symbol, caller] of callersIn(source)) {
      callers.set(symbol, [...(callers.get(symbol) ?? []), `${path.basename(file)}: ${caller}`]);
    }
  }
  return [...prototypes]
    .map(([symbol, prototype]) => ({ symbol, prototype, callers: callers.get(symbol) ?? [] }))
    .toSorted((a, b) => (a.symbol < b.symbol ? -1 : 1));
}

/** A package's part of the page. */
export function sectionOf(name: PackageName): string {
  const rows = rowsOf(name);
  const lines = rows.map(
    ({ prototype, callers }) =>
      `| \`${prototype}\` | ${callers.map((caller) => `\`${caller}\``).join('<br>')} |`,
  );
  return [
    `## ${name}`,
    '',
    `${rows.length} functions, each declared as in ${PACKAGES[name].header}; a test compares them.`,
    '',
    '| in the header | called by |',
    '|---|---|',
    ...lines,
    '',
  ].join('\n');
}

function page(): string {
  const names = Object.keys(PACKAGES) as PackageName[];
  const head =
    '# The bindings\n\nWritten by `node scripts/bindings-table.ts` from the sources; not to be edited.\n';
  return [head, ...names.map(sectionOf)].join('\n');
}

function prototypesIn(source: string, declaredBy: readonly string[]): string[] {
  const call = new RegExp(`\\b(?:${declaredBy.join('|')})\\(\\s*(['\`])([^'\`]+)\\1`, 'g');
  return [...source.matchAll(call)].map(([, , text = '']) => text.replace(/\s+/g, ' ').trim());
}

/** [C function, who calls it] for each `Implements:` of a docstring and the declaration after it. */
function callersIn(source: string): [string, string][] {
  const found: [string, string][] = [];
  let inClass = '';
  const pieces = source.matchAll(
    /^export (?:abstract )?class (\w+)|\/\*\*([\s\S]*?)\*\/\n([^\n]*)/gm,
  );
  for (const [, className, comment = '', after = ''] of pieces) {
    if (className !== undefined) inClass = className;
    const declared = declaredName(after);
    if (declared.className !== undefined) inClass = declared.className;
    const list = /Implements(?: \([\w.]+\))?: ([\w, \n*]+)/.exec(comment)?.[1] ?? '';
    const isMember = after.startsWith(' ');
    const caller = isMember && inClass !== '' ? `${inClass}.${declared.name}` : declared.name;
    for (const symbol of list.match(/\w+/g) ?? []) found.push([symbol, caller]);
  }
  return found;
}

function declaredName(line: string): { name: string; className?: string } {
  const className = /^export (?:abstract )?class (\w+)/.exec(line)?.[1];
  if (className !== undefined) return { name: className, className };
  const words =
    /^ *(?:(?:export|const|protected|private|static|override|async|function|get) )*(#?\w+)/;
  return { name: words.exec(line)?.[1] ?? line.trim() };
}

if (import.meta.main) {
  const text = page();
  if (!process.argv.includes('--check')) writeFileSync(PAGE, text);
  else if (readFileSync(PAGE, 'utf8') !== text) {
    console.error('docs/bindings.md is not up to date: node scripts/bindings-table.ts');
    process.exitCode = 1;
  }
}
