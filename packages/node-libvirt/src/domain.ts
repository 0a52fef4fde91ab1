// One domain: read it, change its state, its metadata and whether it starts by itself. Source: libvirt/libvirt-domain.h.

import { bind } from './call.ts';
import { isLibvirtError, VIR_ERR } from './errors.ts';
import { bitsOf, type Flags } from './flags.ts';
import { Handle } from './handle.ts';
import { local, type Pointer } from './library.ts';

const virDomainGetName = local('const char *virDomainGetName(virDomainPtr domain)');
const virDomainGetUUIDString = local('int virDomainGetUUIDString(virDomainPtr domain, char *buf)');
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
const virDomainGetAutostartOnce = bind(
  'int virDomainGetAutostartOnce(virDomainPtr domain, int *autostart)',
);
const virDomainSetAutostartOnce = bind(
  'int virDomainSetAutostartOnce(virDomainPtr domain, int autostart)',
);
const virDomainCreateWithFlags = bind(
  'int virDomainCreateWithFlags(virDomainPtr domain, unsigned int flags)',
);
const virDomainSuspend = bind('int virDomainSuspend(virDomainPtr domain)');
const virDomainResume = bind('int virDomainResume(virDomainPtr domain)');
const virDomainReset = bind('int virDomainReset(virDomainPtr domain, unsigned int flags)');
const virDomainReboot = bind('int virDomainReboot(virDomainPtr domain, unsigned int flags)');
const virDomainShutdownFlags = bind(
  'int virDomainShutdownFlags(virDomainPtr domain, unsigned int flags)',
);
const virDomainDestroyFlags = bind(
  'int virDomainDestroyFlags(virDomainPtr domain, unsigned int flags)',
);
const virDomainUndefineFlags = bind(
  'int virDomainUndefineFlags(virDomainPtr domain, unsigned int flags)',
);

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
export const IMPACT = { current: 0, live: 1, config: 2, both: 3 } as const;
/** What a change applies to. */
export type ChangeImpact = keyof typeof IMPACT;
/** What is read. */
export type Impact = Exclude<ChangeImpact, 'both'>;

/** virDomainXMLFlags. `isMigratable`: without what libvirt added by itself, as other hosts would be given it. */
export const XML_FLAGS = { isSecure: 1 << 0, isInactive: 1 << 1, isMigratable: 1 << 3 } as const;

/** virDomainCreateFlags. `isAutoDestroyed`: libvirt destroys it when the connection closes. */
export const START_FLAGS = {
  isPaused: 1 << 0,
  isAutoDestroyed: 1 << 1,
  bypassesCache: 1 << 2,
  discardsManagedSave: 1 << 3,
} as const;
export type StartOptions = Flags<typeof START_FLAGS>;

/** virDomainShutdownFlagValues, virDomainRebootFlagValues: how the guest is told. */
export const POWER_WAYS = { any: 0, acpi: 1 << 0, agent: 1 << 1 } as const;
export type PowerWay = keyof typeof POWER_WAYS;

/** virDomainUndefineFlagsValues. Each pair says what becomes of a file; where neither is set and there is one, libvirt refuses. */
export const UNDEFINE_FLAGS = {
  removesManagedSave: 1 << 0,
  removesSnapshotMetadata: 1 << 1,
  removesNvram: 1 << 2,
  keepsNvram: 1 << 3,
  removesCheckpointMetadata: 1 << 4,
  removesTpm: 1 << 5,
  keepsTpm: 1 << 6,
} as const;
export type UndefineOptions = Flags<typeof UNDEFINE_FLAGS>;
const UNDEFINE_ALL: UndefineOptions = {
  removesManagedSave: true,
  removesSnapshotMetadata: true,
  removesNvram: true,
  removesCheckpointMetadata: true,
};

const VIR_DOMAIN_METADATA_ELEMENT = 2;
const VIR_DOMAIN_DESTROY_GRACEFUL = 1;

export interface DomainIdentity {
  readonly uuid: string;
  readonly name: string;
}

