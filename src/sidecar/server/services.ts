// What the routes ask of the rest: siphond's parts behind the fewest functions, so that a test can stand in for them.

import type { Verdict } from '../../hook/decide.ts';
import type { HookRequest } from '../../hook/events.ts';
import type { Transfers } from '../../snapshot/transfer/service.ts';
import type {
  BasesAnswer,
  DescribeRequest,
  EvictAnswer,
  EvictRequest,
  PathAnswer,
  PauseAnswer,
  PauseRequest,
  PoliciesAnswer,
  PolicyTestAnswer,
  PruneAnswer,
  PruneRequest,
  ReloadAnswer,
  SnapshotCreateRequest,
  SnapshotsAnswer,
  StatusAnswer,
  WarmRequest,
} from '../../wire/api.ts';
import type { LeftoversRequest } from '../../wire/leftovers-api.ts';
import type {
  ManifestAnswer,
  ManifestFacts,
  ManifestRequest,
  SourceAnswer,
  TableRequest,
} from '../../wire/manifest-api.ts';
import type { FlattenRequest, PublishRequest } from '../../wire/publish-api.ts';
import type { QuarantineAnswer } from '../../wire/quarantine-api.ts';
import type { RestoreRequest, RestoresAnswer } from '../../wire/restore-api.ts';
import type { ScrubRequest } from '../../wire/scrub-api.ts';
import type { ImpactAnswer } from '../../wire/trust-api.ts';
import type { ProofRequest } from '../../wire/verify-api.ts';
import type { Base, SnapshotSet } from '../../wire/vocabulary.ts';
import type { JobJournal } from '../journal.ts';

type KeptSet = SnapshotsAnswer['sets'][number];

/** What a long request came to: a job that runs, or its result already. */
export type LongWork =
  /** `ended`: what the request comes to, where that is more than the job's own end. */
  | { readonly kind: 'job'; readonly id: string; readonly ended?: Promise<unknown> }
  | { readonly kind: 'done'; readonly result: unknown };

export interface Services {
  status(): Promise<StatusAnswer>;
  /** What stands on a certificate, a key or an authority. */
  impact(key: string): Promise<ImpactAnswer>;
  warm(request: WarmRequest): Promise<LongWork>;
  describe(request: DescribeRequest): Promise<void>;
  showSource(source: string): Promise<SourceAnswer>;
  getManifest(source: string): Promise<ManifestAnswer>;
  setManifest(request: ManifestRequest): Promise<ManifestFacts | Record<string, never>>;
  table(request: TableRequest): Promise<LongWork>;
  path(source: string): Promise<PathAnswer>;
  listBases(): BasesAnswer;
  getBase(base: string): Promise<Base>;
  pin(base: string): Promise<Base>;
  unpin(base: string): Promise<Base>;
  listQuarantine(): Promise<QuarantineAnswer>;
  evict(request: EvictRequest): Promise<EvictAnswer>;
  /** @throws OperatingError not-found: no such base */
  scrub(request: ScrubRequest): Promise<LongWork>;
  start(domain: string): Promise<LongWork>;
  takeSnapshots(request: SnapshotCreateRequest): Promise<LongWork>;
  listSnapshots(domain: string | undefined, isOfAllHosts: boolean): Promise<SnapshotsAnswer>;
  getSnapshot(id: string): KeptSet;
  protectSnapshot(id: string, isProtected: boolean): Promise<SnapshotSet>;
  prune(request: PruneRequest): PruneAnswer;
  /** Resolves when the set's snapshots and records are gone. */
  deleteSnapshot(id: string): Promise<void>;
  restore(request: RestoreRequest): Promise<LongWork>;
  undoRestore(id: string): Promise<LongWork>;
  listRestores(): Promise<RestoresAnswer>;
  verifyRestore(request: ProofRequest): Promise<LongWork>;
  readonly transfers: Pick<Transfers, 'export' | 'import'>;
  listPolicies(): Promise<PoliciesAnswer>;
  /** What fails at once rejects: the set is not known, or is being published. */
  publish(request: PublishRequest): Promise<LongWork>;
  flatten(request: FlattenRequest): Promise<LongWork>;
  /** @throws OperatingError usage: it is this host */
  reconcile(request: LeftoversRequest): Promise<LongWork>;
  testPolicy(domain: string, event: string): Promise<PolicyTestAnswer>;
  pause(request: PauseRequest, claimedUser: string | undefined): PauseAnswer;
  resume(request: PauseRequest): PauseAnswer;
  /** Rejects with every mistake in the config; nothing has changed then. */
  reload(): Promise<ReloadAnswer>;
  readonly jobs: Pick<JobJournal, 'list' | 'get' | 'progressOf' | 'watch' | 'cancel'>;
  /** Decides within its budget; a rejection is no verdict, and the hook spools its call. The signal is aborted when the hook has left. */
  readonly hook: (request: HookRequest, signal: AbortSignal) => Promise<Verdict>;
  /** The text that Prometheus reads, and its content type. */
  metrics(): Promise<{ readonly text: string; readonly contentType: string }>;
}
