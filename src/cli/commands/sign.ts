// siphon sign SOURCE --key KEY: states what each chunk of an image is, and attaches that.

import type { Command } from 'commander';
import type { ManifestFacts } from '../../wire/manifest-api.ts';
import { formatSize } from '../../wire/size.ts';
import { writeManifestFile } from '../manifest-file.ts';
import { print, printJson } from '../output.ts';
import { assertClaims, readKey, signSource } from '../sign-source.ts';

interface SignOptions {
  readonly key: string;
  readonly name?: string;
  readonly version?: string;
  readonly output?: string;
  readonly json?: true;
}

export function addSign(program: Command): void {
  program
    .command('sign')
    .description('read a source, sign what each chunk of it is, and attach that manifest to it')
    .argument('<SOURCE>')
    .requiredOption(
      '--key <KEY>',
      'a private key of Ed25519 or ECDSA P-256 (PEM, without a passphrase)',
    )
    .option('--name <NAME>', 'what it is, as you call it')
    .option('--version <VERSION>', 'of what it is')
    .option('--output <FILE>', 'write the manifest there, too')
    .option('--json', 'print JSON')
    .action(sign);
}

async function sign(source: string, options: SignOptions): Promise<void> {
  const { key: keyFile, name, version, output, json } = options;
  const claims = { ...(name !== undefined && { name }), ...(version !== undefined && { version }) };
  await assertClaims(claims);
  const key = await readKey(keyFile);
  const keep =
    output === undefined ? {} : { keep: (text: string) => writeManifestFile(output, text) };
  const facts = await signSource(source, key, { claims, isQuiet: json === true, ...keep });
  if (json) printJson(facts);
  else print(told(source, facts));
}

function told(source: string, { keyIds, sizeBytes, dataChunks, sha256 }: ManifestFacts): string {
  const what = `${formatSize(sizeBytes)}, ${dataChunks} chunks with data, table ${sha256}`;
  return `${source}  signed by key ${keyIds.join(', ')}: ${what}`;
}
