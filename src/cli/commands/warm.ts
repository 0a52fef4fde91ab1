// siphon warm SOURCE…: fills the cache, with a progress bar a source.

import { type Command, InvalidArgumentError, Option } from 'commander';
import type { WarmRequest } from '../../wire/api.ts';
import { OperatingError } from '../../wire/errors.ts';
import { formatSize } from '../../wire/size.ts';
import type { Base } from '../../wire/vocabulary.ts';
import { createClient } from '../client.ts';
import { print, printJson, reportError } from '../output.ts';
import { readPropertiesFile } from '../properties-file.ts';
import { createScreen, follow, type Screen } from '../watch.ts';

/** Sources that one call asks siphond for at a time; siphond itself queues what it does not do at once. */
const ASKED_AT_ONCE = 8;

interface WarmOptions {
  readonly sha256?: string;
  readonly sha512?: string;
  readonly properties?: string;
  readonly again?: true;
  readonly json?: true;
}

export function addWarm(program: Command): void {
  program
    .command('warm')
    .description('fill the cache from RBD; wait until each base is complete')
    .argument('<SOURCE...>')
    .option('--sha256 <HEX>', "the SHA-256 that the source's bytes must have (one SOURCE)", hex(64))
    .option(
      '--sha512 <HEX>',
      "the SHA-512 that the source's bytes must have (one SOURCE)",
      hex(128),
    )
    .option('--properties <FILE>', "what 'openstack image show -f json' printed of it (one SOURCE)")
    .option('--again', 'fill anew what is here already: its bytes are in doubt')
    .addOption(new Option('--json', 'print JSON'))
    .action(warm);
}

/** A digest of so many hex digits. */
function hex(digits: number): (text: string) => string {
  return (text) => {
    if (/^[0-9a-f]*$/i.test(text) && text.length === digits) return text;
    throw new InvalidArgumentError(`It is a number of ${digits} hex digits.`);
  };
}

async function warm(sources: readonly string[], options: WarmOptions): Promise<void> {
  const { sha256, sha512, properties, again } = options;
  if (sources.length > 1 && (sha256 ?? sha512 ?? properties) !== undefined) {
    throw new OperatingError({
      code: 'usage',
      op: 'warm',
      subject: `${sources.length} sources`,
      why: '--sha256, --sha512 and --properties say something of one source',
      hint: 'Call siphon warm once for each source.',
    });
  }
  const extra = {
    ...(sha256 !== undefined && { sha256 }),
    ...(sha512 !== undefined && { sha512 }),
    ...(properties !== undefined && { properties: await readPropertiesFile(properties) }),
    ...(again && { again }),
  };
  const isJson = options.json === true;
  const failures: unknown[] = [];
  const bases: Base[] = [];
  using screen = createScreen(isJson);
  const waiting = sources.map((source) => ({ source, ...extra }));
  const runOne = async (): Promise<void> => {
    for (let request = waiting.shift(); request; request = waiting.shift()) {
      try {
        bases.push(await warmOne(request, screen));
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, runOne));
  screen[Symbol.dispose]();
  if (isJson) printJson(bases);
  else for (const base of bases) print(line(base));
  const exits = failures.map((error) => reportError(error, isJson));
  process.exitCode = exits[0] ?? 0;
}

async function warmOne(request: WarmRequest, screen: Screen): Promise<Base> {
  const lines = createClient().watch('/v1/warm', request);
  return (await follow(lines, request.source, screen)) as Base;
}

function line(base: Base): string {
  return `${base.id}  ${base.format}  ${formatSize(base.allocatedBytes)}  ${base.verification.kind}`;
}
