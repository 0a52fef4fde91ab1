// The sets that Ceph knows, of all configured clusters: those of other hosts are shown, never touched; those of this host that the
// catalogue has lost are taken up again.

import type { Cluster } from '../wire/ports.ts';
import type { SnapshotSet } from '../wire/vocabulary.ts';

/** Above what a cluster of many pools takes; the command waits for a minute. */
const FIND = { deadlineMs: 45_000 };

export interface FoundSets {
  readonly sets: readonly SnapshotSet[];
  /** `POOL[/NAMESPACE]` that the snapshot user may not read. */
  readonly closed: readonly string[];
}

/** @throws OperatingError: one of the clusters could not tell */
export async function findSets(clusters: readonly Pick<Cluster, 'ceph'>[]): Promise<FoundSets> {
  const found = await Promise.allSettled(
    clusters.map(({ ceph }) => ceph.call('findSets', {}, FIND)),
  );
  const answers = found.map((each) => {
    if (each.status === 'rejected') throw each.reason;
    return each.value;
  });
  return {
    sets: answers.flatMap(({ sets }) => sets).toSorted((a, b) => b.createdAtMs - a.createdAtMs),
    closed: answers.flatMap(({ closed }) => closed),
  };
}

export interface AdoptParts {
  readonly clusters: () => readonly (Pick<Cluster, 'ceph'> & { readonly name: string })[];
  readonly adopt: (sets: readonly SnapshotSet[]) => readonly string[];
  readonly log: { info(fields: object, message: string): void };
}

/** Once for each cluster, as soon as it answers. @throws OperatingError: one did not; try again */
export function createAdoption({ clusters, adopt, log }: AdoptParts): () => Promise<void> {
  const done = new Set<string>();
  return async () => {
    for (const cluster of clusters()) {
      if (done.has(cluster.name)) continue;
      const { sets } = await findSets([cluster]);
      const adopted = adopt(sets);
      if (adopted.length > 0) log.info({ sets: adopted }, 'sets that the catalogue had lost');
      done.add(cluster.name);
    }
  };
}
