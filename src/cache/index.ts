// The bases: local, complete, read-only files made from source images.

export { type Cache, createCache, type Presence, type Usage } from './cache.ts';
export type { LeaseHolder } from './catalogue/leases.ts';
export { type Catalogue, openCatalogue } from './catalogue/open.ts';
export type { DiskChain } from './chain.ts';
export type { DoubtChange, JudgeBase } from './doubts.ts';
export type { EvictCause, EvictData } from './evict-run.ts';
export type { Fill } from './fill.ts';
export type { CheckData, FillData, WarmAsk } from './fill-work.ts';
export type { DefinedDomain, Leases } from './leases.ts';
export type { CacheParts, CacheSettings, PlanVerification } from './parts.ts';
export type { Recovery } from './recover.ts';
export type { DoubtKind, Doubts } from './suspicion.ts';
export type { BaseView } from './view.ts';
export { isReadOnlyMount, worldAt } from './world.ts';
