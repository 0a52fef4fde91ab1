// The libraries, and how memory crosses to them. Everything of koffi is in this file, call.ts and callbacks.ts.

import * as koffi from 'koffi';

/** An address: a handle of libvirt's, memory, or a function. null is NULL. */
export type Pointer = bigint;

const load = (name: string): (() => koffi.LibraryHandle) => {
  let library: koffi.LibraryHandle | undefined;
  return () => (library ??= koffi.load(name));
};

export const libvirt = load('libvirt.so.0');
/** A dependency of libvirt.so.0 itself, so it is there. */
export const libgobject = load('libgobject-2.0.so.0');
const libc = load('libc.so.6');

/** The address of a function of libvirt, or null where this libvirt has none of that name (it is older, or newer). */
export function symbol(name: string): Pointer | null {
  try {
    return koffi.address(libvirt().symbol(name));
  } catch {
    return null; // koffi throws for nothing else here: the library itself was loaded by libvirt() above, or that threw
  }
}

/** A buffer's address. It does not move; it must be kept referenced while C uses it. */
export function addressOf(buffer: Uint8Array): Pointer {
  return koffi.address(buffer);
}

/** A NUL-ended copy of a text. A NUL within it would end it early, and is refused. */
export function cString(text: string): Uint8Array {
  if (text.includes('\0')) throw new TypeError('a text for libvirt holds a NUL');
  return Buffer.from(`${text}\0`);
}

/** The text at an address, up to its NUL. */
export function textAt(address: Pointer): string {
  return koffi.decode.string(address);
}

/** `count` pointers at an address. */
export function pointersAt(address: Pointer, count: number): Pointer[] {
  return count === 0 ? [] : Array.from(new BigUint64Array(koffi.view(address, count * 8).slice(0)));
}

let freeMemory: ((address: Pointer) => void) | undefined;

/** Implements (stdlib.h): void free(void *ptr). For what libvirt hands over. */
export function free(address: Pointer): void {
  freeMemory ??= libc().func('void free(void *ptr)') as (address: Pointer) => void;
  freeMemory(address);
}
