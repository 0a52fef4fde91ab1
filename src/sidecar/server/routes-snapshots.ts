// /v1/snapshots: snapshot sets.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ChangeParts } from './changes.ts';
import type { Services } from './services.ts';
import { answerLong } from './stream.ts';

const Text = z.string().min(1).max(4096);
const Create = z.strictObject({ domain: Text });
const List = z.strictObject({ domain: Text.exactOptional() });
const Delete = z.strictObject({ id: Text });

export function addSnapshotReads(app: FastifyInstance, services: Services): void {
  app.get('/v1/snapshots', (request) => services.listSnapshots(List.parse(request.query).domain));
}

export function addSnapshotChanges(app: FastifyInstance, { services, change }: ChangeParts): void {
  app.post('/v1/snapshots', async (request, reply) => {
    const { domain } = Create.parse(request.body);
    const work = change(request, 'snapshot create', domain, () => services.takeSnapshot(domain));
    await answerLong(reply, services.jobs, work);
  });
  app.delete('/v1/snapshots/:id', async (request) => {
    const { id } = Delete.parse(request.params);
    await change(request, 'snapshot delete', id, () => services.deleteSnapshot(id));
    return {};
  });
}
