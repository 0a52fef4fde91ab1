// node scripts/config-reference.ts [--check]: writes the tables of docs/configuration.md from the config's shape, between their
// markers. --check only says whether they are up to date (exit code 1: they are not).

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CONFIG_KEYS, type ConfigKey } from '../src/sidecar/config/keys.ts';

const PAGE = path.join(import.meta.dirname, '../docs/configuration.md');
const MARKED = /(<!-- keys: (\w+) -->\n)[\s\S]*?(<!-- end -->)/g;

/** The page with its tables as they must be. */
export function withTables(page: string): string {
  return page.replace(MARKED, (_, begin: string, table: string, end: string) => {
    const keys = CONFIG_KEYS.filter(({ path: [first] }) => first === table);
    return `${begin}\n${tableOf(keys)}\n\n${end}`;
  });
}

/** The tables that the page has no place for. */
export function missingTables(page: string): string[] {
  const found = [...page.matchAll(MARKED)].map(([, , table]) => table);
  const tables = CONFIG_KEYS.map(({ path: [first = ''] }) => first);
  return [...new Set(tables)].filter((table) => !found.includes(table));
}

function tableOf(keys: readonly ConfigKey[]): string {
  const rows = keys.map(rowOf);
  return [['key', 'default', 'allowed', 'a change', 'meaning'], Array(5).fill('---'), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

function rowOf({ key, fallback, allowed, change, description }: ConfigKey): string[] {
  const written = fallback === undefined ? '-' : `\`${JSON.stringify(fallback)}\``;
  const takes = change === 'restart' ? 'restart' : 'reload';
  return [`\`${key}\``, written, allowed ?? '', takes, description ?? ''];
}

if (import.meta.main) {
  const page = readFileSync(PAGE, 'utf8');
  const text = withTables(page);
  if (!process.argv.includes('--check')) writeFileSync(PAGE, text);
  else if (page !== text || missingTables(page).length > 0) {
    console.error('docs/configuration.md is not up to date: node scripts/config-reference.ts');
    process.exitCode = 1;
  }
}
