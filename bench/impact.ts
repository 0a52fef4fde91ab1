// What `siphon trust impact` takes with 10,000 bases and as many leases, by the command, asked of a siphond of its own; and how long a
// revocation takes to reach them all. Needs neither Ceph nor libvirt.

import { execFile } from 'node:child_process';
import { copyFile, mkdir, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { CA, makeHolder, SIGNER } from '../test/support/authorities.ts';
import { manyBaseId, writeManyBases } from '../test/support/many-bases.ts';
import { bySignature, keptSignature } from '../test/support/signed-bases.ts';
import { folderWithConfig, ready, run } from '../test/unit/sidecar/support/siphond-process.ts';
import { type BenchRow, median, quantile } from './row.ts';

const COUNT = 10_000;
const UUID = '5b4fbcee-4fd5-4a31-9a5a-1a1d4b4e5f0a';
const IMPACT_MS_MAX = 1000;
const REACH_MS_MAX = 60_000;
const SIPHON = path.join(import.meta.dirname, '../dist/siphon.mjs');

/** Bases by one signer under one authority: each has a signature of its own, a file, and a domain. */
export async function* benchImpact({ rounds }: { readonly rounds: number }) {
  await using folder = await folderWithConfig();
  const { at } = folder;
  const root = await makeHolder(at('.'), 'root', { extensions: CA() });
  const signer = await makeHolder(at('.'), 'signer', { issuer: root, extensions: SIGNER });
  await mkdir(at('trust/anchors'), { recursive: true });
  await copyFile(root.certificate, at('trust/anchors/root.pem'));
  await copyFile(signer.certificate, at(`trust/${UUID}.pem`));
  const bases = Array.from({ length: COUNT }, (_, number) => ({
    verification: { kind: 'verified', by: [bySignature(UUID)] } as const,
    signatures: [keptSignature(signer, UUID, Buffer.from(`${number}`).toString('base64'))],
    holders: [{ uuid: `u${number}`, name: `d${number}`, kind: 'defined' as const }],
  }));
  writeManyBases(at('.'), bases);
  for (let number = 0; number < COUNT; number += 1) {
    const file = at(`bases-rw/${manyBaseId(number)}.qcow2`);
    if (number === 0) await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, 'x');
    await utimes(file, 0.001, 0.001);
  }
  using siphond = run(folder.config);
  await ready(siphond);
  const siphon = (...args: readonly string[]) =>
    promisify(execFile)(process.execPath, [SIPHON, ...args], {
      env: { ...process.env, SIPHON_SOCKET: at('api.sock') },
      maxBuffer: 2 ** 28,
    });
  const times: number[] = [];
  let answerBytes = 0;
  for (let round = 0; round < rounds + 1; round += 1) {
    const beganMs = performance.now();
    const { stdout } = await siphon('trust', 'impact', 'root.pem', '--json');
    if (round > 0) times.push(performance.now() - beganMs); // the first reads the certificates
    answerBytes = stdout.length;
  }
  const ratio = IMPACT_MS_MAX / quantile(times, 1);
  yield {
    case: `siphon trust impact, ${COUNT} bases`,
    against: `${IMPACT_MS_MAX} ms`,
    ratio,
    target: 1,
    met: ratio >= 1,
    n: rounds,
    note: `p50 ${median(times).toFixed(0)} ms, the slowest ${quantile(times, 1).toFixed(0)} ms, Node's start within; ${answerBytes} bytes of JSON`,
  } satisfies BenchRow;
  yield await benchReach(at, siphon);
}

/** From the file in `revoked/` until no base is ready. */
async function benchReach(
  at: (name: string) => string,
  siphon: (...args: readonly string[]) => Promise<{ readonly stdout: string }>,
): Promise<BenchRow> {
  await mkdir(at('trust/revoked'), { recursive: true });
  const beganMs = performance.now();
  await writeFile(at(`trust/revoked/${UUID}`), '');
  for (;;) {
    const { stdout } = await siphon('list', '--json');
    const bases = JSON.parse(stdout) as readonly { readonly state: string }[];
    if (bases.every(({ state }) => state === 'suspect')) break;
    if (performance.now() - beganMs > REACH_MS_MAX) throw new Error('it never reached them');
  }
  const ms = performance.now() - beganMs;
  return {
    case: `a revocation reaches ${COUNT} bases`,
    against: `${REACH_MS_MAX} ms`,
    ratio: REACH_MS_MAX / ms,
    target: 1,
    met: true,
    n: 1,
    note: `${ms.toFixed(0)} ms until siphon list says so of all, to a question's time`,
  };
}
