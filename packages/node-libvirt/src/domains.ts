// Domains: find them, read them, change their state.

import { bind } from './call.ts';
import { identityOf } from './callbacks.ts';
import type { Connection } from './connection.ts';
import { isLibvirtError, VIR_ERR } from './errors.ts';
import { Handle } from './handle.ts';
import { free, type Pointer, pointersAt } from './library.ts';

const virConnectListAllDomains = bind(
  'int virConnectListAllDomains(virConnectPtr conn, virDomainPtr **domains, unsigned int flags)',
);
const virDomainLookupByName = bind(
  'virDomainPtr virDomainLookupByName(virConnectPtr conn, const char *name)',
);
const virDomainLookupByUUIDString = bind(
  'virDomainPtr virDomainLookupByUUIDString(virConnectPtr conn, const char *uuid)',
);
const virDomainDefineXMLFlags = bind(
  'virDomainPtr virDomainDefineXMLFlags(virConnectPtr conn, const char *xml, unsigned int flags)',
);
const virDomainFree = bind('int virDomainFree(virDomainPtr domain)');
const virDomainGetID = bind('unsigned int virDomainGetID(virDomainPtr domain)');
const virDomainGetState = bind(
  'int virDomainGetState(virDomainPtr domain, int *state, int *reason, unsigned int flags)',
);
const virDomainIsActive = bind('int virDomainIsActive(virDomainPtr dom)');
const virDomainIsPersistent = bind('int virDomainIsPersistent(virDomainPtr dom)');
const virDomainHasManagedSaveImage = bind(
  'int virDomainHasManagedSaveImage(virDomainPtr dom, unsigned int flags)',
);
const virDomainGetXMLDesc = bind(
  'char *virDomainGetXMLDesc(virDomainPtr domain, unsigned int flags)',
);
const virDomainGetMetadata = bind(
  'char *virDomainGetMetadata(virDomainPtr domain, int type, const char *uri, unsigned int flags)',
);
const virDomainSetMetadata = bind(
  `int virDomainSetMetadata(virDomainPtr domain, int type, const char *metadata, const char *key,
     const char *uri, unsigned int flags)`,
);
const virDomainGetAutostart = bind(
  'int virDomainGetAutostart(virDomainPtr domain, int *autostart)',
);
const virDomainSetAutostart = bind('int virDomainSetAutostart(virDomainPtr domain, int autostart)');
const virDomainCreate = bind('int virDomainCreate(virDomainPtr domain)');
const virDomainShutdown = bind('int virDomainShutdown(virDomainPtr domain)');
const virDomainDestroy = bind('int virDomainDestroy(virDomainPtr domain)');
const virDomainUndefineFlags = bind(
  'int virDomainUndefineFlags(virDomainPtr domain, unsigned int flags)',
);

/** virConnectListAllDomainsFlags: [where true, where false]. */
const LIST_FLAGS = {
  isActive: [1 << 0, 1 << 1],
  isPersistent: [1 << 2, 1 << 3],
  hasManagedSave: [1 << 8, 1 << 9],
  isAutostarted: [1 << 10, 1 << 11],
} as const;
/** Which domains: all those of which everything stated is so. */
export type DomainFilter = { readonly [Key in keyof typeof LIST_FLAGS]?: boolean };

/** virDomainState, in its order. */
export const DOMAIN_STATES = [
  'none',
  'running',
  'blocked',
  'paused',
  'shutdown',
  'shutoff',
  'crashed',
  'pmsuspended',
] as const;
export interface DomainStatus {
  readonly state: (typeof DOMAIN_STATES)[number];
  /** virDomain…Reason of that state. */
  readonly reason: number;
}

/** virDomainModificationImpact; `current`: live of a running domain, else config. */
const IMPACT = { current: 0, live: 1, config: 2 } as const;
export type Impact = keyof typeof IMPACT;

const VIR_DOMAIN_XML_SECURE = 1;
const VIR_DOMAIN_XML_INACTIVE = 2;
const VIR_DOMAIN_METADATA_ELEMENT = 2;
/** virDomainUndefineFlagsValues: managed save, snapshots' and checkpoints' metadata, NVRAM go too. */
const UNDEFINE_ALL = 1 | 2 | 4 | 16;

/** Handles that are freed together. */
export class DomainList implements AsyncDisposable {
  readonly domains: readonly Domain[];

  constructor(domains: readonly Domain[]) {
    this.domains = domains;
  }

  [Symbol.iterator](): Iterator<Domain> {
    return this.domains[Symbol.iterator]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.domains.map((domain) => domain[Symbol.asyncDispose]()));
  }
}

/**
 * The host's domains, or those of the filter. libvirtd holds the answer back while a hook runs for any of them.
 *
 * Implements: virConnectListAllDomains.
 */
export async function listDomains(
  connection: Connection,
  filter: DomainFilter = {},
): Promise<DomainList> {
  const array = Buffer.alloc(8);
  const count = await connection.use((it) => virConnectListAllDomains(it, array, flagsOf(filter)));
  const address = array.readBigUInt64LE();
  const pointers = pointersAt(address, count);
  free(address);
  return new DomainList(pointers.map((pointer) => new Domain(pointer)));
}

/** Implements: virDomainLookupByName. @throws LibvirtError NO_DOMAIN */
export async function lookUpDomainByName(connection: Connection, name: string): Promise<Domain> {
  return new Domain(await connection.use((it) => virDomainLookupByName(it, name)));
}

