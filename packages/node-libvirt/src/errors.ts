// What a failed call throws. Source: libvirt/virterror.h.

/** virErrorNumber: the codes that callers branch on. */
export const VIR_ERR = {
  INTERNAL_ERROR: 1,
  NO_SUPPORT: 3,
  INVALID_CONN: 6,
  INVALID_ARG: 8,
  OPERATION_FAILED: 9,
  XML_ERROR: 27,
  OPERATION_DENIED: 29,
  OPEN_FAILED: 30,
  SYSTEM_ERROR: 38,
  RPC: 39,
  NO_DOMAIN: 42,
  AUTH_FAILED: 45,
  NO_STORAGE_POOL: 49,
  NO_STORAGE_VOL: 50,
  OPERATION_INVALID: 55,
  INVALID_SECRET: 65,
  NO_SECRET: 66,
  CONFIG_UNSUPPORTED: 67,
  OPERATION_TIMEOUT: 68,
  HOOK_SCRIPT_FAILED: 70,
  ARGUMENT_UNSUPPORTED: 74,
  OPERATION_ABORTED: 78,
  NO_DOMAIN_METADATA: 80,
  BLOCK_COPY_ACTIVE: 83,
  OPERATION_UNSUPPORTED: 84,
  AGENT_UNRESPONSIVE: 86,
  RESOURCE_BUSY: 87,
  ACCESS_DENIED: 88,
  AUTH_UNAVAILABLE: 94,
  AGENT_UNSYNCED: 97,
  DEVICE_MISSING: 99,
  /** Since libvirt 11.2, as the next; older ones say AGENT_UNRESPONSIVE and INTERNAL_ERROR. */
  AGENT_COMMAND_TIMEOUT: 112,
  AGENT_COMMAND_FAILED: 113,
} as const;

/** A call of libvirt failed. `code` is virErrorNumber, `domain` virErrorDomain (which part spoke); 0 if libvirt said nothing. */
export class LibvirtError extends Error {
  override readonly name: string = 'LibvirtError';
  readonly code: number;
  readonly domain: number;
  /** The C function. */
  readonly call: string;
  /** libvirt's own words. */
  readonly text: string;

  constructor(call: string, code: number, domain: number, text: string) {
    super(`${call}: ${text}`);
    this.call = call;
    this.code = code;
    this.domain = domain;
    this.text = text;
  }
}

/** The installed libvirt has no function of that name: it is older or newer. `bindings().get(symbol)?.available` tells beforehand. */
export class AbsentFunctionError extends LibvirtError {
  override readonly name = 'AbsentFunctionError';

  constructor(symbol: string) {
    super(symbol, VIR_ERR.NO_SUPPORT, 0, 'the installed libvirt has no such function');
  }
}

/** Whether it is libvirt's error of that code. */
export function isLibvirtError(error: unknown, code: number): error is LibvirtError {
  return error instanceof LibvirtError && error.code === code;
}
