// siphon sign SOURCE --key KEY: states what each chunk of an image is, and attaches that. siphond reads the image; the key is read, and used, here alone.

import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { OperatingError } from '../../wire/errors.ts';
import type {
  ManifestFacts,
  ManifestRequest,
  TableAnswer,
  TableRequest,
} from '../../wire/manifest-api.ts';
import { formatSize } from '../../wire/size.ts';
import { createClient } from '../client.ts';
import { onFile, writeManifestFile } from '../manifest-file.ts';
import { print, printJson } from '../output.ts';
import { createScreen, follow } from '../watch.ts';

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
  // Not before it is needed: it takes longer to load than all the rest of this program.
  const { signManifest } = await import('../../trust/manifest/manifest.ts');
  const { ChunkTable } = await import('../../trust/manifest/chunk-table.ts');
  const claims = { ...(name !== undefined && { name }), ...(version !== undefined && { version }) };
  await assertClaims(claims);
  const key = await readKey(keyFile);
  const client = createClient();
  using screen = createScreen(json === true);
  const request: TableRequest = { source };
  const { ids, table } = (await follow(
    client.watch('/v1/table', request),
    source,
    screen,
  )) as TableAnswer;
  screen[Symbol.dispose]();
  const parsed = ChunkTable.parse(Buffer.from(table.base64, 'base64'));
  if (parsed.kind === 'none') throw new TypeError(`siphond's table: ${parsed.why}`);
  const envelope = signManifest(parsed.table, claims, key);
  if (output !== undefined) await writeManifestFile(output, envelope);
  const attach: ManifestRequest = { source, envelope, ids };
  const facts = await client.post<ManifestFacts>('/v1/manifest', attach);
  if (json) printJson(facts);
  else print(told(source, facts));
}

function told(source: string, { keyIds, sizeBytes, dataChunks, sha256 }: ManifestFacts): string {
  const what = `${formatSize(sizeBytes)}, ${dataChunks} chunks with data, table ${sha256}`;
  return `${source}  signed by key ${keyIds.join(', ')}: ${what}`;
}

async function assertClaims(claims: {
  readonly name?: string;
  readonly version?: string;
}): Promise<void> {
  const { whyNoClaim } = await import('../../trust/manifest/statement.ts');
  for (const [what, text] of Object.entries(claims)) {
    const why = whyNoClaim(text);
    if (why === undefined) continue;
    throw new OperatingError({ code: 'usage', op: 'sign', subject: `--${what}`, why });
  }
}

/** It is asked for nothing but this, and no word of it is in an error. */
async function readKey(path: string): Promise<KeyObject> {
  const { whyNotOurs } = await import('../../trust/manifest/keys.ts');
  const pem = await onFile('read key', path, () => readFile(path));
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    const isLocked = pem.includes('ENCRYPTED');
    throw noKey(path, isLocked ? 'it has a passphrase' : 'it is no private key in PEM');
  }
  const why = whyNotOurs(key);
  if (why !== undefined) throw noKey(path, why);
  return key;
}

function noKey(subject: string, why: string): OperatingError {
  const hint = 'Make one: openssl genpkey -algorithm ed25519 -out KEY.';
  return new OperatingError({ code: 'usage', op: 'read key', subject, why, hint });
}
