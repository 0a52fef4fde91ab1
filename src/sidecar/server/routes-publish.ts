// /v1/publish, /v1/flatten: sets made into images.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { FALLBACKS, FILE_FORMATS, FLATTENS } from '../../wire/publish-api.ts';
import type { ChangeParts } from './changes.ts';
import { answerLong } from './stream.ts';

const Text = z.string().min(1).max(4096);
const Place = z.string().regex(/^[^/@\s]+(\/[^/@\s]+)?$/, { error: 'a pool, or POOL/NAMESPACE' });
const Publish = z.strictObject({
  set: Text,
  to: Place,
  cluster: Text.exactOptional(),
  devices: z.union([z.enum(['all', 'root']), z.array(Text).min(1).max(100)]).exactOptional(),
  name: Text.exactOptional(),
  flatten: z.enum(FLATTENS).exactOptional(),
  fallback: z.enum(FALLBACKS).exactOptional(),
  format: z.enum(FILE_FORMATS).exactOptional(),
  encrypted: z.boolean().exactOptional(),
  wait: z.boolean().exactOptional(),
});
const Flatten = z.strictObject({ image: Text, cluster: z.boolean().exactOptional() });

export function addPublishChanges(app: FastifyInstance, { services, change }: ChangeParts): void {
  app.post('/v1/publish', async (request, reply) => {
    const asked = Publish.parse(request.body);
    const subject = `${asked.set} to ${asked.to}`;
    const work = change(request, 'publish', subject, () => services.publish(asked));
    await answerLong(reply, services.jobs, work);
  });
  app.post('/v1/flatten', async (request, reply) => {
    const asked = Flatten.parse(request.body);
    const work = change(request, 'flatten', asked.image, () => services.flatten(asked));
    await answerLong(reply, services.jobs, work);
  });
}
