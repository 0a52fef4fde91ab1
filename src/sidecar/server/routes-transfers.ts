// /v1/exports, /v1/imports: jobs whose bytes pass on a socket of their own.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ChangeParts } from './changes.ts';

const Text = z.string().min(1).max(4096);
const Export = z.strictObject({
  set: Text,
  since: Text.exactOptional(),
  devices: z.union([z.enum(['all', 'root']), z.array(Text).min(1).max(100)]).exactOptional(),
});
const Import = z.strictObject({
  to: z.string().regex(/^[^/@]+(\/[^/@]+)?$/, 'POOL or POOL/NAMESPACE'),
  cluster: Text.exactOptional(),
  name: z
    .string()
    .regex(/^[^/@]{1,64}$/, 'a name of an image')
    .exactOptional(),
});

export function addTransferChanges(app: FastifyInstance, { services, change }: ChangeParts): void {
  app.post('/v1/exports', (request) => {
    const asked = Export.parse(request.body);
    return change(request, 'export', asked.set, () => services.transfers.export(asked));
  });
  app.post('/v1/imports', (request) => {
    const asked = Import.parse(request.body);
    return change(request, 'import', asked.to, () => services.transfers.import(asked));
  });
}
