// What the room of restores needs of the rest.

import type { Cluster } from '../../wire/ports.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';
import type { SnapshotParts } from '../ports.ts';

export interface RestoreParts
  extends Pick<
    SnapshotParts,
    'journal' | 'byFsid' | 'libvirt' | 'log' | 'now' | 'host' | 'onDefect'
  > {
  readonly clusters: () => readonly Cluster[];
  /** Of any host. `busy`: it is being removed. @throws OperatingError not-found, busy, unavailable */
  readonly findSet: (id: string) => Promise<SnapshotSet>;
  /** A set of the domain is being taken. */
  readonly isTaking: (domainUuid: string) => boolean;
  readonly nvram: NvramFiles;
  readonly draw: { readonly uuid: () => string; readonly mac: () => string };
}

/** Copies of UEFI variables that libvirt makes new domains' own of, when they first start. */
export interface NvramFiles {
  pathOf(domainUuid: string): string;
  /** Without bytes only their folder is made. @throws OperatingError */
  keep(domainUuid: string, bytes: Buffer | undefined): Promise<void>;
  drop(domainUuid: string): Promise<void>;
}
