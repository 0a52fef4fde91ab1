// Every key of the config, read out of its shape: for the reference page, for what is allowed beside an unknown key, and for
// what a change of one takes. Pure.

import { z } from 'zod';
import { CONFIG_SHAPE } from './schema.ts';
import type { KeyFacts } from './types.ts';

export interface ConfigKey extends KeyFacts {
  /** `cache.limit`, `clusters.NAME.conf` */
  readonly key: string;
  readonly path: readonly string[];
  /** As the file would say it; undefined where there is none. */
  readonly fallback?: unknown;
}

/** All keys, in the order of the shape. */
export const CONFIG_KEYS: readonly ConfigKey[] = keysOf(CONFIG_SHAPE, []);

function keysOf(schema: z.ZodType, path: readonly string[]): ConfigKey[] {
  const { inner, fallback, facts } = unwrap(schema);
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape).flatMap(([key, each]) =>
      keysOf(each as z.ZodType, [...path, key]),
    );
  }
  if (inner instanceof z.ZodRecord) return keysOf(inner.valueType as z.ZodType, [...path, 'NAME']);
  return [{ ...facts, key: path.join('.'), path, fallback }];
}

interface Unwrapped {
  readonly inner: z.ZodType;
  readonly fallback?: unknown;
  readonly facts: KeyFacts;
}

/** The type within defaults and optionality, and what is known of the key around it. */
function unwrap(schema: z.ZodType): Unwrapped {
  const own = (schema.meta() ?? {}) as KeyFacts;
  if (schema instanceof z.ZodExactOptional) return withFacts(schema.unwrap() as z.ZodType, own);
  if (!(schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault))
    return { inner: schema, facts: own };
  return {
    ...withFacts(schema.unwrap() as z.ZodType, own),
    fallback: schema.def.defaultValue,
  };
}

function withFacts(schema: z.ZodType, outer: KeyFacts): Unwrapped {
  const { inner, facts } = unwrap(schema);
  return { inner, facts: { ...facts, ...outer } };
}

/** The type at a path; undefined where the shape has none. */
function typeAt(path: readonly PropertyKey[]): z.ZodType | undefined {
  let at: z.ZodType | undefined = CONFIG_SHAPE;
  for (const part of path) {
    if (at instanceof z.ZodObject) at = ownOf(at.shape, String(part));
    else if (at instanceof z.ZodArray) at = at.element as z.ZodType;
    else at = at instanceof z.ZodRecord ? (at.valueType as z.ZodType) : undefined;
    if (at !== undefined) at = unwrap(at).inner;
  }
  return at;
}

/** No key of a file finds what every object has: `constructor`. */
function ownOf(shape: z.core.$ZodShape, key: string): z.ZodType | undefined {
  return Object.hasOwn(shape, key) ? (shape[key] as z.ZodType) : undefined;
}

/** Whether a path is a table of keys. A user is one value, also where it is spelt as a table. */
export function isTable(path: readonly PropertyKey[]): boolean {
  const type = typeAt(path);
  return type instanceof z.ZodObject || type instanceof z.ZodRecord;
}

/** The keys that are allowed in the table at a path. */
export function keysAt(path: readonly PropertyKey[]): string[] {
  const type = typeAt(path);
  const table =
    type instanceof z.ZodUnion
      ? type.options.find((option) => option instanceof z.ZodObject)
      : type;
  return table instanceof z.ZodObject ? Object.keys(table.shape) : [];
}
