// Runs one benchmark inside a lab host with siphon installed: main.ts fill|hook|snapshot ROUNDS JSON-FILE.

import { writeFile } from 'node:fs/promises';
import { benchFill } from './fill.ts';
import { benchHook, cleanUpHook } from './hook.ts';
import { type BenchRow, formatRows } from './row.ts';
import { benchSnapshot } from './snapshot.ts';

const [which, rounds = '0', file = ''] = process.argv.slice(2);

async function rowsOf(): Promise<readonly BenchRow[]> {
  if (which === 'fill') {
    return benchFill({ rounds: Number(rounds), scratchDir: '/var/lib/siphon', log: console.log });
  }
  if (which === 'snapshot') return benchSnapshot({ rounds: Number(rounds) });
  try {
    return await benchHook({ rounds: Number(rounds) });
  } finally {
    await cleanUpHook();
  }
}

const rows = await rowsOf();
console.log(formatRows(rows));
await writeFile(file, `${JSON.stringify(rows, null, 2)}\n`);
