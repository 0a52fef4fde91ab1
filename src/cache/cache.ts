// The cache: what siphond's routes, hook and timers ask of the bases.

import {
  type BaseIdentity,
  baseId,
  basePath,
  parseBaseId,
  parseBasePath,
} from '../domain/base-path.ts';
import type { Domain } from '../domain/domain.ts';
import type { EvictAnswer, EvictRequest, PathAnswer } from '../wire/api.ts';
import { OperatingError } from '../wire/errors.ts';
import type { JobProgress } from '../wire/journal.ts';
import type { Quarantined } from '../wire/quarantine-api.ts';
import type { ScrubRequest } from '../wire/scrub-api.ts';
import { formatSource, parseSource } from '../wire/source.ts';
import type {
  DiskFormat,
  SourceFacts,
  SourceIds,
  SourceName,
  Suspicion,
} from '../wire/vocabulary.ts';
import type { BaseRow } from './catalogue/bases.ts';
import { basesOf, type ChainReaders, type DiskChain } from './chain.ts';
import { chainReaders } from './chain-readers.ts';
import { applyDoubts, type DoubtChange, type JudgeBase } from './doubts.ts';
import type { EvictDecision, EvictWish } from './evict.ts';
import { Evictor } from './evict-run.ts';
import { checkFile, type FileCheck } from './file-check.ts';
import { type Fill, Filler } from './fill.ts';
import type { WarmAsk } from './fill-work.ts';
import { createLeases, type Leases } from './leases.ts';
import { createOverlays, type Overlays } from './overlays.ts';
import type { CacheParts } from './parts.ts';
import { NONE, Quarantine, type QuarantineDecision } from './quarantine.ts';
import { type Recovery, recover } from './recover.ts';
import { noBase, severalBases } from './refusals.ts';
import { Scrubber, type ScrubWork } from './scrub.ts';
import { planScrub } from './scrub-plan.ts';
import { basesNamed } from './selector.ts';
import { formatOfFill } from './source-format.ts';
import { type DoubtKind, suspicionOf } from './suspicion.ts';
import type { TableWork } from './table.ts';
import { type BaseView, viewWithPath } from './view.ts';

/** What is known of a base, from memory. `format` is the suffix of the file that is there. */
export type Presence =
  | { readonly kind: 'ready'; readonly format: DiskFormat }
  | { readonly kind: 'suspect'; readonly suspicion: Suspicion }
  | { readonly kind: 'filling'; readonly jobId?: string; readonly progress?: JobProgress }
  | { readonly kind: 'absent' };

export interface Usage {
  readonly bases: number;
  readonly allocatedBytes: number;
  readonly limitBytes: number;
  readonly freeBytes: number;
}

/** BASE, below, is a base's id, its path (either folder), or a source's name, by which the catalogue or else Ceph knows it. */
export interface Cache {
  /** To be called once, before anything else. */
  recover(): Promise<Recovery>;
  list(): BaseView[];
  /** @throws OperatingError `not-found`, `usage`, `refused` where several bases carry the name */
  get(base: string): Promise<BaseView>;
  /** Where a source's base is or would be. @throws OperatingError as resolving it does. */
  path(source: string): Promise<PathAnswer>;
  /** @throws OperatingError `not-found` where no such base is there. */
  pin(base: string): Promise<BaseView>;
  unpin(base: string): Promise<BaseView>;
  evict(request: EvictRequest): Promise<EvictAnswer>;
  /** What failed its check and was moved aside. @throws OperatingError */
  quarantined(): Promise<readonly Quarantined[]>;
  warm(ask: WarmAsk, onResolved?: () => void): Promise<Fill>;
  /** Reads a source for the table of its chunks. @throws OperatingError */
  table(source: SourceName): Promise<TableWork>;
  /** No SQL, no file, no Ceph. Take the lease first: then what is present stays. */
  presence(ids: SourceIds): Presence;
  /** Of a domain's disks; reads headers of files and of RBD images. */
  basesOf(domain: Domain): Promise<DiskChain[]>;
  readonly leases: Leases;
  /** Bases that some domain needs and that are not here: to be warmed. */
  missing(): BaseIdentity[];
  /** The cache folder's watcher saw something at this path. undefined: it is no base that is at rest. */
  look(path: string): Promise<FileCheck | undefined>;
  /** Makes suspect, or ready again, what `judge` says of the bases that are at rest: of all, or of these. @throws OperatingError */
  doubt<K extends DoubtKind>(
    kind: K,
    judge: JudgeBase<K>,
    ids?: readonly string[],
  ): Promise<readonly DoubtChange[]>;
  /** Reads the files of bases from the disk, and mends what is damaged. @throws OperatingError as {@link get} */
  scrub(request: ScrubRequest): Promise<ScrubWork>;
  /** Looks at bases whose file is in doubt, and mends them. @throws OperatingError: one may be mended later */
  heal(): Promise<void>;
  usage(): Usage;
  /** Returns once no fill or scrub waits or runs; the journal's stop ends them early. */
  settled(): Promise<void>;
}

