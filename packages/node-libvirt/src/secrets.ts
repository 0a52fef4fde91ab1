// libvirt's secrets: the keys by which QEMU opens disks. Source: libvirt/libvirt-secret.h.

import { bind } from './call.ts';
import type { Connection } from './connection.ts';
import { VIR_UUID_STRING_BUFLEN } from './domain.ts';
import { Handle, HandleList, listHandles } from './handle.ts';
import { bytesAt, free, local, type Pointer, wipe } from './library.ts';

const virSecretDefineXML = bind(
  'virSecretPtr virSecretDefineXML(virConnectPtr conn, const char *xml, unsigned int flags)',
);
const virSecretLookupByUUIDString = bind(
  'virSecretPtr virSecretLookupByUUIDString(virConnectPtr conn, const char *uuid)',
);
const virSecretLookupByUsage = bind(
  'virSecretPtr virSecretLookupByUsage(virConnectPtr conn, int usageType, const char *usageID)',
);
const virConnectListAllSecrets = bind(
  'int virConnectListAllSecrets(virConnectPtr conn, virSecretPtr **secrets, unsigned int flags)',
);
const virSecretGetUUIDString = local('int virSecretGetUUIDString(virSecretPtr secret, char *buf)');
const virSecretGetUsageType = local('int virSecretGetUsageType(virSecretPtr secret)');
const virSecretGetUsageID = local('const char *virSecretGetUsageID(virSecretPtr secret)');
const virSecretGetXMLDesc = bind(
  'char *virSecretGetXMLDesc(virSecretPtr secret, unsigned int flags)',
);
const virSecretSetValue = bind(
  `int virSecretSetValue(virSecretPtr secret, const unsigned char *value, size_t value_size,
     unsigned int flags)`,
);
const virSecretGetValue = bind(
  'unsigned char *virSecretGetValue(virSecretPtr secret, size_t *value_size, unsigned int flags)',
);
const virSecretUndefine = bind('int virSecretUndefine(virSecretPtr secret)');
const virSecretFree = bind('int virSecretFree(virSecretPtr secret)');

/** virSecretUsageType, in its order. */
export const SECRET_USAGES = ['none', 'volume', 'ceph', 'iscsi', 'tls', 'vtpm'] as const;
export type SecretUsage = (typeof SECRET_USAGES)[number];

/** Makes a secret, or replaces its definition; its value stays. Implements: virSecretDefineXML. @throws LibvirtError XML_ERROR, … */
export async function defineSecret(connection: Connection, xml: string): Promise<Secret> {
  return new Secret(await connection.use((it) => virSecretDefineXML(it, xml, 0)));
}

/** Implements: virSecretLookupByUUIDString. @throws LibvirtError NO_SECRET; INVALID_ARG for what is no UUID */
export async function lookUpSecretByUuid(connection: Connection, uuid: string): Promise<Secret> {
  return new Secret(await connection.use((it) => virSecretLookupByUUIDString(it, uuid)));
}

/** By what it is for: of `ceph`, its name (`client.libvirt secret`). Implements: virSecretLookupByUsage. @throws LibvirtError NO_SECRET */
export async function lookUpSecretByUsage(
  connection: Connection,
  usage: SecretUsage,
  usageId: string,
): Promise<Secret> {
  const type = SECRET_USAGES.indexOf(usage);
  return new Secret(await connection.use((it) => virSecretLookupByUsage(it, type, usageId)));
}

/** All secrets. Implements: virConnectListAllSecrets. */
export async function listSecrets(connection: Connection): Promise<HandleList<Secret>> {
  const secrets = await connection.use((it) =>
    listHandles(
      (array) => virConnectListAllSecrets(it, array, 0),
      (pointer) => new Secret(pointer),
    ),
  );
  return new HandleList(secrets);
}

/** A handle of one secret; dispose of it. What it is for is as it was when it was found. */
export class Secret implements AsyncDisposable {
  readonly uuid: string;
  readonly usage: SecretUsage | 'unknown';
  readonly usageId: string;
  readonly #handle: Handle;

  /** Takes over a virSecretPtr. Implements: virSecretGetUUIDString, virSecretGetUsageType, virSecretGetUsageID. */
  constructor(pointer: Pointer) {
    this.#handle = new Handle('secret', pointer);
    const uuid = Buffer.alloc(VIR_UUID_STRING_BUFLEN);
    virSecretGetUUIDString(pointer, uuid);
    this.uuid = uuid.toString('latin1', 0, VIR_UUID_STRING_BUFLEN - 1);
    this.usage = SECRET_USAGES[virSecretGetUsageType(pointer)] ?? 'unknown';
    this.usageId = virSecretGetUsageID(pointer);
  }

  /** Its definition, never its value. Implements: virSecretGetXMLDesc. */
  xml(): Promise<string> {
    return this.#handle.use((it) => virSecretGetXMLDesc(it, 0));
  }

  /** The bytes themselves: of a Ceph key, decode its base64 first. Implements: virSecretSetValue. */
  async setValue(value: Uint8Array): Promise<void> {
    await this.#handle.use((it) => virSecretSetValue(it, value, value.length, 0));
  }

  /**
   * Its value; overwrite it after use.
   *
   * Implements: virSecretGetValue.
   * @throws LibvirtError NO_SECRET: it has none; INVALID_SECRET: it is private; OPERATION_DENIED: over a read-only connection
   */
  async value(): Promise<Buffer> {
    const size = Buffer.alloc(8);
    const address = await this.#handle.use((it) => virSecretGetValue(it, size, 0));
    const length = Number(size.readBigUInt64LE());
    const value = bytesAt(address, length);
    wipe(address, length);
    free(address);
    return value;
  }

  /** Removes it, with its value. Implements: virSecretUndefine. @throws LibvirtError NO_SECRET */
  async undefine(): Promise<void> {
    await this.#handle.use(virSecretUndefine);
  }

  /** Implements: virSecretFree. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#handle.free(virSecretFree);
  }
}
