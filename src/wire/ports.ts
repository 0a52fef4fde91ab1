// The ports by which cache, hook and snapshot reach Ceph, libvirt and the bases; the sidecar binds them to workers.

import type { SetState } from './api.ts';
import type { SnapshotSet, SourceName } from './vocabulary.ts';
import type {
  CephMethods,
  CephSettings,
  FillMethods,
  ImageAt,
  LibvirtMethods,
  Port,
} from './worker-protocol.ts';

export type CephPort = Port<CephMethods>;
export type LibvirtPort = Port<LibvirtMethods>;
export type FillPort = Port<FillMethods>;

export interface Cluster {
  readonly name: string;
  /** The fsid: from the config, or learnt at the first connection. @throws OperatingError unavailable */
  fsid(): Promise<string>;
  readonly ceph: CephPort;
  readonly settings: CephSettings;
}

/** An image, and what a domain's XML or a backing name says of its cluster. */
export interface ImagePlace extends ImageAt {
  readonly configFile?: string;
  readonly hosts: readonly { readonly name: string; readonly port?: number }[];
}

export interface Clusters {
  /** The cluster of a source: by its fsid, else the default one. @throws OperatingError not-found for an unknown fsid */
  ofSource(name: Pick<SourceName, 'fsid'>): Promise<Cluster>;
  byFsid(fsid: string): Promise<Cluster>;
  /** The cluster of an image that a domain names. @throws OperatingError not-found; refused: could not tell which */
  ofDisk(image: ImagePlace): Promise<Cluster>;
  readonly all: readonly Cluster[];
}

/** Starts a fill worker for one fill's job; dispose ends it (kill after a grace). `idle`: it reads when nobody else wants to. */
export type StartFillWorker = (
  priority: 'hook' | 'operator' | 'idle',
  jobId: string,
) => Promise<FillPort & AsyncDisposable>;

/** The catalogue's shelf of snapshot sets. Durable when a call returns. */
export interface SetCatalogue {
  put(set: SnapshotSet, state: SetState): void;
  remove(id: string): void;
  get(id: string): (SnapshotSet & { readonly state: SetState }) | undefined;
  list(domainUuid?: string): readonly (SnapshotSet & { readonly state: SetState })[];
}
