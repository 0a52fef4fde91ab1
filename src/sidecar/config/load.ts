// The config's files to the config, or to every problem in them: siphon.toml, and beside it conf.d/*.toml in the order of
// their names, of which the later wins, key by key.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { parse, TomlError } from 'smol-toml';
import type { Limits } from '../../snapshot/limits.ts';
import type { VerifyLimits } from '../../snapshot/verify/ports.ts';
import type { FillLimits } from '../../systemd/fill-group-plan.ts';
import type { TrustRule, TrustSettings } from '../../trust/index.ts';
import { CONFIG_PATH } from '../../wire/api.ts';
import type { DiskFormat, StateKind } from '../../wire/vocabulary.ts';
import type { CephSettings } from '../../wire/worker-protocol.ts';
import { isTable } from './keys.ts';
import { locate } from './locate.ts';
import { type ConfigProblem, problemsOf } from './problems.ts';
import { CONFIG_SCHEMA, CONFIG_SHAPE, type ConfigFile, TOGETHER } from './schema.ts';

/** A config of more bytes, or of more files, is a mistake. */
const CONFIG_BYTES_MAX = 1024 * 1024;
const FILES_MAX = 1000;

/** For each of the fills that may run at once, and one more that a hook may wait for. */
const FILL_BYTES = 512 * 1024 * 1024;
const FILL_TASKS = 256;

export interface Config {
  readonly cache: {
    readonly path: string;
    readonly mount: string;
    readonly limitBytes: number;
    readonly reserveBytes: number;
    readonly fillConcurrency: number;
    readonly quarantine: { readonly ageMs: number; readonly limitBytes: number };
    readonly scrubRateBytes: number;
    readonly scrubEveryMs: number;
    readonly rawBecomes: DiskFormat;
    readonly overlayFolders: readonly string[];
  };
  readonly fills: FillLimits;
  readonly clusters: readonly ClusterConfig[];
  readonly trust: TrustSettings & { readonly rules: readonly TrustRule[] };
  readonly hook: { readonly fillWaitMs: number; readonly spool: string };
  readonly snapshot: Limits & {
    readonly policies: string;
    readonly atOnce: number;
    readonly jitterMs: number;
    readonly keepFiles: readonly StateKind[];
  };
  readonly publish: {
    readonly folder?: string;
    readonly format: DiskFormat;
    readonly flattenRateBytes?: number;
  };
  readonly verify: VerifyLimits;
  readonly libvirt: { readonly uri: string };
  readonly state: { readonly path: string };
  readonly api: {
    readonly socket: string;
    readonly readSocket: string;
    readonly hookSocket: string;
  };
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error' };
}

export interface ClusterConfig {
  readonly name: string;
  readonly isDefault: boolean;
  readonly isTickPoolStated: boolean;
  readonly settings: CephSettings;
}

export type LoadedConfig =
  | { readonly kind: 'config'; readonly config: Config; readonly checked: ConfigFile }
  | { readonly kind: 'bad'; readonly problems: readonly ConfigProblem[] };

export interface ConfigText {
  readonly file: string;
  readonly text: string;
}

/** The folder of the further files of a config. */
export function configFolder(file: string): string {
  return path.join(path.dirname(file), 'conf.d');
}

/** Loads a config. Where the default path does not exist, the defaults are the config. Any other path must exist. */
export async function loadConfig(file: string = CONFIG_PATH): Promise<LoadedConfig> {
  const folder = configFolder(file);
  const names = await namesIn(folder);
  if (!Array.isArray(names)) return { kind: 'bad', problems: [names] };
  const files = [file, ...names.map((name) => path.join(folder, name))];
  const read = await Promise.all(files.map(readText));
  const unread = read.filter((each): each is ConfigProblem => 'what' in each);
  const loaded = parseConfig(read.filter((each): each is ConfigText => 'text' in each));
  if (unread.length === 0) return loaded;
  return { kind: 'bad', problems: [...unread, ...(loaded.kind === 'bad' ? loaded.problems : [])] };
}

async function namesIn(folder: string): Promise<string[] | ConfigProblem> {
  try {
    const names = await readdir(folder);
    const files = names.filter((name) => name.endsWith('.toml') && !name.startsWith('.'));
    if (files.length <= FILES_MAX) return files.toSorted();
    return { file: folder, key: '', what: `it has more than ${FILES_MAX} files` };
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    return code === 'ENOENT' ? [] : { file: folder, key: '', what: message };
  }
}

async function readText(file: string): Promise<ConfigText | ConfigProblem> {
  try {
    const bytes = await readFile(file);
    if (bytes.length <= CONFIG_BYTES_MAX) return { file, text: bytes.toString() };
    return { file, key: '', what: `it is longer than ${CONFIG_BYTES_MAX} bytes` };
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' && file === CONFIG_PATH) return { file, text: '' };
    return { file, key: '', what: code === 'ENOENT' ? 'it does not exist' : message };
  }
}

/** The pure half of {@link loadConfig}: each file is checked by itself, then all together. */
export function parseConfig(texts: readonly ConfigText[]): LoadedConfig {
  const parsed = texts.map(parseOne);
  const written = parsed.map((each) => each.written).filter((each) => each !== undefined);
  const merged = written.reduce<Table>((all, each) => mergeTables(all, each, []), {});
  const checked = CONFIG_SCHEMA.safeParse(merged);
  const alone = parsed.flatMap((each) => each.problems);
  if (checked.success && alone.length === 0)
    return { kind: 'config', config: toConfig(checked.data), checked: checked.data };
  const issues = checked.error?.issues ?? [];
  const find = placeAmong(texts);
  const together = issues
    .filter((issue) => issue.code === 'custom' && issue.params === TOGETHER)
    .flatMap((issue) => problemsOf(issue, find));
  const problems = inOrder([...alone, ...together], texts);
  assert(problems.length > 0, 'what is wrong in all files is wrong in one, or between them');
  return { kind: 'bad', problems };
}

