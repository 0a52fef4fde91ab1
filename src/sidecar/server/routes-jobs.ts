// /v1/jobs: the journal.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { JobsAnswer } from '../../wire/api.ts';
import type { JobRecord } from '../../wire/journal.ts';
import { mustBe } from '../journal.ts';
import type { ChangeParts } from './changes.ts';
import type { Services } from './services.ts';
import { streamJob } from './stream.ts';

const LIMIT = 100;
const List = z.strictObject({ limit: z.coerce.number().int().min(1).max(1000).default(LIMIT) });
const One = z.strictObject({ id: z.string().min(1).max(64) });

type JobAnswer = JobsAnswer['jobs'][number];

export function addJobReads(app: FastifyInstance, { jobs }: Pick<Services, 'jobs'>): void {
  const withProgress = (record: JobRecord): JobAnswer => {
    const progress = jobs.progressOf(record.id);
    return progress === undefined ? record : { ...record, progress };
  };
  app.get('/v1/jobs', (request): JobsAnswer => {
    return { jobs: jobs.list(List.parse(request.query).limit).map(withProgress) };
  });
  app.get('/v1/jobs/:id', (request): JobAnswer => {
    const { id } = One.parse(request.params);
    return withProgress(mustBe(jobs.get(id), id));
  });
  app.get('/v1/jobs/:id/watch', (request, reply) => {
    streamJob(reply, jobs, One.parse(request.params).id);
  });
}

export function addJobChanges(app: FastifyInstance, { services, change }: ChangeParts): void {
  app.post('/v1/jobs/:id/cancel', (request): Promise<JobAnswer> => {
    const { id } = One.parse(request.params);
    return change(request, 'cancel', id, () => services.jobs.cancel(id));
  });
}
