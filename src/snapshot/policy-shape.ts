// What a file of policies may hold: every key with its default and what is allowed. docs/snapshots.md tells what each means.

import { z } from 'zod';
import { type KeepCounts, PERIODS } from '../wire/keep.ts';
import { FALLBACKS, FLATTENS } from '../wire/publish-api.ts';
import { SCHEDULE_ALLOWED } from '../wire/schedule.ts';
import { DURATION_ALLOWED, parseDuration } from '../wire/units.ts';
import { POLICY_EVENTS, type Policy, type Wanted } from '../wire/vocabulary.ts';

/** What is asked for where nobody says more. */
export const WANTED_DEFAULT: Wanted = { devices: 'all', quiesce: 'try', instant: 'auto' };

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const TARGET = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/;
const PLACE = /^[^/@\s]+(\/[^/@\s]+)?$/;
const CLUSTER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const TAG = /^[A-Za-z0-9][A-Za-z0-9._:=-]{0,127}$/;

function listOf<T extends z.ZodType>(each: T, allowed: string) {
  return z
    .array(each, { error: allowed })
    .min(1, { error: allowed, abort: true })
    .max(1000, { error: allowed });
}

function wordsOf(pattern: RegExp, allowed: string) {
  return listOf(z.string({ error: allowed }).regex(pattern, { error: allowed }), allowed);
}

function oneOf<const T extends readonly [string, ...string[]]>(...words: T) {
  return z.enum(words, { error: `one of ${words.join(', ')}` });
}

const NAME_ALLOWED = "a name of letters, digits, . _ -, at most 64 long, and not 'off'";
const KEEP_ALLOWED = 'a whole number from 1 to 1000';
const PERIODS_ALLOWED = 'a whole number from 0 to 1000';
const PLACE_ALLOWED = 'a pool, or POOL/NAMESPACE, or file';
const CLUSTER_ALLOWED = 'a cluster as the config names it';
const GLOBS_ALLOWED = 'a list of at least one glob, each of 1 to 256 characters';
const ON_ALLOWED = `a list of at least one of ${POLICY_EVENTS.join(', ')}`;
const DEVICES_ALLOWED = 'all, root, or a list of at least one target such as "vda"';
const JITTER_MS_MAX = 24 * 3_600_000;
const JITTER_ALLOWED = `${DURATION_ALLOWED}, at most 24h`;
const AGE_ALLOWED = `${DURATION_ALLOWED}, of at least 1min`;

const Glob = z
  .string({ error: GLOBS_ALLOWED })
  .min(1, { error: GLOBS_ALLOWED })
  .max(256, { error: GLOBS_ALLOWED });

/** In ms, within bounds. */
function duration(least: number, most: number, allowed: string) {
  return z.string({ error: allowed }).transform((written, context) => {
    const ms = parseDuration(written);
    if (ms !== undefined && ms >= least && ms <= most) return ms;
    context.addIssue({ code: 'custom', message: allowed, input: written });
    return z.NEVER;
  });
}

const Age = duration(60_000, Number.POSITIVE_INFINITY, AGE_ALLOWED);
const Jitter = duration(0, JITTER_MS_MAX, JITTER_ALLOWED);

const KEEP_PERIOD = z
  .int({ error: PERIODS_ALLOWED })
  .min(0, { error: PERIODS_ALLOWED })
  .max(1000, { error: PERIODS_ALLOWED })
  .exactOptional();

const SELECTS = ['domains', 'uuids', 'tags'] as const;

