// The types of the config's values, each with what is allowed, for people.

import { z } from 'zod';
import { DURATION_ALLOWED, parseDuration, parseSize, SIZE_ALLOWED } from '../../wire/units.ts';

/** A cephx entity's id, a cluster's name: what needs no quoting anywhere. */
export const WORD = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** What a key of the file is besides its type, for people; `change`: what a change of it takes. */
export interface KeyFacts {
  readonly description?: string;
  readonly allowed?: string;
  readonly change?: 'restart';
}
export const RESTART = { change: 'restart' } as const satisfies KeyFacts;

export const text = (allowed: string, test: (text: string) => boolean) =>
  z.string({ error: allowed }).refine(test, { error: allowed }).meta({ allowed });

export const path = () =>
  text('an absolute path without .. or a NUL byte', (each) => {
    return each.startsWith('/') && !each.includes('\0') && !each.split('/').includes('..');
  });

const FOLDERS_ALLOWED = 'a list of at most 100 absolute paths without .. or a NUL byte';
export const folders = () =>
  z
    .array(path(), { error: FOLDERS_ALLOWED })
    .max(100, { error: FOLDERS_ALLOWED })
    .meta({ allowed: FOLDERS_ALLOWED });

const SOCKET_ALLOWED = 'an absolute path of at most 107 bytes';
/** Unix socket paths end at 107 bytes (unix(7), sun_path). */
export const socket = () =>
  path()
    .refine((each) => Buffer.byteLength(each) <= 107, { error: SOCKET_ALLOWED })
    .meta({ allowed: SOCKET_ALLOWED });

function measured(
  parse: (text: string) => number | undefined,
  min: number,
  max: number,
  allowed: string,
) {
  const checked = z.string({ error: allowed }).transform((written, context) => {
    const value = parse(written);
    if (value !== undefined && value >= min && value <= max) return value;
    context.addIssue({ code: 'custom', message: allowed, input: written });
    return z.NEVER;
  });
  return checked.meta({ allowed });
}

export const size = (min = 0) => measured(parseSize, min, Number.MAX_SAFE_INTEGER, SIZE_ALLOWED);
export const duration = (min: number, max: number, range: string) =>
  measured(parseDuration, min, max, `${DURATION_ALLOWED}, ${range}`);

export function oneOf<const T extends readonly [string, ...string[]]>(...words: T) {
  const allowed = `one of ${words.map((word) => `"${word}"`).join(', ')}`;
  return z.enum(words, { error: allowed }).meta({ allowed });
}

export function someOf<const T extends readonly [string, ...string[]]>(...words: T) {
  const allowed = `a list of some of ${words.map((word) => `"${word}"`).join(', ')}`;
  return z.array(z.enum(words, { error: allowed }), { error: allowed }).meta({ allowed });
}

const USER_ALLOWED = 'a cephx user without "client.", or { name = USER, keyring = PATH }';
const userName = () => text(USER_ALLOWED, (each) => WORD.test(each) && !each.startsWith('client.'));
export const user = () => {
  const long = z.strictObject({ name: userName(), keyring: path().exactOptional() });
  const short = userName().transform((name) => ({ name }));
  return z.union([short, long], { error: USER_ALLOWED }).meta({ allowed: USER_ALLOWED });
};

export function wholeNumber(min: number, max: number) {
  const error = `a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error }).meta({ allowed: error });
}
