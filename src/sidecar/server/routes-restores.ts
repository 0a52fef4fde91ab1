// /v1/restores: disks put back, new domains and clones from snapshot sets, and their undoing.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ChangeParts } from './changes.ts';
import type { Services } from './services.ts';
import { answerLong } from './stream.ts';

const Text = z.string().min(1).max(1024);
/** libvirt takes more; image names and files are made of it. */
const Name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, 'letters, digits, . _ -; up to 64');
const Restore = z
  .strictObject({
    set: Text,
    devices: z.union([z.enum(['all', 'root']), z.array(Text).min(1).max(100)]).exactOptional(),
    rollback: z.boolean().exactOptional(),
    as: Name.exactOptional(),
    clone: Text.exactOptional(),
    to: Text.exactOptional(),
    flatten: z.boolean().exactOptional(),
  })
  .refine(
    ({ rollback = false, as, clone }) =>
      [rollback, as !== undefined, clone !== undefined].filter(Boolean).length <= 1,
    'rollback, as and clone: one of them at most',
  )
  .refine(({ clone, to }) => (clone === undefined) === (to === undefined), 'clone goes with to')
  .refine(
    ({ clone, devices }) => clone === undefined || devices === undefined,
    'clone is of one disk: no devices',
  )
  .refine(
    ({ rollback, flatten }) => rollback !== true || flatten !== true,
    'a rollback makes no clone to flatten',
  );
const Undo = z.strictObject({ restore: Text });

export function addRestoreReads(app: FastifyInstance, services: Services): void {
  app.get('/v1/restores', () => services.listRestores());
}

export function addRestoreChanges(app: FastifyInstance, { services, change }: ChangeParts): void {
  app.post('/v1/restores', async (request, reply) => {
    const asked = Restore.parse(request.body);
    const work = change(request, 'restore', asked.set, () => services.restore(asked));
    await answerLong(reply, services.jobs, work);
  });
  app.post('/v1/restores/undo', async (request, reply) => {
    const { restore } = Undo.parse(request.body);
    const work = change(request, 'restore undo', restore, () => services.undoRestore(restore));
    await answerLong(reply, services.jobs, work);
  });
}
