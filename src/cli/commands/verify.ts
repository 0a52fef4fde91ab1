// siphon verify-restore [SET | --newest [DOMAIN...]]: does what a set holds boot, and is it whole? And what a set says of that.

import { type Command, Option } from 'commander';
import { ERROR_TABLE, fromWire, OperatingError } from '../../wire/errors.ts';
import type {
  CheckedFilesystem,
  Proof,
  ProofRequest,
  ProofsAnswer,
} from '../../wire/verify-api.ts';
import { createClient } from '../client.ts';
import { print, printJson, reportError, time } from '../output.ts';
import { createScreen, follow } from '../watch.ts';

interface Options {
  readonly newest?: true;
  readonly max?: string;
  readonly json?: true;
}

export function addVerifyRestore(program: Command): void {
  program
    .command('verify-restore')
    .description(
      'boot clones of a set in a domain of its own, without a network, ask its agent, check its filesystems, and remove all of it again',
    )
    .argument('[SET|DOMAIN...]', 'a set; with --newest domains, by name or UUID (default: all)')
    .option(
      '--newest',
      'the newest set of each domain, those first that were tried the longest ago',
    )
    .addOption(
      new Option('--max <N>', 'with --newest: so many sets (default: 1)').implies({ newest: true }),
    )
    .option('--json', 'print JSON')
    .action(verify);
}

async function verify(names: readonly string[], options: Options): Promise<void> {
  const isJson = options.json === true;
  const request = requestOf(names, options);
  using screen = createScreen(isJson);
  const lines = createClient().watch('/v1/proofs', request);
  const answer = (await follow(lines, names.join(' ') || 'newest sets', screen)) as ProofsAnswer;
  screen[Symbol.dispose]();
  if (isJson) printJson(answer);
  else print(told(answer));
  for (const { error } of answer.failed) process.exitCode = reportError(fromWire(error), isJson);
  const isAllProven = answer.proofs.every(({ proof }) => proof.isProven);
  if (!isAllProven) process.exitCode = ERROR_TABLE.mismatch.exit;
}

function requestOf(names: readonly string[], { newest, max = '1' }: Options): ProofRequest {
  const [set] = names;
  if (newest !== true && set !== undefined && names.length === 1) return { set };
  if (newest !== true) throw wrongCall('one SET, or --newest, is needed');
  if (!/^[1-9]\d{0,2}$/.test(max)) throw wrongCall('--max is a whole number from 1 on');
  return { newest: { domains: names, max: Number(max) } };
}

function wrongCall(why: string): OperatingError {
  const hint = 'siphon verify-restore --help tells how.';
  const fields = { code: 'usage', op: 'read arguments', subject: 'siphon verify-restore' } as const;
  return new OperatingError({ ...fields, why, hint });
}

function told({ proofs, failed, later }: ProofsAnswer): string {
  if (proofs.length + failed.length + later.length === 0) return 'No snapshot sets.';
  return [
    ...proofs.map(({ set, domain, proof }) => {
      return [`${set}  ${domain}  ${proofText(proof)}`, ...seenOf(proof)].join('\n  ');
    }),
    ...(later.length === 0 ? [] : [`Later: ${later.map(({ domain }) => domain).join(', ')}`]),
  ].join('\n');
}

/** In one line: proven at which time, or why not. */
export function proofText({ isProven, atMs, level = 'agent', why, whyNotChecked }: Proof): string {
  if (!isProven) return `not proven (${time(atMs)}): ${why ?? 'its guest was not seen'}`;
  const less = whyNotChecked === undefined ? '' : `; not checked: ${whyNotChecked}`;
  return `proven at ${time(atMs)} (${level})${less}`;
}

/** In one word, for a column. */
export function proofWord(proof: Proof | undefined): string {
  if (proof === undefined) return '-';
  return proof.isProven ? `proven ${time(proof.atMs)}` : 'not proven';
}

/** What was seen of its guest: a line for each. */
export function seenOf({ bootMs, os, agent, filesystems, checks }: Proof): readonly string[] {
  if (bootMs === undefined) return [];
  const seconds = Math.round(bootMs / 1000);
  return [
    `${os ?? 'a guest of no name'}, agent ${agent ?? '-'}, after ${seconds} s`,
    ...filesystems.map(({ mountpoint, device, type, disks }) => {
      const on = disks.length === 0 ? '' : ` of ${disks.join(', ')}`;
      return `mounted ${mountpoint}: ${device} (${type})${on}`;
    }),
    ...checks.map(checkText),
  ];
}

function checkText({ target, partition, type, result, why }: CheckedFilesystem): string {
  const at = `${target}${partition === undefined ? '' : ` ${partition}`}`;
  return `${result} ${at} (${type})${why === undefined ? '' : `: ${why}`}`;
}
