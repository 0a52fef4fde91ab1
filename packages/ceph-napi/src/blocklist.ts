// The cluster's blocklist: clients whose every write and read the OSDs refuse (ESHUTDOWN). Needs the caps for it: mon 'profile rbd' has
// them for adding, removing wants more.
import assert from 'node:assert/strict';
import type { Cluster } from './cluster.ts';
import { librados } from './library.ts';

const add = librados(`int rados_blocklist_add(rados_t cluster, char *client_address,
  uint32_t expire_seconds)`);

export interface BlocklistEntry {
  /** `10.0.0.1:0/123456` */
  readonly address: string;
  readonly until: Date;
}

/**
 * Refuses a client, by the address of its lock or watch, for that long (default: an hour). It stands when this returns; an OSD that has
 * not seen the new map may serve the client some moments longer. A guest on that client loses its disks for good. Throws CephError: EACCES,
 * EINVAL (not an address), ETIMEDOUT.
 * Implements: rados_blocklist_add
 */
export async function blocklistClient(
  cluster: Cluster,
  address: string,
  seconds = 3600,
): Promise<void> {
  assert(Number.isSafeInteger(seconds) && seconds > 0, `not a duration: ${seconds}`);
  assert(!address.includes('\0'), 'not an address');
  await cluster.call(add, Buffer.from(`${address}\0`), seconds);
}

/** Lets an address be again; the client that had it must connect anew all the same. By the monitor command `osd blocklist rm`. */
export async function unblocklistClient(cluster: Cluster, address: string): Promise<void> {
  await cluster.monCommand({ prefix: 'osd blocklist', blocklistop: 'rm', addr: address });
}

/** Who is on it. By the monitor command `osd blocklist ls`. */
export async function listBlocklist(cluster: Cluster): Promise<BlocklistEntry[]> {
  const { output } = await cluster.monCommand({ prefix: 'osd blocklist ls', format: 'json' });
  // Ceph 16 answers one list; later ones put a second straight after it, of ranges of addresses.
  const lists = `[${output.toString().replace(/\]\s*\[/, '],[')}]`;
  const entries = (JSON.parse(lists) as { addr: string; until: string }[][]).flat();
  return entries.map(({ addr, until }) => ({ address: addr, until: new Date(until) }));
}
