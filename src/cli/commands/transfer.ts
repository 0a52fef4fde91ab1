// siphon export, siphon import: a set's disks to one file or pipe, and from it into a pool of this or another cluster.

import { constants, existsSync, writeSync } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import path from 'node:path';
import type { Command } from 'commander';
import { OperatingError } from '../../wire/errors.ts';
import { formatSize } from '../../wire/size.ts';
import type {
  ExportRequest,
  Hello,
  ImportRequest,
  TransferAnswer,
} from '../../wire/transfer-api.ts';
import type { ExportResult } from '../../wire/transfer-protocol.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';
import { createClient } from '../client.ts';
import { print, printJson } from '../output.ts';
import { withFile } from '../transfer/with-file.ts';
import { createScreen, follow } from '../watch.ts';
import { devicesOf } from './snapshot.ts';

interface ExportOptions {
  readonly to: string;
  readonly since?: string;
  readonly devices?: string;
  readonly json?: true;
}

interface ImportOptions {
  readonly to: string;
  readonly cluster?: string;
  readonly name?: string;
  readonly json?: true;
}

export function addTransfer(program: Command): void {
  program
    .command('export')
    .description(
      "a set's disks to one file or pipe: all of them, or what changed since another set",
    )
    .argument('<SET>')
    .requiredOption('--to <FILE>', 'a file that is not there, or - for standard output')
    .option('--since <SET>', 'only what changed since this set of the same disks')
    .option('--devices <LIST>', 'all, root, or targets: vda,vdb (default: all)')
    .option('--json', 'print JSON')
    .action(exportSet);
  program
    .command('import')
    .description('an export into a pool: new images, or those that it stands on')
    .argument('<FILE>', 'what siphon export wrote, or - for standard input')
    .requiredOption('--to <POOL>', 'POOL[/NAMESPACE]')
    .option('--cluster <NAME>', 'as the config names it (default: the default one)')
    .option(
      '--name <NAME>',
      'for the image; of several disks NAME-TARGET (default: as they were called)',
    )
    .option('--json', 'print JSON')
    .action(importSet);
}

async function exportSet(set: string, options: ExportOptions): Promise<void> {
  const { to, since, devices, json } = options;
  const request: ExportRequest = {
    set,
    ...(since !== undefined && { since }),
    ...(devices !== undefined && { devices: devicesOf(devices) }),
  };
  const isPipe = to === '-';
  if (isPipe && process.stdout.isTTY) throw onTerminal();
  const result = isPipe ? await exportToPipe(request, json) : await exportToFile(request, to, json);
  const { fileBytes, dataBytes, isResumed } = result;
  const size = `${formatSize(fileBytes)}, of which ${formatSize(dataBytes)} are the disks'`;
  if (isPipe) return;
  if (json) printJson({ ...result, file: to });
  else print(`${to}  ${size}${isResumed ? ', gone on with' : ''}`);
}

async function exportToPipe(request: ExportRequest, json: true | undefined): Promise<ExportResult> {
  // Elsewhere a reader that leaves early is no error; here it has not got it all.
  process.stdout.removeAllListeners('error').on('error', () => undefined); // each write says it
  return await receive(request, {}, json, (bytes) =>
    withFile('write', 'standard output', async () => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
      await promise;
    }),
  );
}

/** Into `FILE.partial`, which a cut export leaves, and the next goes on with. */
async function exportToFile(
  request: ExportRequest,
  file: string,
  json: true | undefined,
): Promise<ExportResult> {
  const partial = `${file}.partial`;
  await using handle = await openPartial(file, partial);
  const { readBegun } = await import('../transfer/begun.ts');
  const begun = await readBegun(handle);
  const from = begun?.mark.position ?? 0;
  await withFile('write', partial, () => handle.truncate(from));
  const hello: Hello =
    begun === undefined
      ? {}
      : { begun: { header: begun.header.toString('base64'), mark: begun.mark } };
  let at = from;
  const result = await receive(request, hello, json, async (bytes) => {
    await withFile('write', partial, async () => writeWhole(handle, bytes, at));
    at += bytes.length;
  });
  if (at !== result.fileBytes) throw short(partial, at, result.fileBytes);
  await withFile('write', file, async () => {
    await handle.sync();
    await rename(partial, file);
    await using folder = await open(path.dirname(file));
    await folder.sync();
  });
  return result;
}