/** Implements: virDomainLookupByUUIDString. @throws LibvirtError NO_DOMAIN; INVALID_ARG for what is no UUID */
export async function lookUpDomainByUuid(connection: Connection, uuid: string): Promise<Domain> {
  return new Domain(await connection.use((it) => virDomainLookupByUUIDString(it, uuid)));
}

/** Makes or replaces a persistent definition. Implements: virDomainDefineXMLFlags. @throws LibvirtError XML_ERROR, … */
export async function defineDomain(connection: Connection, xml: string): Promise<Domain> {
  return new Domain(await connection.use((it) => virDomainDefineXMLFlags(it, xml, 0)));
}

function flagsOf(filter: DomainFilter): number {
  let flags = 0;
  for (const key of Object.keys(LIST_FLAGS) as (keyof DomainFilter)[]) {
    if (filter[key] !== undefined) flags |= LIST_FLAGS[key][filter[key] ? 0 : 1];
  }
  return flags;
}

/** A handle of one domain; dispose of it. Every method asks libvirtd; `name` and `uuid` are as they were when it was found. */
export class Domain implements AsyncDisposable {
  readonly uuid: string;
  readonly name: string;
  readonly #handle: Handle;

  /** Takes over a virDomainPtr. */
  constructor(pointer: Pointer) {
    this.#handle = new Handle('domain', pointer);
    ({ uuid: this.uuid, name: this.name } = identityOf(pointer));
  }

  /** Of a running domain; as it was when the handle was made. Implements: virDomainGetID. */
  async id(): Promise<number | undefined> {
    const id = await this.#handle.use(virDomainGetID);
    return id === 0xffff_ffff ? undefined : id;
  }

  /** Implements: virDomainGetState. */
  async status(): Promise<DomainStatus> {
    const answer = Buffer.alloc(8);
    await this.#handle.use((it) =>
      virDomainGetState(it, answer.subarray(0, 4), answer.subarray(4), 0),
    );
    return { state: DOMAIN_STATES[answer.readInt32LE(0)] ?? 'none', reason: answer.readInt32LE(4) };
  }

  /** Implements: virDomainIsActive. */
  async isActive(): Promise<boolean> {
    return (await this.#handle.use(virDomainIsActive)) === 1;
  }

  /** Implements: virDomainIsPersistent. */
  async isPersistent(): Promise<boolean> {
    return (await this.#handle.use(virDomainIsPersistent)) === 1;
  }

  /** Implements: virDomainHasManagedSaveImage. */
  async hasManagedSave(): Promise<boolean> {
    return (await this.#handle.use((it) => virDomainHasManagedSaveImage(it, 0))) === 1;
  }

  /**
   * Its XML: the live one where it runs, unless `isInactive` asks for the persistent definition. `isSecure` adds the secrets.
   *
   * Implements: virDomainGetXMLDesc.
   */
  xml(
    options: { readonly isInactive?: boolean; readonly isSecure?: boolean } = {},
  ): Promise<string> {
    const flags =
      (options.isInactive === true ? VIR_DOMAIN_XML_INACTIVE : 0) |
      (options.isSecure === true ? VIR_DOMAIN_XML_SECURE : 0);
    return this.#handle.use((it) => virDomainGetXMLDesc(it, flags));
  }

  /** The metadata element of a namespace URI, or null. Implements: virDomainGetMetadata. */
  async metadata(uri: string, impact: Impact = 'current'): Promise<string | null> {
    try {
      return await this.#handle.use((it) =>
        virDomainGetMetadata(it, VIR_DOMAIN_METADATA_ELEMENT, uri, IMPACT[impact]),
      );
    } catch (error) {
      if (isLibvirtError(error, VIR_ERR.NO_DOMAIN_METADATA)) return null;
      throw error;
    }
  }

  /** Sets the element of a namespace URI, its tags prefixed with `prefix`; null removes it. Implements: virDomainSetMetadata. */
  async setMetadata(
    uri: string,
    element: { readonly xml: string; readonly prefix: string } | null,
    impact: Impact = 'current',
  ): Promise<void> {
    const [xml, prefix] = element === null ? [null, null] : [element.xml, element.prefix];
    await this.#handle.use((it) =>
      virDomainSetMetadata(it, VIR_DOMAIN_METADATA_ELEMENT, xml, prefix, uri, IMPACT[impact]),
    );
  }

  /** Implements: virDomainGetAutostart. */
  async isAutostarted(): Promise<boolean> {
    const answer = Buffer.alloc(4);
    await this.#handle.use((it) => virDomainGetAutostart(it, answer));
    return answer.readInt32LE(0) === 1;
  }

  /** Implements: virDomainSetAutostart. */
  async setAutostart(isAutostarted: boolean): Promise<void> {
    await this.#handle.use((it) => virDomainSetAutostart(it, isAutostarted ? 1 : 0));
  }

  /** Starts it: from its managed save if there is one. Resolves when its hooks have run too. Implements: virDomainCreate. */
  async start(): Promise<void> {
    await this.#handle.use(virDomainCreate);
  }

  /** Asks the guest to shut down; resolves before it does. Implements: virDomainShutdown. */
  async shutdown(): Promise<void> {
    await this.#handle.use(virDomainShutdown);
  }

  /** Ends it at once, as pulling the plug. Implements: virDomainDestroy. */
  async destroy(): Promise<void> {
    await this.#handle.use(virDomainDestroy);
  }

  /** Removes the definition, with managed save, NVRAM and snapshot metadata. Implements: virDomainUndefineFlags. */
  async undefine(): Promise<void> {
    await this.#handle.use((it) => virDomainUndefineFlags(it, UNDEFINE_ALL));
  }

  /** Implements: virDomainFree. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#handle.free(virDomainFree);
  }
}
