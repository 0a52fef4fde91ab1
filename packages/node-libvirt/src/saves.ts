// Saved domains: managed saves, save files, and the XML within. Source: libvirt/libvirt-domain.h.

import { bind } from './call.ts';
import type { Connection } from './connection.ts';
import type { Domain } from './domain.ts';
import { bitsOf, type Flags } from './flags.ts';

const virDomainManagedSave = bind('int virDomainManagedSave(virDomainPtr dom, unsigned int flags)');
const virDomainManagedSaveRemove = bind(
  'int virDomainManagedSaveRemove(virDomainPtr dom, unsigned int flags)',
);
const virDomainManagedSaveGetXMLDesc = bind(
  'char *virDomainManagedSaveGetXMLDesc(virDomainPtr domain, unsigned int flags)',
);
const virDomainSaveFlags = bind(
  'int virDomainSaveFlags(virDomainPtr domain, const char *to, const char *dxml, unsigned int flags)',
);
const virDomainRestoreFlags = bind(
  'int virDomainRestoreFlags(virConnectPtr conn, const char *from, const char *dxml, unsigned int flags)',
);
const virDomainSaveImageGetXMLDesc = bind(
  'char *virDomainSaveImageGetXMLDesc(virConnectPtr conn, const char *file, unsigned int flags)',
);

/** virDomainSaveRestoreFlags. `isRunning`, `isPaused`: how it is to come back; as it was saved otherwise. */
export const SAVE_FLAGS = {
  bypassesCache: 1 << 0,
  isRunning: 1 << 1,
  isPaused: 1 << 2,
} as const;
export type SaveOptions = Flags<typeof SAVE_FLAGS>;

const VIR_DOMAIN_SAVE_IMAGE_XML_SECURE = 1;

export interface SavedXmlOptions {
  /** With passwords, which the file holds in plain. */
  readonly isSecure?: boolean;
}

/**
 * Saves the memory where libvirt keeps it, and stops the domain; its next start goes on from there. Takes as long as writing the
 * memory does: `jobInfo` tells how far, `abortJob` ends it.
 *
 * Implements: virDomainManagedSave.
 * @throws LibvirtError OPERATION_INVALID: it does not run, or is transient; OPERATION_ABORTED
 */
export async function saveManaged(domain: Domain, options: SaveOptions = {}): Promise<void> {
  await domain.use((it) => virDomainManagedSave(it, bitsOf(SAVE_FLAGS, options)));
}

/** Removes the managed save. Implements: virDomainManagedSaveRemove. @throws LibvirtError SYSTEM_ERROR: there is none */
export async function removeManagedSave(domain: Domain): Promise<void> {
  await domain.use((it) => virDomainManagedSaveRemove(it, 0));
}

/**
 * The XML by which the managed save will run: the disks that it needs.
 *
 * Implements: virDomainManagedSaveGetXMLDesc.
 * @throws LibvirtError OPERATION_INVALID: there is none
 */
export function managedSaveXml(domain: Domain, options: SavedXmlOptions = {}): Promise<string> {
  return domain.use((it) => virDomainManagedSaveGetXMLDesc(it, savedXmlFlags(options)));
}

/**
 * Saves the memory into a file of libvirtd's host (an absolute path), and stops the domain. `xml` replaces what the file says of it.
 *
 * Implements: virDomainSaveFlags.
 * @throws LibvirtError OPERATION_INVALID: it does not run; OPERATION_ABORTED; OPERATION_FAILED
 */
export async function saveDomain(
  domain: Domain,
  file: string,
  options: SaveOptions & { readonly xml?: string } = {},
): Promise<void> {
  const { xml = null, ...flags } = options;
  await domain.use((it) => virDomainSaveFlags(it, file, xml, bitsOf(SAVE_FLAGS, flags)));
}

/**
 * Starts the domain of a save file; the file stays.
 *
 * Implements: virDomainRestoreFlags.
 * @throws LibvirtError OPERATION_INVALID or OPERATION_FAILED: it runs; SYSTEM_ERROR: no such file; OPERATION_FAILED: no save
 */
export async function restoreDomain(
  connection: Connection,
  file: string,
  options: SaveOptions & { readonly xml?: string } = {},
): Promise<void> {
  const { xml = null, ...flags } = options;
  await connection.use((it) => virDomainRestoreFlags(it, file, xml, bitsOf(SAVE_FLAGS, flags)));
}

/**
 * The XML of a save file.
 *
 * Implements: virDomainSaveImageGetXMLDesc.
 * @throws LibvirtError SYSTEM_ERROR: no such file; OPERATION_FAILED: no save; OPERATION_DENIED: over a read-only connection
 */
export function saveFileXml(
  connection: Connection,
  file: string,
  options: SavedXmlOptions = {},
): Promise<string> {
  return connection.use((it) => virDomainSaveImageGetXMLDesc(it, file, savedXmlFlags(options)));
}

function savedXmlFlags(options: SavedXmlOptions): number {
  return options.isSecure === true ? VIR_DOMAIN_SAVE_IMAGE_XML_SECURE : 0;
}
