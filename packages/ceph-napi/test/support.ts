// A connection and a pool for one test file, and Ceph's own commands to compare with. Runs where /etc/ceph has a cluster's
// configuration (or CEPH_CONF names it) and the key of client.admin.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  CephError,
  Cluster,
  type ClusterOptions,
  type CreateOptions,
  createImage,
  Image,
  type Pool,
} from '../src/index.ts';

const run = promisify(execFile);
export const conf = process.env['CEPH_CONF'] ?? '/etc/ceph/ceph.conf';
const limits = { timeout: 60_000, maxBuffer: 1 << 28, encoding: 'buffer' } as const;

/** Runs Ceph's `name` command; gives what it printed. */
export async function command(name: string, ...args: string[]): Promise<Buffer> {
  return (await run(name, ['-c', conf, ...args], limits)).stdout;
}

/** The same, of what it prints as JSON. */
export async function json<T>(name: string, ...args: string[]): Promise<T> {
  return JSON.parse((await command(name, '--format', 'json', ...args)).toString()) as T;
}

export function connect(options: Partial<ClusterOptions> = {}): Promise<Cluster> {
  return Cluster.connect({ conf, user: 'admin', ...options });
}

export interface TestPool extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly pool: Pool;
  readonly name: string;
}

/** What librbd writes into a pool once it has tried to overwrite there: with it, the first image costs no such try. */
async function writeInfo(pool: string): Promise<void> {
  const put = run('rados', ['-c', conf, '-p', pool, 'put', 'rbd_info', '-'], limits);
  put.child.stdin?.end('overwrite validated');
  await put;
}

/** Ceph's release: 16, 18, 20. */
export async function release(): Promise<number> {
  return Number(/ceph version (\d+)/.exec((await command('ceph', '--version')).toString())?.[1]);
}

/** A new image of the pool, open for writing. */
export async function makeImage(
  pool: Pool,
  name: string,
  sizeBytes: number,
  options: CreateOptions = {},
): Promise<Image> {
  await createImage(pool, name, sizeBytes, options);
  return await Image.open(pool, { name }, { writable: true });
}

/** A new pool, removed with all that is in it when disposed. */
export async function makePool(): Promise<TestPool> {
  const name = `napi-${randomUUID()}`;
  await using undo = new AsyncDisposableStack();
  const cluster = undo.use(await connect());
  undo.defer(async () => {
    const sure = { pool2: name, yes_i_really_really_mean_it: true };
    await cluster.monCommand({ prefix: 'osd pool rm', pool: name, ...sure });
  });
  await cluster.monCommand({ prefix: 'osd pool create', pool: name, pg_num: 8 });
  await cluster.monCommand({ prefix: 'osd pool application enable', pool: name, app: 'rbd' });
  await writeInfo(name);
  const pool = undo.use(await cluster.openPool(name));
  const kept = undo.move();
  return { cluster, pool, name, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** For `assert.rejects`: a CephError of this call and errno. */
export function failed(call: string, errno: number): (error: unknown) => boolean {
  return (error) => error instanceof CephError && error.call === call && error.errno === errno;
}

/** Waits until `condition` gives something true, and gives that; throws when it takes longer than `limitMs`. */
export async function until<T>(
  condition: () => Promise<T | null | false | undefined>,
  limitMs = 20_000,
): Promise<T> {
  for (const end = performance.now() + limitMs; performance.now() < end; await wait(50)) {
    const answer = await condition();
    if (answer) return answer;
  }
  throw new Error(`still not after ${limitMs} ms: ${String(condition)}`);
}
