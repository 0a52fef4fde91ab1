// What a hook call needs of the rest: what a domain's disks stand on, fills and leases, and the room of snapshots. Nothing
// behind these ports may call libvirt while a call is answered: libvirtd holds the domain's lock (list, and calls on that
// domain, wait for the hook).

import type { Disk, Domain } from '../domain/domain.ts';
import type { WireError } from '../wire/errors.ts';
import type { JobProgress } from '../wire/journal.ts';
import type { ReleaseEvent, StartEvent } from './events.ts';

/** A base that a chain names, present or not. */
export interface NeededBase {
  /** The base's id. */
  readonly id: string;
  /** For people: `rbd:images/debian-12@snap` where the names are known, else its path. */
  readonly name: string;
}

/** What one disk stands on. `unknown` goes beside the bases that were found: the chain's rest could not be read. */
export interface DiskNeeds {
  readonly target: Disk['target'];
  readonly bases: readonly NeededBase[];
  readonly unknown?: string;
}

export type BaseStanding =
  | { readonly kind: 'present' }
  /** Its bytes are not what they must be, and it is still under its path. */
  /** `doubt`: its bytes are as they were, and nothing that is trusted vouches for them any more. */
  | { readonly kind: 'suspect'; readonly doubt?: string }
  | { readonly kind: 'absent' };

/** A fill that somebody started. Leaving it does not end it. */
export interface RunningFill {
  /** Settles with the fill: undefined when the base is there, else why it is not. Never rejects. */
  readonly ended: Promise<WireError | undefined>;
  /** Whether Ceph has told what the source is: before that nothing is filled. */
  isResolved(): boolean;
  /** undefined before the first bytes were counted. */
  progress(): JobProgress | undefined;
}

export interface BasesPort {
  /** Walks the chains of a domain's disks by XML, file headers and Ceph. @throws OperatingError: nothing could be told */
  needsOf(domain: Domain, signal: AbortSignal): Promise<readonly DiskNeeds[]>;
  /** A look at the file and the catalogue, no more. */
  standingOf(id: string): BaseStanding;
  /** Starts the fill of a base, ahead of all that no domain waits for, or joins the one that runs. */
  fill(id: string): RunningFill;
  /** The domain runs on these bases from now on; replaces its running leases. Durable when it returns. */
  leaseRunning(domain: Pick<Domain, 'uuid' | 'name'>, ids: readonly string[]): void;
  endRunning(domainUuid: string): void;
}

export interface SnapshotsPort {
  /** Records durably what is to be done, then does it in the background. */
  onRelease(event: ReleaseEvent): void;
  /**
   * A domain starts. A set in progress has until the deadline to hold its snapshots, then it is overtaken: it will be
   * discarded. An event from the spool gives the time of its call, and waits for nothing. `start`: what is starting now; a policy
   * may ask for a set of what is on its disks before, which has until the deadline, too.
   */
  onPrepare(
    domainUuid: string,
    deadlineMs: number,
    start?: Pick<StartEvent, 'domain' | 'xml'>,
  ): Promise<'none' | 'finished' | 'overtaken'>;
}

/** As pino's. */
export interface HookLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