const Shape = z.strictObject({
  name: z
    .string({ error: NAME_ALLOWED })
    .regex(NAME, { error: NAME_ALLOWED })
    .refine((name) => name !== 'off', { error: NAME_ALLOWED }),
  domains: listOf(Glob, GLOBS_ALLOWED).default([]),
  uuids: wordsOf(UUID, 'a list of at least one UUID in lower case').default([]),
  tags: wordsOf(TAG, 'a list of at least one KEY or KEY=VALUE').default([]),
  on: listOf(z.enum(POLICY_EVENTS, { error: ON_ALLOWED }), ON_ALLOWED).exactOptional(),
  schedule: z
    .string({ error: SCHEDULE_ALLOWED })
    .min(1, { error: SCHEDULE_ALLOWED })
    .max(256, { error: SCHEDULE_ALLOWED })
    .exactOptional(),
  catch_up: z.boolean({ error: 'true or false' }).exactOptional(),
  jitter: Jitter.exactOptional(),
  devices: z
    .union([z.enum(['all', 'root']), wordsOf(TARGET, DEVICES_ALLOWED)], { error: DEVICES_ALLOWED })
    .default(WANTED_DEFAULT.devices as 'all'),
  quiesce: oneOf('none', 'try', 'require').default(WANTED_DEFAULT.quiesce),
  instant: oneOf('auto', 'suspend', 'none').default(WANTED_DEFAULT.instant),
  keep_last: z
    .int({ error: KEEP_ALLOWED })
    .min(1, { error: KEEP_ALLOWED })
    .max(1000, { error: KEEP_ALLOWED }),
  keep_hourly: KEEP_PERIOD,
  keep_daily: KEEP_PERIOD,
  keep_weekly: KEEP_PERIOD,
  keep_monthly: KEEP_PERIOD,
  keep_yearly: KEEP_PERIOD,
  max_age: Age.exactOptional(),
  publish_to: z
    .string({ error: PLACE_ALLOWED })
    .regex(PLACE, { error: PLACE_ALLOWED })
    .exactOptional(),
  publish_cluster: z
    .string({ error: CLUSTER_ALLOWED })
    .regex(CLUSTER, { error: CLUSTER_ALLOWED })
    .exactOptional(),
  flatten: oneOf(...FLATTENS).exactOptional(),
  fallback: oneOf(...FALLBACKS).exactOptional(),
});
const Checked = Shape.superRefine((policy, context) => {
  // Of no domain at all, or of all: which of the two is not guessed.
  if (SELECTS.every((key) => policy[key].length === 0)) {
    const message = `at least one of ${SELECTS.join(', ')}; domains = ["*"] means every domain`;
    context.addIssue({ code: 'custom', path: ['domains'], message });
  }
  for (const key of ['catch_up', 'jitter'] as const) {
    if (policy.schedule !== undefined || policy[key] === undefined) continue;
    context.addIssue({ code: 'custom', path: [key], message: 'only beside a schedule' });
  }
});

/** As the rest of siphon knows it. */
export function toPolicy({ keep_last: keepLast, ...written }: z.output<typeof Shape>): Policy {
  const { name, domains, uuids, tags, devices, quiesce, instant, schedule, max_age } = written;
  const { publish_to: publishTo, publish_cluster, flatten, fallback } = written;
  const on = written.on ?? (schedule === undefined ? ['shutdown' as const] : []);
  const keepPeriods: { -readonly [K in keyof KeepCounts['keepPeriods']]: number } = {};
  for (const period of PERIODS) {
    const count = written[`keep_${period}`];
    if (count !== undefined) keepPeriods[period] = count;
  }
  const stated = { name, domains, uuids, tags, on, devices, quiesce, instant };
  return {
    ...stated,
    keepLast,
    keepPeriods,
    ...(max_age !== undefined && { maxAgeMs: max_age }),
    ...(publishTo !== undefined && { publishTo }),
    ...(publish_cluster !== undefined && { publishCluster: publish_cluster }),
    ...(flatten !== undefined && { flatten }),
    ...(fallback !== undefined && { fallback }),
    ...(schedule !== undefined && {
      schedule: {
        calendar: schedule,
        isCaughtUp: written.catch_up ?? true,
        jitterMs: written.jitter ?? 0,
      },
    }),
  };
}

/** One file. */
export const POLICY_FILE = z.strictObject({ policy: z.array(Checked).default([]) });

export const POLICY_KEYS: readonly string[] = Object.keys(Shape.shape);
