// The shelf of leases: which domain needs which base, because it runs or because it is defined here. By domain on disk; by
// domain and by base in memory.

import { type BaseIdentity, baseId, parseBaseId } from '../../domain/base-path.ts';
import type { DiskFormat, Lease } from '../../wire/vocabulary.ts';
import { type Db, onCatalogue } from './sqlite.ts';

export interface LeaseHolder {
  readonly uuid: string;
  readonly name: string;
}
export interface HeldLease extends Lease {
  readonly base: BaseIdentity;
}

export interface LeaseShelf {
  ofBase(id: string): readonly Lease[];
  /** What a domain needs, by both kinds of lease, each base once. */
  ofDomain(uuid: string): readonly BaseIdentity[];
  all(): readonly HeldLease[];
  /** Makes a domain's leases of one kind exactly these. True if that changed anything. */
  replace(kind: Lease['kind'], holder: LeaseHolder, bases: readonly BaseIdentity[]): boolean;
  /** Ends all leases of one kind but those of these domains. */
  retain(kind: Lease['kind'], uuids: ReadonlySet<string>): void;
}

interface Stored {
  readonly base_id: string;
  readonly format: string;
  readonly domain_uuid: string;
  readonly domain_name: string;
  readonly kind: string;
}

export function openLeases(db: Db, path: string): LeaseShelf {
  const remove = db.prepare<[string, string]>(
    'DELETE FROM leases WHERE kind = ? AND domain_uuid = ?',
  );
  const insert = db.prepare<Stored>(
    'INSERT OR IGNORE INTO leases VALUES (@base_id, @format, @domain_uuid, @domain_name, @kind)',
  );
  const write = db.transaction(
    (kind: Lease['kind'], uuid: string, leases: readonly HeldLease[]) => {
      remove.run(kind, uuid);
      for (const lease of leases) insert.run(storedOf(lease));
    },
  );
  const index = new LeaseIndex();
  for (const [key, leases] of Map.groupBy(loadAll(db), keyOf)) index.set(key, leases);
  const replace: LeaseShelf['replace'] = (kind, { uuid, name }, bases) => {
    const leases = bases.map((base): HeldLease => {
      return { domainUuid: uuid, domainName: name, kind, base };
    });
    const key = `${kind} ${uuid}`;
    if (sameLeases(index.get(key), leases)) return false;
    onCatalogue('record leases', path, () => write(kind, uuid, leases));
    index.set(key, leases);
    return true;
  };
  return {
    ofBase: (id) => index.ofBase(id),
    ofDomain: (uuid) =>
      uniqueBases([...index.get(`running ${uuid}`), ...index.get(`defined ${uuid}`)]),
    all: () => index.all(),
    replace,
    retain(kind, uuids) {
      for (const { kind: each, domainUuid: uuid, domainName: name } of index.all()) {
        if (each === kind && !uuids.has(uuid)) replace(kind, { uuid, name }, []);
      }
    },
  };
}

class LeaseIndex {
  readonly #byKey = new Map<string, readonly HeldLease[]>();
  readonly #byBase = new Map<string, Map<string, Lease>>();

  get(key: string): readonly HeldLease[] {
    return this.#byKey.get(key) ?? [];
  }

  ofBase(id: string): readonly Lease[] {
    return [...(this.#byBase.get(id)?.values() ?? [])];
  }

  all(): readonly HeldLease[] {
    return [...this.#byKey.values()].flat();
  }

  set(key: string, leases: readonly HeldLease[]): void {
    for (const { base } of this.get(key)) this.#drop(baseId(base.ids), key);
    if (leases.length === 0) this.#byKey.delete(key);
    else this.#byKey.set(key, leases);
    for (const { base, ...lease } of leases) {
      const id = baseId(base.ids);
      const holders = this.#byBase.get(id) ?? new Map<string, Lease>();
      this.#byBase.set(id, holders.set(key, lease));
    }
  }

  #drop(id: string, key: string): void {
    const holders = this.#byBase.get(id);
    holders?.delete(key);
    if (holders?.size === 0) this.#byBase.delete(id);
  }
}

function keyOf(lease: Lease): string {
  return `${lease.kind} ${lease.domainUuid}`;
}

function sameLeases(a: readonly HeldLease[], b: readonly HeldLease[]): boolean {
  const text = (leases: readonly HeldLease[]) =>
    leases
      .map((each) => JSON.stringify(storedOf(each)))
      .toSorted()
      .join();
  return text(a) === text(b);
}

function uniqueBases(leases: readonly HeldLease[]): BaseIdentity[] {
  const byName = leases.map(({ base }) => [`${baseId(base.ids)}.${base.format}`, base] as const);
  return [...new Map(byName).values()];
}

function storedOf({ base, domainUuid, domainName, kind }: HeldLease): Stored {
  return {
    base_id: baseId(base.ids),
    format: base.format,
    domain_uuid: domainUuid,
    domain_name: domainName,
    kind,
  };
}

function loadAll(db: Db): HeldLease[] {
  return db
    .prepare<[], Stored>('SELECT * FROM leases')
    .all()
    .flatMap((stored) => {
      const ids = parseBaseId(stored.base_id);
      if (ids === null) return [];
      return [
        {
          domainUuid: stored.domain_uuid,
          domainName: stored.domain_name,
          kind: stored.kind as Lease['kind'],
          base: { ids, format: stored.format as DiskFormat },
        },
      ];
    });
}
