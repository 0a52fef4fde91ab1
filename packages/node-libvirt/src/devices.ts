// Devices of a domain, attached and detached. Source: libvirt/libvirt-domain.h.

import { bind } from './call.ts';
import { type ChangeImpact, type Domain, IMPACT } from './domain.ts';

const virDomainAttachDeviceFlags = bind(
  'int virDomainAttachDeviceFlags(virDomainPtr domain, const char *xml, unsigned int flags)',
);
const virDomainDetachDeviceFlags = bind(
  'int virDomainDetachDeviceFlags(virDomainPtr domain, const char *xml, unsigned int flags)',
);
const virDomainDetachDeviceAlias = bind(
  'int virDomainDetachDeviceAlias(virDomainPtr domain, const char *alias, unsigned int flags)',
);
const virDomainUpdateDeviceFlags = bind(
  'int virDomainUpdateDeviceFlags(virDomainPtr domain, const char *xml, unsigned int flags)',
);

/**
 * Adds the device of that XML (`<disk>…`).
 *
 * Implements: virDomainAttachDeviceFlags.
 * @throws LibvirtError XML_ERROR: also a target that is taken; CONFIG_UNSUPPORTED: it cannot be; …
 */
export async function attachDevice(
  domain: Domain,
  xml: string,
  impact: ChangeImpact = 'current',
): Promise<void> {
  await domain.use((it) => virDomainAttachDeviceFlags(it, xml, IMPACT[impact]));
}

/**
 * Removes the device that the XML describes. Of a running domain this asks the guest, and may resolve before it let go: the
 * device is gone when `watchDevices` says so, or the live XML.
 *
 * Implements: virDomainDetachDeviceFlags.
 * @throws LibvirtError DEVICE_MISSING
 */
export async function detachDevice(
  domain: Domain,
  xml: string,
  impact: ChangeImpact = 'current',
): Promise<void> {
  await domain.use((it) => virDomainDetachDeviceFlags(it, xml, IMPACT[impact]));
}

/**
 * The same by alias (`virtio-disk1`), and never waiting for the guest.
 *
 * Implements: virDomainDetachDeviceAlias.
 * @throws LibvirtError INTERNAL_ERROR: no such alias
 */
export async function detachDeviceByAlias(
  domain: Domain,
  alias: string,
  impact: ChangeImpact = 'current',
): Promise<void> {
  await domain.use((it) => virDomainDetachDeviceAlias(it, alias, IMPACT[impact]));
}

/**
 * Changes a device to what the XML says: the medium of a CD-ROM, a network's link, a password.
 *
 * Implements: virDomainUpdateDeviceFlags.
 * @throws LibvirtError DEVICE_MISSING; CONFIG_UNSUPPORTED, OPERATION_UNSUPPORTED: not in a running domain
 */
export async function updateDevice(
  domain: Domain,
  xml: string,
  impact: ChangeImpact = 'current',
): Promise<void> {
  await domain.use((it) => virDomainUpdateDeviceFlags(it, xml, IMPACT[impact]));
}
