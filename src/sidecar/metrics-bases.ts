// The gauges of the bases and of what is in quarantine, and what all gauges are added by.

import type { Base, BaseState, Suspicion } from '../wire/vocabulary.ts';
import type { Scraped } from './metrics.ts';

export type Set = (value: number, labels?: Record<string, string>) => void;

export type Add = (
  name: string,
  help: string,
  labelNames: readonly string[],
  read: (scraped: Scraped, set: Set) => void,
) => void;

const BASE_STATES: readonly BaseState[] = ['filling', 'ready', 'suspect', 'evicting'];

const SUSPICIONS: readonly Suspicion['of'][] = ['bytes', 'revoked', 'deactivated'];

export function addCacheGauges(add: Add): void {
  add('siphon_bases', 'Bases by state.', ['state'], ({ bases }, set) => {
    for (const state of BASE_STATES)
      set(bases.filter((base) => base.state === state).length, { state });
  });
  add('siphon_suspect_bases', 'Suspect bases by what is suspect.', ['of'], ({ bases }, set) => {
    for (const of of SUSPICIONS)
      set(bases.filter(({ suspicion }) => suspicion?.of === of).length, { of });
  });
  add('siphon_bases_unverified', 'Bases that nothing verified.', [], ({ status }, set) =>
    set(status.trust.unverified),
  );
  add(
    'siphon_scrub_oldest_time_seconds',
    'When the base that was scrubbed, or filled, the longest ago was so, since the epoch; 0 without bases.',
    [],
    ({ bases }, set) => {
      const complete = bases.filter(({ state }) => state === 'ready' || state === 'suspect');
      const looks = complete.map(({ scrubbedAtMs, createdAtMs }) => scrubbedAtMs ?? createdAtMs);
      set(looks.length === 0 ? 0 : Math.min(...looks) / 1000);
    },
  );
  add(
    'siphon_scrub_last_time_seconds',
    'When a base was found good by a scrub last, since the epoch; 0: never.',
    [],
    ({ bases }, set) => set(Math.max(0, ...bases.map((base) => base.scrubbedAtMs ?? 0)) / 1000),
  );
  add('siphon_cache_bytes', 'What the bases take on disk.', [], ({ status }, set) =>
    set(status.cache.allocatedBytes),
  );
  add('siphon_cache_limit_bytes', 'What they may take.', [], ({ status }, set) =>
    set(status.cache.limitBytes),
  );
  add('siphon_cache_free_bytes', 'What their file system has left.', [], ({ status }, set) =>
    set(status.cache.freeBytes),
  );
  const HELD = [
    ['pinned', 'an operator pinned', (base: Base) => base.isPinned],
    ['leased', 'a domain needs', (base: Base) => base.leases.length > 0],
  ] as const;
  for (const [name, who, isHeld] of HELD) {
    add(`siphon_${name}_bases`, `Bases that ${who}.`, [], ({ bases }, set) =>
      set(bases.filter(isHeld).length),
    );
    add(`siphon_${name}_bytes`, `What bases that ${who} take on disk.`, [], ({ bases }, set) =>
      set(sum(bases.filter(isHeld).map((base) => base.allocatedBytes))),
    );
  }
}

export function addQuarantineGauges(add: Add): void {
  add(
    'siphon_quarantined_files',
    'Files that failed their check and are kept for a while.',
    [],
    ({ quarantined }, set) => {
      if (quarantined !== undefined) set(quarantined.length);
    },
  );
  add('siphon_quarantined_bytes', 'What they take on disk.', [], ({ quarantined }, set) => {
    if (quarantined !== undefined) set(sum(quarantined.map((each) => each.allocatedBytes)));
  });
}

/** Of an empty list 0. */
export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
