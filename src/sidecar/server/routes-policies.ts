// /v1/policies: what is in force, and what would happen at an event of a domain.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Services } from './services.ts';

const Text = z.string().min(1).max(4096);
const Test = z.strictObject({ domain: Text, event: Text });

export function addPolicyReads(app: FastifyInstance, services: Services): void {
  app.get('/v1/policies', () => services.listPolicies());
  app.get('/v1/policies/test', (request) => {
    const { domain, event } = Test.parse(request.query);
    return services.testPolicy(domain, event);
  });
}