export const VIR_UUID_STRING_BUFLEN = 37;

/** As the handle itself has it: no call to libvirtd, no lock. Implements: virDomainGetName, virDomainGetUUIDString. */
export function identityOf(domain: Pointer): DomainIdentity {
  const buffer = Buffer.alloc(VIR_UUID_STRING_BUFLEN);
  virDomainGetUUIDString(domain, buffer);
  return {
    uuid: buffer.toString('latin1', 0, VIR_UUID_STRING_BUFLEN - 1),
    name: virDomainGetName(domain),
  };
}

/** virDomainCreateFlags of the options. */
export function startFlags(options: StartOptions): number {
  return bitsOf(START_FLAGS, options);
}

/** A handle of one domain; dispose of it. Every method asks libvirtd; `name` and `uuid` are as they were when it was found. */
export class Domain implements AsyncDisposable, DomainIdentity {
  readonly uuid: string;
  readonly name: string;
  readonly #handle: Handle;

  /** Takes over a virDomainPtr. */
  constructor(pointer: Pointer) {
    this.#handle = new Handle('domain', pointer);
    ({ uuid: this.uuid, name: this.name } = identityOf(pointer));
  }

  /** Runs a binding on the domain's pointer; it is not freed meanwhile. For the other topics of this package. */
  use<T>(call: (domain: Pointer) => Promise<T>): Promise<T> {
    return this.#handle.use(call);
  }

  /** Of a running domain; as it was when the handle was made. Implements: virDomainGetID. */
  async id(): Promise<number | undefined> {
    const id = await this.use(virDomainGetID);
    return id === 0xffff_ffff ? undefined : id;
  }

  /** Implements: virDomainGetState. */
  async status(): Promise<DomainStatus> {
    const answer = Buffer.alloc(8);
    await this.use((it) => virDomainGetState(it, answer.subarray(0, 4), answer.subarray(4), 0));
    return { state: DOMAIN_STATES[answer.readInt32LE(0)] ?? 'none', reason: answer.readInt32LE(4) };
  }

  /** Implements: virDomainIsActive. */
  async isActive(): Promise<boolean> {
    return (await this.use(virDomainIsActive)) === 1;
  }

  /** Implements: virDomainIsPersistent. */
  async isPersistent(): Promise<boolean> {
    return (await this.use(virDomainIsPersistent)) === 1;
  }

  /** Implements: virDomainHasManagedSaveImage. */
  async hasManagedSave(): Promise<boolean> {
    return (await this.use((it) => virDomainHasManagedSaveImage(it, 0))) === 1;
  }

  /**
   * Its XML: the live one where it runs, unless `isInactive` asks for the persistent definition. `isSecure` adds the secrets.
   *
   * Implements: virDomainGetXMLDesc.
   * @throws LibvirtError OPERATION_DENIED: secrets over a read-only connection
   */
  xml(options: Flags<typeof XML_FLAGS> = {}): Promise<string> {
    return this.use((it) => virDomainGetXMLDesc(it, bitsOf(XML_FLAGS, options)));
  }

