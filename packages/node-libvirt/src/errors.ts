// What a failed call throws, and how libvirt's error is read. Source: libvirt/virterror.h.

import { type Pointer, textAt } from './library.ts';

/** virErrorNumber: the codes that callers branch on. */
export const VIR_ERR = {
  INTERNAL_ERROR: 1,
  NO_SUPPORT: 3,
  INVALID_CONN: 6,
  INVALID_ARG: 8,
  OPERATION_FAILED: 9,
  XML_ERROR: 27,
  OPERATION_DENIED: 29,
  SYSTEM_ERROR: 38,
  RPC: 39,
  NO_DOMAIN: 42,
  AUTH_FAILED: 45,
  OPERATION_INVALID: 55,
  OPERATION_TIMEOUT: 68,
  HOOK_SCRIPT_FAILED: 70,
  NO_DOMAIN_METADATA: 80,
  AUTH_UNAVAILABLE: 94,
} as const;

/** A call of libvirt failed. `code` is virErrorNumber, `domain` virErrorDomain (which part spoke); 0 if libvirt said nothing. */
export class LibvirtError extends Error {
  override readonly name = 'LibvirtError';
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

/** Whether it is libvirt's error of that code. */
export function isLibvirtError(error: unknown, code: number): error is LibvirtError {
  return error instanceof LibvirtError && error.code === code;
}

/** sizeof(virError) on the 64-bit ABIs: int code, int domain, char *message at 8, …; all zero is "no error". */
export const VIR_ERROR_BYTES = 80;

/** Reads a virError that virCopyLastError filled. */
export function readError(call: string, error: DataView): LibvirtError {
  const message: Pointer = error.getBigUint64(8, true);
  const text = message === 0n ? 'failed, and libvirt gave no reason' : textAt(message);
  return new LibvirtError(call, error.getInt32(0, true), error.getInt32(4, true), text);
}
