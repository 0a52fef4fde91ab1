// /v1/leftovers: what a host that is gone has left in Ceph.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ChangeParts } from './changes.ts';
import { answerLong } from './stream.ts';

const Ask = z.strictObject({
  host: z.string().min(1).max(255),
  dryRun: z.boolean().exactOptional(),
});

export function addLeftoversChanges(app: FastifyInstance, { services, change }: ChangeParts): void {
  app.post('/v1/leftovers', async (request, reply) => {
    const asked = Ask.parse(request.body);
    const work = change(request, 'reconcile', asked.host, () => services.reconcile(asked));
    await answerLong(reply, services.jobs, work);
  });
}