  /** The metadata element of a namespace URI, or null. Implements: virDomainGetMetadata. */
  async metadata(uri: string, impact: Impact = 'current'): Promise<string | null> {
    try {
      return await this.use((it) =>
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
    impact: ChangeImpact = 'current',
  ): Promise<void> {
    const [xml, prefix] = element === null ? [null, null] : [element.xml, element.prefix];
    await this.use((it) =>
      virDomainSetMetadata(it, VIR_DOMAIN_METADATA_ELEMENT, xml, prefix, uri, IMPACT[impact]),
    );
  }

  /** Whether it starts with libvirtd. Implements: virDomainGetAutostart. */
  async isAutostarted(): Promise<boolean> {
    const answer = Buffer.alloc(4);
    await this.use((it) => virDomainGetAutostart(it, answer));
    return answer.readInt32LE(0) === 1;
  }

  /** Implements: virDomainSetAutostart. @throws LibvirtError OPERATION_INVALID: a transient domain */
  async setAutostart(isAutostarted: boolean): Promise<void> {
    await this.use((it) => virDomainSetAutostart(it, isAutostarted ? 1 : 0));
  }

  /**
   * Whether it starts with the host's next boot, once. Since libvirt 11.2.
   *
   * Implements: virDomainGetAutostartOnce.
   * @throws AbsentFunctionError libvirt is older
   */
  async isAutostartedOnce(): Promise<boolean> {
    const answer = Buffer.alloc(4);
    await this.use((it) => virDomainGetAutostartOnce(it, answer));
    return answer.readInt32LE(0) === 1;
  }

  /** Since libvirt 11.2. Implements: virDomainSetAutostartOnce. @throws AbsentFunctionError libvirt is older */
  async setAutostartOnce(isAutostarted: boolean): Promise<void> {
    await this.use((it) => virDomainSetAutostartOnce(it, isAutostarted ? 1 : 0));
  }

  /**
   * Starts it: from its managed save if there is one. Resolves when its hooks have run too.
   *
   * Implements: virDomainCreateWithFlags.
   * @throws LibvirtError OPERATION_INVALID: it runs; HOOK_SCRIPT_FAILED: a hook refused
   */
  async start(options: StartOptions = {}): Promise<void> {
    await this.use((it) => virDomainCreateWithFlags(it, startFlags(options)));
  }

  /** Stops its vCPUs, once QEMU has drained its disks. Implements: virDomainSuspend. @throws LibvirtError OPERATION_INVALID */
  async suspend(): Promise<void> {
    await this.use(virDomainSuspend);
  }

  /** Lets its vCPUs run. Implements: virDomainResume. @throws LibvirtError OPERATION_INVALID: it does not run, or runs already */
  async resume(): Promise<void> {
    await this.use(virDomainResume);
  }

  /** Presses its reset button. Implements: virDomainReset. @throws LibvirtError OPERATION_INVALID: it does not run */
  async reset(): Promise<void> {
    await this.use((it) => virDomainReset(it, 0));
  }

  /** Asks the guest to reboot; resolves before it does. Implements: virDomainReboot. @throws LibvirtError OPERATION_INVALID */
  async reboot(way: PowerWay = 'any'): Promise<void> {
    await this.use((it) => virDomainReboot(it, POWER_WAYS[way]));
  }

  /** Asks the guest to shut down; resolves before it does. Implements: virDomainShutdownFlags. @throws LibvirtError OPERATION_INVALID */
  async shutdown(way: PowerWay = 'any'): Promise<void> {
    await this.use((it) => virDomainShutdownFlags(it, POWER_WAYS[way]));
  }

  /**
   * Ends it at once, as pulling the plug. `isGraceful`: SIGTERM alone, so a QEMU that does not end within libvirt's patience is not
   * killed, and the call fails.
   *
   * Implements: virDomainDestroyFlags.
   * @throws LibvirtError OPERATION_INVALID: it does not run; SYSTEM_ERROR: it did not end
   */
  async destroy(options: { readonly isGraceful?: boolean } = {}): Promise<void> {
    const flags = options.isGraceful === true ? VIR_DOMAIN_DESTROY_GRACEFUL : 0;
    await this.use((it) => virDomainDestroyFlags(it, flags));
  }

  /**
   * Removes the definition; a running domain becomes transient. Without options managed save, NVRAM and the metadata of snapshots
   * and checkpoints go with it; disks never do.
   *
   * Implements: virDomainUndefineFlags.
   * @throws LibvirtError OPERATION_INVALID: it is transient, or has something that the options do not name
   */
  async undefine(options: UndefineOptions = UNDEFINE_ALL): Promise<void> {
    await this.use((it) => virDomainUndefineFlags(it, bitsOf(UNDEFINE_FLAGS, options)));
  }

  /** Implements: virDomainFree. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#handle.free(virDomainFree);
  }
}
