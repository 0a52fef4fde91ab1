// Exports and imports at the worker: sets of images that `rbd` made, files, and what `rbd` says of the outcome.

import { createReadStream } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { receiveBytes, sendBytes } from '../../../src/cli/transfer/pass-bytes.ts';
import { headerBytesAfter, PREAMBLE_BYTES } from '../../../src/export-file/index.ts';
import type { Hello } from '../../../src/wire/transfer-api.ts';
import type {
  ExportResult,
  ExportSpec,
  ImportSpec,
  TransferMethods,
} from '../../../src/wire/transfer-protocol.ts';
import type { SetDisk, SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { startWorker, type Worker } from '../../../src/worker/supervisor/index.ts';
import { must, sh } from '../support/host.ts';
import { json, log, PROGRAM } from './ceph-worker.ts';

const long = { deadlineMs: 120_000 };

export const transferWorker = (): Worker<TransferMethods> =>
  startWorker<TransferMethods>({
    role: 'transfer',
    settings: null,
    kind: 'one-shot',
    program: PROGRAM,
    log,
  });

/** Snapshots of these images by `rbd`, as siphon's set of this id would have them. */
export async function setOf(
  id: string,
  images: Readonly<Record<string, string>>,
): Promise<SnapshotSet> {
  const { fsid } = await json<{ fsid: string }>('ceph', 'fsid');
  const disks: SetDisk[] = [];
  for (const [target, image] of Object.entries(images)) {
    await must('rbd', 'snap', 'create', '--no-progress', `${image}@siphon.${id}`);
    disks.push({ target, ...(await diskOf(image, `siphon.${id}`)) });
  }
  return {
    schema: 1,
    id,
    fsid,
    domainUuid: '5b1f0d6e-7c1d-4c55-9c3e-0a4f5d7e9b31',
    domainName: 'exported',
    host: 'h1',
    createdAtMs: 1_700_000_000_000,
    event: 'manual',
    wanted: { devices: 'all', quiesce: 'none', instant: 'none' },
    quiesced: 'none',
    instant: 'none',
    way: 'native',
    disks,
    leftOut: [],
    domainXml: '<domain><name>exported</name></domain>',
  };
}

async function diskOf(spec: string, snap: string): Promise<Omit<SetDisk, 'target'>> {
  const parts = spec.split('/');
  const [pool = '', namespace = '', image = ''] =
    parts.length === 3 ? parts : [parts[0], '', parts[1]];
  const pools = await json<{ pool_id: number; pool_name: string }[]>(
    'ceph',
    'osd',
    'pool',
    'ls',
    'detail',
  );
  const snaps = await json<{ id: number; name: string; size: number }[]>('rbd', 'snap', 'ls', spec);
  const { id: imageId } = await json<{ id: string }>('rbd', 'info', spec);
  const { id: snapId = 0, size: sizeBytes = 0 } = snaps.find(({ name }) => name === snap) ?? {};
  const poolId = pools.find(({ pool_name }) => pool_name === pool)?.pool_id ?? 0;
  return { pool, namespace, image, poolId, imageId, snapId, sizeBytes };
}

let count = 0;

/** Exports to a file, appending where it has begun already. */
export async function exportTo(
  file: string,
  spec: Omit<ExportSpec, 'id' | 'nowMs'>,
  hello: Hello = {},
): Promise<ExportResult> {
  await using worker = transferWorker();
  const at = await worker.call('listen', { folder: '/tmp' }, long);
  const id = (count += 1).toString(16).padStart(32, '0');
  const exporting = worker.call('exportSet', { ...spec, id, nowMs: 1 }, long);
  await using handle = await open(file, 'a');
  const received = receiveBytes(at, hello, (bytes) => handle.appendFile(bytes));
  const [result] = await Promise.all([exporting, received]);
  return result;
}

export interface Importing {
  readonly file: string;
  readonly spec: ImportSpec;
  readonly setId?: string;
  readonly onProgress?: (doneBytes: number, worker: Worker<TransferMethods>) => void;
  /** Instead of the whole file. */
  readonly bytes?: Buffer;
}

export async function importFrom({
  file,
  spec,
  setId,
  onProgress,
  bytes,
}: Importing): Promise<SnapshotSet> {
  await using worker = transferWorker();
  const at = await worker.call('listen', { folder: '/tmp' }, long);
  const all = bytes ?? (await readFile(file));
  const opening = worker.call('openImport', spec, long);
  const header = all.subarray(
    0,
    PREAMBLE_BYTES + headerBytesAfter(all.subarray(0, PREAMBLE_BYTES)),
  );
  const sending = sendBytes(
    at,
    { fileBytes: all.length },
    {
      header,
      async *from(position) {
        if (bytes === undefined) yield* createReadStream(file, { start: position });
        else yield bytes.subarray(position);
      },
    },
  );
  sending.catch(() => undefined); // the call says why
  const plan = await opening;
  const set = await worker.call(
    'runImport',
    { setId: setId ?? plan.setId, nowMs: Date.now() },
    { ...long, onProgress: ({ doneBytes }) => onProgress?.(doneBytes, worker) },
  );
  await sending;
  return set;
}

/** SHA-256 of what `rbd export` makes of it. */
export const sha256Of = (image: string): Promise<string> =>
  sh(`rbd export --no-progress '${image}' - | sha256sum | cut -d' ' -f1`);
