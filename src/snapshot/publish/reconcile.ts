// What this host has begun, and no job of its journal knows any more, since its catalogue was lost: clones that never got their names
// are removed; an image that has one stays as it is, and can be parted from its set by `siphon flatten`.

import { OperatingError } from '../../wire/errors.ts';
import type { Cluster } from '../../wire/ports.ts';
import type { FoundEntry } from '../../wire/publish-protocol.ts';
import { formatImage } from '../../wire/source.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import type { PublishParts } from './ports.ts';

const JOBS_KNOWN = 1000;

/** Of an entry: `remove` only what has its marked name still, or is no more. */
export type EntryDecision = 'not-ours' | 'at-work' | 'remove' | 'stays';

/** `known`: the journal's data of all jobs, as text. */
export function decideEntry(entry: FoundEntry, host: string, known: string): EntryDecision {
  if (entry.host !== host) return 'not-ours';
  if (known.includes(JSON.stringify(entry.at.marked))) return 'at-work';
  return entry.state === 'named' ? 'stays' : 'remove';
}

/** Call it at start. @throws OperatingError: something may be left */
export async function reconcileEntries(parts: PublishParts): Promise<void> {
  for (const cluster of parts.clusters()) {
    const found = await cluster.ceph.call('findEntries', {}, DEADLINE_MS.clone);
    // After the look: whatever has begun meanwhile is known.
    const jobs = parts.journal.list(JOBS_KNOWN);
    const known = JSON.stringify([...jobs, ...parts.journal.open()].map(({ data }) => data));
    for (const entry of found) await reconcile(parts, cluster, entry, known);
  }
}

async function reconcile(
  { host, log }: PublishParts,
  { ceph }: Cluster,
  entry: FoundEntry,
  known: string,
): Promise<void> {
  const { at, pool, image, source, isLinked, isCopy } = entry;
  const decision = decideEntry(entry, host, known);
  const name = formatImage({ pool, namespace: at.namespace, image });
  if (decision === 'stays' && isCopy === true) await ceph.call('dropEntry', at, DEADLINE_MS.record);
  else if (decision === 'stays' && isLinked !== true) {
    log.warn({ image: name, set: entry.set }, 'it is a clone still: siphon flatten parts it');
  }
  if (decision !== 'remove') return;
  try {
    await ceph.call('removeClone', { at }, DEADLINE_MS.clone);
    if (isCopy !== true) await ceph.call('releaseSource', source, DEADLINE_MS.snapshot);
    log.warn({ image: name, set: entry.set }, 'what a lost job left of it is removed');
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    log.warn({ image: name, error: error.toWire() }, 'what a lost job left is not removed');
  }
}
