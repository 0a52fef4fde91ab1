// Runs one benchmark inside a lab host with siphon installed: main.ts fill|hook|snapshot|restore|publish|export|trust|scrub ROUNDS JSON-FILE.

import { writeFile } from 'node:fs/promises';
import { benchExport } from './export.ts';
import { benchFill } from './fill.ts';
import { benchHook, cleanUpHook } from './hook.ts';
import { benchImpact } from './impact.ts';
import { benchPublish } from './publish.ts';
import { benchRestore } from './restore.ts';
import { type BenchRow, formatRows } from './row.ts';
import { benchScrub } from './scrub.ts';
import { benchSnapshot } from './snapshot.ts';
import { benchTrust } from './trust.ts';

const [which, rounds = '0', file = ''] = process.argv.slice(2);

async function* rowsOf(): AsyncGenerator<BenchRow> {
  if (which === 'fill') {
    const log = console.log;
    yield* await benchFill({ rounds: Number(rounds), scratchDir: '/var/lib/siphon', log });
  } else if (which === 'snapshot') {
    yield* benchSnapshot({ rounds: Number(rounds) });
  } else if (which === 'restore') {
    yield* benchRestore({ rounds: Number(rounds) });
  } else if (which === 'publish') {
    yield* benchPublish({ rounds: Number(rounds) });
  } else if (which === 'export') {
    yield* benchExport({ rounds: Number(rounds) });
  } else if (which === 'trust') {
    yield* benchTrust({ rounds: Number(rounds) });
    yield* benchScrub({ rounds: Number(rounds) });
    yield* benchImpact({ rounds: Number(rounds) });
  } else if (which === 'scrub') {
    yield* benchScrub({ rounds: Number(rounds) });
  } else {
    try {
      yield* await benchHook({ rounds: Number(rounds) });
    } finally {
      await cleanUpHook();
    }
  }
}

const rows: BenchRow[] = [];
for await (const row of rowsOf()) {
  console.log(formatRows([row]));
  rows.push(row);
}
await writeFile(file, `${JSON.stringify(rows, null, 2)}\n`);
