// /v1/status, /v1/pause, /v1/resume, /v1/reload and /metrics: siphond itself.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { PAUSABLE } from '../../wire/pause.ts';
import { type ChangeParts, userOf } from './changes.ts';
import type { Services } from './services.ts';

const Nothing = z.strictObject({});
const Pause = z.strictObject({ what: z.enum([...PAUSABLE, 'all']) });

export function addSiphondReads(app: FastifyInstance, services: Services): void {
  app.get('/v1/status', () => services.status());
  app.get('/metrics', async (_, reply) => {
    const { text, contentType } = await services.metrics();
    return reply.type(contentType).send(text);
  });
}

export function addSiphondChanges(app: FastifyInstance, { services, change }: ChangeParts): void {
  app.post('/v1/pause', (request) => {
    const asked = Pause.parse(request.body);
    return change(request, 'pause', asked.what, () => services.pause(asked, userOf(request)));
  });
  app.post('/v1/resume', (request) => {
    const asked = Pause.parse(request.body);
    return change(request, 'resume', asked.what, () => services.resume(asked));
  });
  app.post('/v1/reload', (request) => {
    Nothing.parse(request.body);
    return change(request, 'reload', 'config', () => services.reload());
  });
}