interface Parsed {
  readonly written?: Table;
  readonly problems: readonly ConfigProblem[];
}

function parseOne({ file, text }: ConfigText): Parsed {
  let written: Table;
  try {
    written = parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const what = cause.message.split('\n')[0] ?? 'not TOML';
    return { problems: [{ file, line: cause.line, key: '', what }] };
  }
  const lineOf = locate(text);
  const issues = CONFIG_SHAPE.safeParse(written).error?.issues ?? [];
  const find = (at: readonly PropertyKey[]) => ({ file, ...lineOf(at) });
  return { written, problems: issues.flatMap((issue) => problemsOf(issue, find)) };
}

type Table = Readonly<Record<string, unknown>>;

/** Tables of keys are merged; any other value is replaced as a whole. */
function mergeTables(under: Table, over: Table, at: readonly string[]): Table {
  const merged = new Map(Object.entries(under));
  for (const [key, value] of Object.entries(over)) {
    const [below, here] = [merged.get(key), [...at, key]];
    const isMerged = isTable(here) && isPlain(below) && isPlain(value);
    merged.set(key, isMerged ? mergeTables(below, value, here) : value);
  }
  return Object.fromEntries(merged);
}

function isPlain(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The file that decides on a path: the last of those that say the most of it. */
function placeAmong(texts: readonly ConfigText[]) {
  const all = texts.map(({ file, text }) => ({ file, lineOf: locate(text) }));
  return (at: readonly PropertyKey[]) => {
    const places = all.map(({ file, lineOf }) => ({ file, ...lineOf(at) }));
    const depth = Math.max(0, ...places.map((place) => place.depth ?? 0));
    return places.findLast((place) => (place.depth ?? 0) === depth) ?? { file: '' };
  };
}

function inOrder(problems: readonly ConfigProblem[], texts: readonly ConfigText[]) {
  const rank = new Map(texts.map(({ file }, index) => [file, index]));
  return problems.toSorted(
    (a, b) => (rank.get(a.file) ?? 0) - (rank.get(b.file) ?? 0) || (a.line ?? 0) - (b.line ?? 0),
  );
}

/** What the rooms are given of checked files. */
export function toConfig(file: ConfigFile): Config {
  const { cache, fills, trust, hook, snapshot, publish, verify, api } = file;
  const { snapshots_directory: folder, flatten_rate: flattenRateBytes } = publish;
  return {
    cache: {
      path: cache.path,
      mount: cache.mount,
      limitBytes: cache.limit,
      reserveBytes: cache.reserve,
      fillConcurrency: cache.fill_concurrency,
      quarantine: { ageMs: cache.quarantine_age, limitBytes: cache.quarantine_limit },
      scrubRateBytes: cache.scrub_rate,
      scrubEveryMs: cache.scrub_every,
      rawBecomes: cache.raw_becomes,
      overlayFolders: cache.overlays,
    },
    fills: {
      memoryBytes: fills.memory ?? FILL_BYTES * cache.fill_concurrency,
      tasks: fills.tasks ?? FILL_TASKS * cache.fill_concurrency,
      cpuWeight: fills.cpu_weight,
      ioWeight: fills.io_weight,
    },
    clusters: Object.entries(file.clusters).map(([name, cluster], _, all) => ({
      name,
      isDefault: all.length === 1 || cluster.default === true,
      isTickPoolStated: cluster.tick_pool !== undefined,
      settings: toSettings(cluster),
    })),
    trust: {
      folder: trust.folder,
      isChainNeeded: trust.chains === 'always',
      isPathLengthNeeded: trust.path_length === 'required',
      rules: trust.rules.map(({ allow_foreign_raw: allowForeignRaw, ...rule }) => ({
        ...rule,
        allowForeignRaw,
      })),
    },
    hook: { fillWaitMs: hook.fill_wait, spool: hook.spool },
    snapshot: {
      policies: snapshot.policies,
      atOnce: snapshot.at_once,
      jitterMs: snapshot.jitter,
      worstHealth: snapshot.worst_health,
      fullPercent: snapshot.full,
      softSnapshots: snapshot.image_warning,
      hardSnapshots: snapshot.image_limit,
      keepFiles: snapshot.keep_files,
    },
    publish: {
      ...(folder && { folder }),
      format: publish.file_format,
      ...(flattenRateBytes && { flattenRateBytes }),
    },
    verify: {
      level: verify.level,
      bootMs: verify.boot_timeout,
      memoryBytesMax: verify.memory_max,
      vcpusMax: verify.vcpus_max,
    },
    libvirt: file.libvirt,
    state: file.state,
    api: {
      socket: api.socket,
      readSocket: api.read_socket,
      hookSocket: api.hook_socket,
    },
    log: file.log,
  };
}

function toSettings(cluster: ConfigFile['clusters'][string]): CephSettings {
  const { user, users, fsid } = cluster;
  return {
    ...(fsid === undefined ? {} : { fsid }),
    conf: cluster.conf,
    timeoutMs: cluster.timeout,
    tickPool: cluster.tick_pool ?? 'siphon',
    users: {
      fill: users.fill ?? user,
      snapshot: users.snapshot ?? user,
      publish: users.publish ?? user,
      ...(users.restore && { restore: users.restore }),
    },
  };
}
