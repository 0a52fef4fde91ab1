// A set's record as an export carries it. A file is not trusted to hold what siphon wrote: what is not as it must be is refused,
// what is not known is left out.

import { z } from 'zod';
import {
  LIFECYCLE_NAMES,
  RELEASE_REASONS,
  SET_EVENTS,
  type SnapshotSet,
} from '../wire/vocabulary.ts';

export const Text = z.string().min(1).max(4096);
export const Whole = z.number().int().nonnegative();
export const SetId = z.string().regex(/^[0-9a-z][0-9a-z-]{0,63}$/);
export const Target = z.string().regex(/^[0-9a-zA-Z]{1,32}$/);
export const DISKS_MAX = 256;
const XML_MAX = 16 * 1024 * 1024;

const Disk = z.object({
  target: Target,
  pool: Text,
  namespace: z.string().max(4096),
  image: Text,
  poolId: Whole,
  imageId: Text,
  snapId: Whole,
  sizeBytes: Whole,
});

const Wanted = z.object({
  devices: z.union([z.enum(['all', 'root']), z.array(Target).max(DISKS_MAX)]),
  quiesce: z.enum(['none', 'try', 'require']),
  instant: z.enum(['auto', 'suspend', 'none']),
});

/** What is of its own place alone (its policy, its files, whether it is protected) is not taken over. */
export const SetRecord = z.object({
  schema: z.literal(1),
  id: SetId,
  fsid: Text,
  domainUuid: z.uuid(),
  domainName: Text,
  host: Text,
  createdAtMs: Whole,
  event: z.enum(SET_EVENTS),
  reason: z.enum(RELEASE_REASONS).exactOptional(),
  lifecycle: z.enum(LIFECYCLE_NAMES).exactOptional(),
  wanted: Wanted,
  quiesced: z.enum(['none', 'filesystem', 'shutdown']),
  whyNotQuiesced: z.string().max(4096).exactOptional(),
  instant: z.enum(['none', 'single', 'barrier']),
  holdMs: z.number().nonnegative().exactOptional(),
  way: z.literal('native'),
  disks: z.array(Disk).min(1).max(DISKS_MAX),
  leftOut: z.array(z.object({ target: Text, why: z.string().max(4096) })).max(DISKS_MAX),
  domainXml: z.string().min(1).max(XML_MAX),
}) satisfies z.ZodType<SnapshotSet>;
