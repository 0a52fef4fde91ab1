// The config file to the config, or to every problem in it, each with its line, its key and what is allowed there.

import { readFile } from 'node:fs/promises';
import { parse, TomlError } from 'smol-toml';
import { z } from 'zod';
import type { DiskFormat } from '../../wire/vocabulary.ts';
import type { CephSettings } from '../../wire/worker-protocol.ts';
import { locate } from './locate.ts';
import { CONFIG_SCHEMA, type ConfigFile } from './schema.ts';

export const CONFIG_PATH = '/etc/siphon/siphon.toml';
/** A config of more bytes is a mistake. */
const CONFIG_BYTES_MAX = 1024 * 1024;

export interface Config {
  readonly cache: {
    readonly path: string;
    readonly mount: string;
    readonly limitBytes: number;
    readonly reserveBytes: number;
    readonly fillConcurrency: number;
    readonly rawBecomes: DiskFormat;
  };
  readonly clusters: readonly ClusterConfig[];
  readonly trust: { readonly folder: string };
  readonly hook: { readonly fillWaitMs: number; readonly spool: string };
  readonly snapshot: { readonly policies: string };
  readonly libvirt: { readonly uri: string };
  readonly state: { readonly path: string };
  readonly api: { readonly socket: string; readonly hookSocket: string };
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error' };
}

export interface ClusterConfig {
  readonly name: string;
  readonly isDefault: boolean;
  readonly settings: CephSettings;
}

export interface ConfigProblem {
  readonly file: string;
  /** From 1; undefined where the file says nothing about it. */
  readonly line?: number;
  /** `cache.limit`; '' for the file itself. */
  readonly key: string;
  readonly what: string;
}

export type LoadedConfig =
  | { readonly kind: 'config'; readonly config: Config }
  | { readonly kind: 'bad'; readonly problems: readonly ConfigProblem[] };

/** Loads a config. Where the default path does not exist, the defaults are the config. Any other path must exist. */
export async function loadConfig(file = CONFIG_PATH): Promise<LoadedConfig> {
  const read = await readText(file);
  return typeof read === 'string' ? parseConfig(read, file) : { kind: 'bad', problems: [read] };
}

async function readText(file: string): Promise<string | ConfigProblem> {
  try {
    const bytes = await readFile(file);
    if (bytes.length <= CONFIG_BYTES_MAX) return bytes.toString();
    return { file, key: '', what: `it is longer than ${CONFIG_BYTES_MAX} bytes` };
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' && file === CONFIG_PATH) return '';
    return { file, key: '', what: code === 'ENOENT' ? 'it does not exist' : message };
  }
}

/** The pure half of {@link loadConfig}. `file` is for the problems alone. */
export function parseConfig(toml: string, file: string): LoadedConfig {
  let written: unknown;
  try {
    written = parse(toml);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const what = cause.message.split('\n')[0] ?? 'not TOML';
    return { kind: 'bad', problems: [{ file, line: cause.line, key: '', what }] };
  }
  const checked = CONFIG_SCHEMA.safeParse(written);
  if (checked.success) return { kind: 'config', config: toConfig(checked.data) };
  const lineOf = locate(toml);
  const problems = checked.error.issues.flatMap((issue) => problemsOf(issue, file, lineOf));
  return { kind: 'bad', problems: problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0)) };
}

type LineOf = ReturnType<typeof locate>;

function problemsOf(issue: z.core.$ZodIssue, file: string, lineOf: LineOf): ConfigProblem[] {
  const at = (path: readonly PropertyKey[], what: string): ConfigProblem => {
    const line = lineOf(path);
    const key = path
      .map(String)
      .filter((part) => part !== '')
      .join('.');
    return line === undefined ? { file, key, what } : { file, line, key, what };
  };
  if (issue.code === 'unrecognized_keys') {
    const allowed = keysAt(issue.path);
    return issue.keys.map((key) =>
      at([...issue.path, key], `unknown key; allowed here: ${allowed.join(', ')}`),
    );
  }
  if (issue.code === 'invalid_key')
    return [at(issue.path, `must be ${issue.issues[0]?.message ?? 'another key'}`)];
  if (issue.code === 'invalid_type' && issue.expected === 'object')
    return [at(issue.path, 'must be a table')];
  if (issue.code === 'invalid_type' && issue.expected === 'record')
    return [at(issue.path, 'must be a table of tables')];
  return [at(issue.path, `must be ${issue.message}`)];
}

/** The keys that the schema has at a path: asked for an unknown one's neighbours. */
function keysAt(path: readonly PropertyKey[]): string[] {
  let at: z.ZodType = CONFIG_SCHEMA;
  for (const part of path) {
    at = unwrapped(at);
    if (at instanceof z.ZodObject) at = at.shape[String(part)] as z.ZodType;
    else if (at instanceof z.ZodRecord) at = at.valueType as z.ZodType;
  }
  at = unwrapped(at);
  if (at instanceof z.ZodUnion) at = at.options.find((each) => each instanceof z.ZodObject) ?? at;
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrapped(schema: z.ZodType): z.ZodType {
  let at = schema;
  while (
    at instanceof z.ZodPrefault ||
    at instanceof z.ZodDefault ||
    at instanceof z.ZodExactOptional
  ) {
    at = at.unwrap() as z.ZodType;
  }
  return at;
}

function toConfig(file: ConfigFile): Config {
  const { cache, hook, api } = file;
  return {
    cache: {
      path: cache.path,
      mount: cache.mount,
      limitBytes: cache.limit,
      reserveBytes: cache.reserve,
      fillConcurrency: cache.fill_concurrency,
      rawBecomes: cache.raw_becomes,
    },
    clusters: Object.entries(file.clusters).map(([name, cluster], _, all) => ({
      name,
      isDefault: all.length === 1 || cluster.default === true,
      settings: toSettings(cluster),
    })),
    trust: file.trust,
    hook: { fillWaitMs: hook.fill_wait, spool: hook.spool },
    snapshot: file.snapshot,
    libvirt: file.libvirt,
    state: file.state,
    api: { socket: api.socket, hookSocket: api.hook_socket },
    log: file.log,
  };
}

function toSettings(cluster: ConfigFile['clusters'][string]): CephSettings {
  const { user, users, fsid } = cluster;
  return {
    ...(fsid === undefined ? {} : { fsid }),
    conf: cluster.conf,
    timeoutMs: cluster.timeout,
    users: {
      fill: users.fill ?? user,
      snapshot: users.snapshot ?? user,
      publish: users.publish ?? user,
    },
  };
}

/** `FILE:LINE: KEY: WHAT`, as an editor and a person read it. */
export function formatProblem({ file, line, key, what }: ConfigProblem): string {
  const where = line === undefined ? file : `${file}:${line}`;
  return key === '' ? `${where}: ${what}` : `${where}: ${key}: ${what}`;
}
