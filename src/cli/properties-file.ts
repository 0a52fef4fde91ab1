// Reads the JSON that `openstack image show -f json` prints, and keeps what siphon knows of it.

import { readFile } from 'node:fs/promises';
import { type ErrorCode, OperatingError } from '../wire/errors.ts';
import type { SourceProperties } from '../wire/vocabulary.ts';

export const PROPERTIES = [
  'status',
  'disk_format',
  'checksum',
  'os_hash_algo',
  'os_hash_value',
  'img_signature',
  'img_signature_hash_method',
  'img_signature_key_type',
  'img_signature_certificate_uuid',
] as const satisfies readonly (keyof SourceProperties)[];

const HINT = 'Give the file that `openstack image show -f json IMAGE` writes.';
const READ_CODES: Readonly<Record<string, ErrorCode>> = { ENOENT: 'not-found', EISDIR: 'usage' };

/** @throws OperatingError `not-found`, `denied` or `usage`, naming the file. */
export async function readPropertiesFile(path: string): Promise<SourceProperties> {
  return parseProperties(await readText(path), path);
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const code = READ_CODES[(cause as NodeJS.ErrnoException).code ?? ''] ?? 'denied';
    throw new OperatingError({ code, op: 'read properties', subject: path, cause, hint: HINT });
  }
}

/** The client prints custom properties in an object, or (older ones) in a text of `key='value', …`. */
export function parseProperties(text: string, path: string): SourceProperties {
  const whole = parseObject(text, path);
  const nested = whole['properties'];
  const custom = typeof nested === 'string' ? parsePairs(nested) : isObject(nested) ? nested : {};
  const found: Record<string, string> = {};
  for (const key of PROPERTIES) {
    const value = whole[key] ?? custom[key];
    if (value === undefined || value === null) continue;
    if (typeof value !== 'string') throw malformed(path, `${key} is not text`);
    found[key] = value;
  }
  if (Object.keys(found).length === 0)
    throw malformed(path, `it has none of ${PROPERTIES.join(', ')}`);
  return found;
}

function parseObject(text: string, path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed(path, 'it is not JSON', cause);
  }
  if (!isObject(value)) throw malformed(path, 'it is not a JSON object');
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parsePairs(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/(\w+)='([^']*)'/g)].map((match) => [match[1] ?? '', match[2] ?? '']),
  );
}

function malformed(path: string, why: string, cause?: unknown): OperatingError {
  return new OperatingError({
    code: 'usage',
    op: 'read properties',
    subject: path,
    why,
    cause,
    hint: HINT,
  });
}
