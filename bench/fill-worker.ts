// A fill worker of the installed program, from its start to its end.

import path from 'node:path';
import type { FillMethods } from '../src/wire/worker-protocol.ts';
import { startWorker } from '../src/worker/supervisor/index.ts';

const WORKER = path.join(import.meta.dirname, '../dist/worker.mjs');

export type FillPort = ReturnType<typeof startWorker<FillMethods>>;

export async function withFillWorker<T>(work: (port: FillPort) => Promise<T>): Promise<T> {
  await using port = startWorker<FillMethods>({
    role: 'fill',
    kind: 'one-shot',
    settings: null,
    program: { execPath: process.execPath, args: [WORKER] },
    log: { info: () => {}, warn: (_, text) => console.error(text) },
  });
  return await work(port);
}
