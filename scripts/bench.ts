// npm run bench -- fill|hook|snapshot|restore|publish|export|trust|scrub [--json FILE] [--rounds N]: speed, paired in one run in a lab host, as ratios.

import { copyFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { command, labFor, ROOT } from './command.ts';

const ROUNDS: Readonly<Record<string, number>> = {
  fill: 5,
  hook: 20,
  snapshot: 25,
  restore: 10,
  publish: 5,
  export: 5,
  trust: 5,
  scrub: 5,
};
const SECONDS_MAX = 40 * 60;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, rounds: { type: 'string' } },
});
const [which = ''] = positionals;
const rounds = Number(values.rounds ?? ROUNDS[which]);

async function bench(result: string): Promise<number> {
  const built = await command(['node', 'scripts/build.ts'], 60);
  if (built !== 0) return built;
  await using lab = await labFor('bench');
  const prepared = await lab.exec(['bash', `${ROOT}/test/lab/support/prepare-host.sh`], 120);
  if (prepared !== 0) return prepared;
  const main = ['node', `${ROOT}/bench/main.ts`, which, String(rounds), result];
  return await lab.exec(main, SECONDS_MAX);
}

if (
  !Object.hasOwn(ROUNDS, which) ||
  positionals.length !== 1 ||
  !(Number.isInteger(rounds) && rounds >= 1 && rounds <= 100)
) {
  console.error(
    'npm run bench -- fill|hook|snapshot|restore|publish|export|trust|scrub [--json FILE] [--rounds 1..100]',
  );
  process.exitCode = 2;
} else {
  const result = path.join(ROOT, `.bench-${process.pid}.log`);
  try {
    const code = await bench(result);
    if (code === 0 && values.json !== undefined) copyFileSync(result, values.json);
    process.exitCode ||= code;
  } finally {
    rmSync(result, { force: true });
  }
}
