// The `transfer` role: one export or import, then siphond ends the worker.

import assert from 'node:assert/strict';
import { exportSet } from '../../rbd-export/set/export-set.ts';
import type { TransferMethods } from '../../wire/transfer-protocol.ts';
import type { Role, StartRole } from '../role.ts';
import { during } from '../translate-error.ts';
import { Import } from './transfer/import.ts';
import { listenFor, type StreamClient } from './transfer/stream-client.ts';

export const startTransferRole = (() => {
  let client: Promise<StreamClient> | undefined;
  let running: Import | undefined;
  const clientOf = (signal: AbortSignal): Promise<StreamClient> => {
    assert(client, 'nobody listens');
    signal.addEventListener('abort', () => void client?.then((one) => one.destroy()));
    return client;
  };
  return {
    handlers: {
      async listen({ folder }) {
        const step = { op: 'listen', subject: folder };
        const listening = await during(step, () => listenFor(folder));
        client = listening.client;
        return listening.at;
      },
      exportSet: (spec, { signal, onProgress }) =>
        during({ op: 'export', subject: `set ${spec.set.id}` }, async () => {
          const to = await clientOf(signal);
          const { begun } = to.hello;
          const header = begun && Buffer.from(begun.header, 'base64');
          const result = await exportSet(spec, {
            ...(begun && header && { begun: { header, mark: begun.mark } }),
            write: (bytes) => to.write(bytes),
            signal,
            onProgress,
          });
          await to.end();
          return result;
        }),
      openImport: (spec, { signal }) =>
        during({ op: 'import', subject: spec.place.pool }, async () => {
          running = await Import.open(spec, await clientOf(signal));
          return running.plan;
        }),
      runImport: (how, { signal, onProgress }) =>
        during({ op: 'import', subject: how.setId }, async () => {
          assert(running, 'no import is open');
          return await running.run(how, signal, onProgress);
        }),
    },
  };
}) satisfies () => Role<TransferMethods> satisfies StartRole;
