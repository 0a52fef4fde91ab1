// /v1/snapshots: snapshot sets.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Services } from './services.ts';
import { answerLong } from './stream.ts';

const Text = z.string().min(1).max(4096);
const Create = z.strictObject({ domain: Text });
const List = z.strictObject({ domain: Text.exactOptional() });
const Delete = z.strictObject({ id: Text });

export function addSnapshotRoutes(app: FastifyInstance, services: Services): void {
  app.post('/v1/snapshots', async (request, reply) => {
    await answerLong(
      reply,
      services.jobs,
      services.takeSnapshot(Create.parse(request.body).domain),
    );
  });
  app.get('/v1/snapshots', (request) => services.listSnapshots(List.parse(request.query).domain));
  app.delete('/v1/snapshots/:id', async (request) => {
    await services.deleteSnapshot(Delete.parse(request.params).id);
    return {};
  });
}
