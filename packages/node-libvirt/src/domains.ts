// Domains: find them, define them, create them. Source: libvirt/libvirt-domain.h.

import { bind } from './call.ts';
import type { Connection } from './connection.ts';
import { Domain, type StartOptions, startFlags } from './domain.ts';
import { HandleList, listHandles } from './handle.ts';

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
const virDomainCreateXML = bind(
  'virDomainPtr virDomainCreateXML(virConnectPtr conn, const char *xmlDesc, unsigned int flags)',
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

const VIR_DOMAIN_DEFINE_VALIDATE = 1;
const VIR_DOMAIN_START_VALIDATE = 1 << 4;

/** Handles that are freed together. */
export class DomainList extends HandleList<Domain> {
  get domains(): readonly Domain[] {
    return this.items;
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
  const domains = await connection.use((it) =>
    listHandles(
      (array) => virConnectListAllDomains(it, array, flagsOf(filter)),
      (pointer) => new Domain(pointer),
    ),
  );
  return new DomainList(domains);
}

/** Implements: virDomainLookupByName. @throws LibvirtError NO_DOMAIN */
export async function lookUpDomainByName(connection: Connection, name: string): Promise<Domain> {
  return new Domain(await connection.use((it) => virDomainLookupByName(it, name)));
}

/** Implements: virDomainLookupByUUIDString. @throws LibvirtError NO_DOMAIN; INVALID_ARG for what is no UUID */
export async function lookUpDomainByUuid(connection: Connection, uuid: string): Promise<Domain> {
  return new Domain(await connection.use((it) => virDomainLookupByUUIDString(it, uuid)));
}

/**
 * Makes or replaces a persistent definition; of a running domain, that of its next start. `isValidated` checks it against libvirt's
 * schema, which finds misspelt elements: they are ignored otherwise.
 *
 * Implements: virDomainDefineXMLFlags.
 * @throws LibvirtError XML_ERROR, CONFIG_UNSUPPORTED, …
 */
export async function defineDomain(
  connection: Connection,
  xml: string,
  options: { readonly isValidated?: boolean } = {},
): Promise<Domain> {
  const flags = options.isValidated === true ? VIR_DOMAIN_DEFINE_VALIDATE : 0;
  return new Domain(await connection.use((it) => virDomainDefineXMLFlags(it, xml, flags)));
}

/**
 * Starts a domain of that XML without defining it: it is gone when it stops. Resolves when its hooks have run too.
 *
 * Implements: virDomainCreateXML.
 * @throws LibvirtError XML_ERROR; OPERATION_FAILED where a domain of that name or UUID is there; HOOK_SCRIPT_FAILED, …
 */
export async function createDomain(
  connection: Connection,
  xml: string,
  options: StartOptions & { readonly isValidated?: boolean } = {},
): Promise<Domain> {
  const flags =
    startFlags(options) | (options.isValidated === true ? VIR_DOMAIN_START_VALIDATE : 0);
  return new Domain(await connection.use((it) => virDomainCreateXML(it, xml, flags)));
}

function flagsOf(filter: DomainFilter): number {
  let flags = 0;
  for (const key of Object.keys(LIST_FLAGS) as (keyof DomainFilter)[]) {
    if (filter[key] !== undefined) flags |= LIST_FLAGS[key][filter[key] ? 0 : 1];
  }
  return flags;
}
