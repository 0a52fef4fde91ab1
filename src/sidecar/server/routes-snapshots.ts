// /v1/snapshots: snapshot sets.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ChangeParts } from './changes.ts';
import type { Services } from './services.ts';
import { answerLong } from './stream.ts';

const Text = z.string().min(1).max(4096);
const DOMAINS_MAX = 64;
const Create = z.strictObject({
  domains: z.array(Text).min(1).max(DOMAINS_MAX),
  devices: z.union([z.enum(['all', 'root']), z.array(Text).min(1).max(100)]).exactOptional(),
  quiesce: z.enum(['none', 'try', 'require']).exactOptional(),
  instant: z.enum(['auto', 'suspend', 'none']).exactOptional(),
});
const List = z.strictObject({
  domain: Text.exactOptional(),
  allHosts: z.enum(['true', 'false']).default('false'),
});
const One = z.strictObject({ id: Text });
const Prune = z.strictObject({ dryRun: z.boolean(), domain: Text.exactOptional() });
const Nothing = z.strictObject({});

export function addSnapshotReads(app: FastifyInstance, services: Services): void {
  app.get('/v1/snapshots', (request) => {
    const { domain, allHosts } = List.parse(request.query);
    return services.listSnapshots(domain, allHosts === 'true');
  });
  app.get('/v1/snapshots/:id', (request) => {
    return services.getSnapshot(One.parse(request.params).id);
  });
}

export function addSnapshotChanges(app: FastifyInstance, { services, change }: ChangeParts): void {
  app.post('/v1/snapshots', async (request, reply) => {
    const asked = Create.parse(request.body);
    const subject = asked.domains.join(' ');
    const work = change(request, 'snapshot create', subject, () => services.takeSnapshots(asked));
    await answerLong(reply, services.jobs, work);
  });
  app.delete('/v1/snapshots/:id', async (request) => {
    const { id } = One.parse(request.params);
    await change(request, 'snapshot delete', id, () => services.deleteSnapshot(id));
    return {};
  });
  for (const what of ['protect', 'unprotect'] as const) {
    app.post(`/v1/snapshots/:id/${what}`, (request) => {
      Nothing.parse(request.body);
      const { id } = One.parse(request.params);
      const work = () => services.protectSnapshot(id, what === 'protect');
      return change(request, `snapshot ${what}`, id, work);
    });
  }
  app.post('/v1/prune', (request) => {
    const asked = Prune.parse(request.body);
    if (asked.dryRun) return services.prune(asked);
    const subject = asked.domain ?? 'all domains';
    return change(request, 'snapshot prune', subject, () => services.prune(asked));
  });
}
