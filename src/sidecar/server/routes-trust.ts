// /v1/trust: what stands on whom.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Services } from './services.ts';

const Impact = z.strictObject({ key: z.string().min(1).max(4096) });

export function addTrustReads(app: FastifyInstance, services: Services): void {
  app.get('/v1/trust/impact', (request) => services.impact(Impact.parse(request.query).key));
}