export function createCache(parts: CacheParts): Cache {
  return new CacheOfParts(parts);
}

class CacheOfParts implements Cache {
  readonly leases: Leases;
  readonly #parts: CacheParts;
  readonly #evictor: Evictor;
  readonly #filler: Filler;
  readonly #readers: ChainReaders;
  readonly #overlays: Overlays;
  readonly #quarantine: Quarantine;
  readonly #scrubber: Scrubber;

  constructor(parts: CacheParts) {
    this.#parts = parts;
    this.#readers = chainReaders(parts);
    this.#overlays = createOverlays(parts, this.#readers);
    this.#evictor = new Evictor(parts, this.#overlays);
    this.#quarantine = new Quarantine(parts);
    this.#filler = new Filler(parts, this.#evictor, this.#quarantine);
    this.#scrubber = new Scrubber(parts, this.#filler);
    this.leases = createLeases(parts);
  }

  recover(): Promise<Recovery> {
    return recover(this.#parts);
  }

  list(): BaseView[] {
    return this.#parts.catalogue.bases.all().map((row) => this.#view(row));
  }

  async get(base: string): Promise<BaseView> {
    return this.#view(await this.#find(base));
  }

  async path(source: string): Promise<PathAnswer> {
    const facts = await this.#resolve(source);
    const row = this.#parts.catalogue.bases.get(baseId(facts.ids));
    const format = row?.file === undefined ? await formatOfFill(this.#parts, facts) : row.format;
    const path = basePath(this.#parts.settings.mountPath, facts.ids, format);
    return { path, isPresent: row?.state === 'ready', ids: facts.ids };
  }

  async pin(base: string): Promise<BaseView> {
    const row = await this.#find(base);
    this.#parts.catalogue.pins.add(row.id, this.#parts.now());
    return this.#view(row);
  }

  async unpin(base: string): Promise<BaseView> {
    const row = await this.#find(base);
    this.#parts.catalogue.pins.remove(row.id);
    return this.#view(row);
  }

  quarantined(): Promise<readonly Quarantined[]> {
    return this.#quarantine.list();
  }

  async evict({ dryRun, bases, isQuarantine }: EvictRequest): Promise<EvictAnswer> {
    const wish = await this.#wishOf(bases);
    const planned = await this.#evictor.plan(wish);
    const names = new Map(this.#parts.catalogue.bases.all().map(({ id, name }) => [id, name]));
    const reason = wish.kind === 'named' ? 'asked' : 'limit';
    const decided = dryRun ? planned : await this.#evictor.run(planned, { reason });
    const decisions = decided.map(({ id, ...rest }: EvictDecision) => {
      const name = names.get(id);
      return { base: id, name: name === undefined ? id : formatSource(name), ...rest };
    });
    const going = decided.filter(({ decision }) => decision === 'evict');
    const quarantine = bases === undefined ? await this.#age(dryRun, isQuarantine === true) : [];
    const freed = [...going, ...quarantine].map(({ allocatedBytes }) => allocatedBytes);
    return {
      dryRun,
      decisions,
      quarantine,
      freedBytes: freed.reduce((sum, each) => sum + each, 0),
    };
  }

  async #age(dryRun: boolean, isAll: boolean): Promise<readonly QuarantineDecision[]> {
    const limits = isAll ? NONE : undefined;
    const going = await (dryRun ? this.#quarantine.plan(limits) : this.#quarantine.trim(limits));
    return isAll ? going.map((each) => ({ ...each, reason: 'it was asked for' })) : going;
  }

  warm(ask: WarmAsk, onResolved?: () => void): Promise<Fill> {
    return this.#filler.warm(ask, onResolved);
  }

  table(source: SourceName): Promise<TableWork> {
    return this.#filler.table(source);
  }

  presence(ids: SourceIds): Presence {
    const id = baseId(ids);
    const row = this.#parts.catalogue.bases.get(id);
    if (row?.state === 'ready') return { kind: 'ready', format: row.format };
    const filling = this.#filler.filling(id);
    if (filling !== undefined) return { kind: 'filling', ...filling };
    if (row?.state !== 'suspect') return { kind: 'absent' };
    return { kind: 'suspect', suspicion: suspicionOf(row.problem) };
  }

  basesOf(domain: Domain): Promise<DiskChain[]> {
    this.#overlays.note(domain);
    return basesOf(domain, this.#readers);
  }

  missing(): BaseIdentity[] {
    const needed = this.#parts.catalogue.leases.all().map(({ base }) => base);
    const absent = needed.filter(({ ids }) => this.presence(ids).kind === 'absent');
    return [...new Map(absent.map((base) => [baseId(base.ids), base])).values()];
  }

  async look(path: string): Promise<FileCheck | undefined> {
    const identity = parseBasePath(this.#parts.settings.path, path);
    if (identity === null) return undefined;
    const row = this.#parts.catalogue.bases.get(baseId(identity.ids));
    const isAtRest = row?.state === 'ready' || row?.state === 'suspect';
    if (!isAtRest || row.format !== identity.format) return undefined;
    return checkFile(this.#parts, row);
  }

  doubt<K extends DoubtKind>(
    kind: K,
    judge: JudgeBase<K>,
    ids?: readonly string[],
  ): Promise<readonly DoubtChange[]> {
    return applyDoubts(this.#parts, kind, judge, ids);
  }

  async scrub({ bases, isDue, isReportOnly }: ScrubRequest): Promise<ScrubWork> {
    const { settings, catalogue, now } = this.#parts;
    const rows = bases && (await Promise.all(bases.map((base) => this.#find(base))));
    const wish = {
      ...(rows && { ids: new Set(rows.map(({ id }) => id)) }),
      ...(isDue && { everyMs: settings.scrubEveryMs }),
    };
    const ids = planScrub(catalogue.bases.all(), wish, now());
    return this.#scrubber.begin(ids, { isMended: isReportOnly !== true });
  }

  heal(): Promise<void> {
    return this.#scrubber.heal();
  }

  usage(): Usage {
    const { usedBytes, limitBytes, freeBytes } = this.#filler.room();
    const bases = this.#parts.catalogue.bases.all().length;
    return { bases, allocatedBytes: usedBytes, limitBytes, freeBytes };
  }

  async settled(): Promise<void> {
    await Promise.all([this.#filler.settled(), this.#scrubber.settled()]);
  }

  async #wishOf(bases: EvictRequest['bases']): Promise<EvictWish> {
    if (bases === undefined) return { kind: 'regain', bytes: this.#filler.excessBytes() };
    const rows = await Promise.all(bases.map((base) => this.#find(base)));
    return { kind: 'named', ids: new Set(rows.map(({ id }) => id)) };
  }

  async #find(base: string): Promise<BaseRow> {
    const id = await this.#idOf(base);
    const row = id === undefined ? undefined : this.#parts.catalogue.bases.get(id);
    if (row === undefined) throw noBase(base);
    return row;
  }

  async #idOf(base: string): Promise<string | undefined> {
    if (base.startsWith('rbd:')) return this.#idOfSource(parseSource(base), base);
    if (!base.startsWith('/')) return parseBaseId(base) === null ? undefined : base;
    const { mountPath, path } = this.#parts.settings;
    const identity = parseBasePath(mountPath, base) ?? parseBasePath(path, base);
    return identity === null ? undefined : baseId(identity.ids);
  }

  /** By the name that was last known, also where the source is gone or Ceph is down; else, and among several, by Ceph's word. */
  async #idOfSource(name: SourceName, text: string): Promise<string> {
    const { bases } = this.#parts.catalogue;
    const known = basesNamed(bases.all(), await this.#withFsid(name)).map(({ id }) => id);
    const [only, another] = known;
    if (only !== undefined && another === undefined) return only;
    const facts = await this.#filler.resolve(name).catch((error: unknown) => {
      if (only === undefined || !(error instanceof OperatingError)) throw error;
      throw severalBases(text, known, error);
    });
    const id = baseId(facts.ids);
    if (only !== undefined && !known.includes(id)) throw severalBases(text, known);
    if (bases.get(id) !== undefined) bases.amend(id, { name: facts.name });
    return id;
  }

  /** Among several clusters, a name without an fsid is one of the default cluster. */
  async #withFsid(name: SourceName): Promise<SourceName> {
    const { clusters } = this.#parts;
    if (name.fsid !== undefined || clusters.all.length === 1) return name;
    return { ...name, fsid: await (await clusters.ofSource(name)).fsid() };
  }

  async #resolve(source: string): Promise<SourceFacts> {
    return this.#filler.resolve(parseSource(source));
  }

  #view(row: BaseRow): BaseView {
    return viewWithPath(this.#parts.catalogue, this.#parts.settings.mountPath, row);
  }
}
