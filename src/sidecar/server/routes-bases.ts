// /v1/warm, describe, manifest, table, source, path, bases, base, pin, unpin, evict, scrub, start: the cache.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { MANIFEST_BYTES_MAX } from '../../wire/verification-plan.ts';
import { IMAGE_STATUSES } from '../../wire/vocabulary.ts';
import type { ChangeParts } from './changes.ts';
import type { Services } from './services.ts';
import { answerLong } from './stream.ts';

const Text = z.string().min(1).max(4096);
const Properties = z.strictObject({
  status: z.enum(IMAGE_STATUSES).exactOptional(),
  disk_format: Text.exactOptional(),
  checksum: Text.exactOptional(),
  os_hash_algo: Text.exactOptional(),
  os_hash_value: Text.exactOptional(),
  img_signature: Text.exactOptional(),
  img_signature_hash_method: Text.exactOptional(),
  img_signature_key_type: Text.exactOptional(),
  img_signature_certificate_uuid: Text.exactOptional(),
});
const Warm = z.strictObject({
  source: Text,
  sha256: z.hash('sha256', { error: 'not 64 hex digits' }).toLowerCase().exactOptional(),
  sha512: z.hash('sha512', { error: 'not 128 hex digits' }).toLowerCase().exactOptional(),
  properties: Properties.exactOptional(),
  again: z.boolean().exactOptional(),
  wait: z.boolean().exactOptional(),
});
const Change = Text.nullable().exactOptional();
const Changes = z.strictObject({
  status: z.enum(IMAGE_STATUSES).nullable().exactOptional(),
  disk_format: Change,
  checksum: Change,
  os_hash_algo: Change,
  os_hash_value: Change,
  img_signature: Change,
  img_signature_hash_method: Change,
  img_signature_key_type: Change,
  img_signature_certificate_uuid: Change,
});
const Describe = z
  .strictObject({
    source: Text,
    properties: Properties.nullable().exactOptional(),
    change: Changes.exactOptional(),
  })
  .refine(({ properties, change }) => (properties === undefined) !== (change === undefined), {
    error: 'it is one of properties and change',
  });
const Pin = z.strictObject({ base: Text });
const Evict = z.strictObject({
  dryRun: z.boolean(),
  bases: z.array(Text).max(10_000).exactOptional(),
  isQuarantine: z.boolean().exactOptional(),
});
const Scrub = z.strictObject({
  bases: z.array(Text).min(1).max(10_000).exactOptional(),
  isDue: z.boolean().exactOptional(),
  isReportOnly: z.boolean().exactOptional(),
});
const Start = z.strictObject({ domain: Text });

const Ids = z.strictObject({
  fsid: Text,
  poolId: z.int(),
  namespace: z.string().max(4096),
  imageId: Text,
  snapId: z.int(),
});
const Manifest = z.strictObject({
  source: Text,
  envelope: z.string().max(MANIFEST_BYTES_MAX).nullable(),
  ids: Ids.exactOptional(),
});
/** Its quotes are escaped, and there is more in the body than it. */
const MANIFEST_BODY_BYTES_MAX = MANIFEST_BYTES_MAX + 1024 * 1024;
const Table = z.strictObject({ source: Text });

export function addBaseReads(app: FastifyInstance, services: Services): void {
  app.get('/v1/path', (request) =>
    services.path(z.strictObject({ source: Text }).parse(request.query).source),
  );
  app.get('/v1/source', (request) => services.showSource(Table.parse(request.query).source));
  app.get('/v1/manifest', (request) => services.getManifest(Table.parse(request.query).source));
  app.get('/v1/bases', () => services.listBases());
  app.get('/v1/quarantine', () => services.listQuarantine());
  app.get('/v1/base', (request) => services.getBase(Pin.parse(request.query).base));
}

export function addBaseChanges(app: FastifyInstance, { services, change }: ChangeParts): void {
  app.post('/v1/warm', async (request, reply) => {
    const asked = Warm.parse(request.body);
    const work = change(request, 'warm', asked.source, () => services.warm(asked));
    await answerLong(reply, services.jobs, work, asked.wait);
  });
  app.post('/v1/describe', async (request) => {
    const asked = Describe.parse(request.body);
    await change(request, 'describe', asked.source, () => services.describe(asked));
    return {};
  });
  app.post('/v1/manifest', { bodyLimit: MANIFEST_BODY_BYTES_MAX }, (request) => {
    const asked = Manifest.parse(request.body);
    return change(request, 'describe', asked.source, () => services.setManifest(asked));
  });
  app.post('/v1/table', async (request, reply) => {
    const asked = Table.parse(request.body);
    const work = change(request, 'sign', asked.source, () => services.table(asked));
    await answerLong(reply, services.jobs, work);
  });
  app.post('/v1/pin', (request) => {
    const { base } = Pin.parse(request.body);
    return change(request, 'pin', base, () => services.pin(base));
  });
  app.post('/v1/unpin', (request) => {
    const { base } = Pin.parse(request.body);
    return change(request, 'unpin', base, () => services.unpin(base));
  });
  app.post('/v1/evict', (request) => {
    const asked = Evict.parse(request.body);
    if (asked.dryRun) return services.evict(asked);
    const subject = asked.bases?.join(' ') ?? 'down to the limit';
    return change(request, 'evict', subject, () => services.evict(asked));
  });
  app.post('/v1/scrub', async (request, reply) => {
    const asked = Scrub.parse(request.body);
    const subject = asked.bases?.join(' ') ?? (asked.isDue ? 'what is due' : 'all');
    const work = change(request, 'scrub', subject, () => services.scrub(asked));
    await answerLong(reply, services.jobs, work);
  });
  app.post('/v1/start', async (request, reply) => {
    const { domain } = Start.parse(request.body);
    const work = change(request, 'start', domain, () => services.start(domain));
    await answerLong(reply, services.jobs, work);
  });
}
