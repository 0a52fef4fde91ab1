// /v1/proofs: sets proven to be restorable.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ChangeParts } from './changes.ts';
import { answerLong } from './stream.ts';

const Text = z.string().min(1).max(1024);
const SETS_MAX = 100;
const Ask = z.union([
  z.strictObject({ set: Text }),
  z.strictObject({
    newest: z.strictObject({
      domains: z.array(Text).max(1000),
      max: z.int().min(1).max(SETS_MAX),
    }),
  }),
]);

export function addProofChanges(app: FastifyInstance, { services, change }: ChangeParts): void {
  app.post('/v1/proofs', async (request, reply) => {
    const asked = Ask.parse(request.body);
    const subject = 'set' in asked ? asked.set : asked.newest.domains.join(' ') || 'all domains';
    const work = change(request, 'verify-restore', subject, () => services.verifyRestore(asked));
    await answerLong(reply, services.jobs, work);
  });
}