/** Nobody else may read a disk of a guest. @throws OperatingError refused: the file is there */
async function openPartial(file: string, partial: string): Promise<FileHandle> {
  if (existsSync(file)) {
    const hint = 'Name another; or remove it, and the export is made anew.';
    const why = 'it is there already';
    throw new OperatingError({ code: 'refused', op: 'create', subject: file, why, hint });
  }
  const flags = constants.O_RDWR | constants.O_CREAT;
  return await withFile('create', partial, () => open(partial, flags, 0o600));
}

/** Into the page cache at once: a thread asked for each 200 KiB that a socket gives costs more than they do. */
function writeWhole(handle: FileHandle, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(handle.fd, bytes, done, bytes.length - done, position + done);
  }
}

async function receive(
  request: ExportRequest,
  hello: Hello,
  json: true | undefined,
  write: (bytes: Buffer) => Promise<void>,
): Promise<ExportResult> {
  const client = createClient();
  const { job, stream } = await client.post<TransferAnswer>('/v1/exports', request);
  const { receiveBytes } = await import('../transfer/pass-bytes.ts');
  using screen = createScreen(json === true, ENDS_WITH_COMMAND);
  const received = receiveBytes(stream, hello, write);
  received.catch(() => undefined); // it is waited for below
  const followed = follow(client.watchJob(job), request.set, screen);
  // Where this end fails, siphond's says only that it is gone.
  const [result] = await Promise.all([followed, received.then(() => undefined)]);
  return result as ExportResult;
}

async function importSet(file: string, options: ImportOptions): Promise<void> {
  const { to, cluster, name, json } = options;
  const { openInput } = await import('../transfer/input.ts');
  using input = await withFile('read', file, () => openInput(file));
  const request: ImportRequest = {
    to,
    ...(cluster !== undefined && { cluster }),
    ...(name !== undefined && { name }),
  };
  const client = createClient();
  const { job, stream } = await client.post<TransferAnswer>('/v1/imports', request);
  const { sendBytes } = await import('../transfer/pass-bytes.ts');
  using screen = createScreen(json === true, ENDS_WITH_COMMAND);
  const hello = input.fileBytes === undefined ? {} : { fileBytes: input.fileBytes };
  const sent = sendBytes(stream, hello, input);
  sent.catch(() => undefined); // the job's end says why
  const set = await follow(client.watchJob(job), file, screen);
  screen[Symbol.dispose]();
  tellSet(set as SnapshotSet, json);
}

function tellSet(set: SnapshotSet, json: true | undefined): void {
  if (json) return printJson(set);
  const images = set.disks.map(({ target, pool, namespace, image }) => {
    return `${target}=${[pool, namespace, image].filter((part) => part !== '').join('/')}`;
  });
  print([set.id, set.domainName, ...images].join('  '));
}

const ENDS_WITH_COMMAND =
  'left, and with it ends the work; the same command goes on where it ended';

function onTerminal(): OperatingError {
  const why = 'standard output is a terminal';
  const hint = 'Pass it on: siphon export SET --to - | ssh HOST siphon import - --to POOL';
  return new OperatingError({ code: 'usage', op: 'export', subject: '-', why, hint });
}

function short(subject: string, had: number, wanted: number): OperatingError {
  const why = `${had} bytes of ${wanted} came`;
  const hint = 'Ask for it again: it goes on where it ended.';
  return new OperatingError({ code: 'unavailable', op: 'export', subject, why, hint });
}
