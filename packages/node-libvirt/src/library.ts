// The libraries, the functions declared in them, and how memory crosses. Everything of koffi is in this file, call.ts and
// callbacks.ts.

import assert from 'node:assert/strict';
import * as koffi from 'koffi';
import { AbsentFunctionError } from './errors.ts';
import { type Kind, kindOf, parsePrototype, type ResultOf } from './prototype.ts';

/** An address: a handle of libvirt's, memory, or a function. null is NULL. */
export type Pointer = bigint;

/** What may be handed to C. A number is an integer, a text is copied, bytes are passed as they are. */
export type Argument = number | string | Uint8Array | Pointer | null;

const SONAMES = {
  libvirt: 'libvirt.so.0',
  'libvirt-qemu': 'libvirt-qemu.so.0',
  /** A dependency of libvirt.so.0 itself, so it is there. */
  libgobject: 'libgobject-2.0.so.0',
  libc: 'libc.so.6',
} as const;
export type LibraryName = keyof typeof SONAMES;

/** A C function that this package may call. */
export interface CFunction {
  readonly symbol: string;
  readonly library: LibraryName;
  /** As in the header, spaces apart. */
  readonly prototype: string;
  /** Whether the installed library has it: an older or newer one may not. */
  readonly available: boolean;
  /** Where it begins. @throws AbsentFunctionError */
  address(): Pointer;
}

const declared = new Map<string, CFunction>();
const handles = new Map<LibraryName, koffi.LibraryHandle>();

/** Every function that this package may call, by symbol. */
export function bindings(): ReadonlyMap<string, CFunction> {
  return declared;
}

/** Declares a function by its C prototype, word for word as in the header (a test compares them). */
export function declare(prototype: string, library: LibraryName): CFunction {
  const { name } = parsePrototype(prototype);
  assert(!declared.has(name), `${name} is declared twice`);
  const made: CFunction = {
    symbol: name,
    library,
    prototype: prototype.replace(/\s+/g, ' ').trim(),
    get available() {
      return addressIn(library, name) !== null;
    },
    address() {
      const address = addressIn(library, name);
      if (address === null) throw new AbsentFunctionError(name);
      return address;
    },
  };
  declared.set(name, made);
  return made;
}

function load(library: LibraryName): koffi.LibraryHandle {
  const known = handles.get(library);
  if (known !== undefined) return known;
  const loaded = koffi.load(SONAMES[library]);
  handles.set(library, loaded);
  return loaded;
}

function addressIn(library: LibraryName, name: string): Pointer | null {
  const handle = load(library);
  try {
    return koffi.address(handle.symbol(name));
  } catch {
    return null; // koffi throws for nothing else here: the library itself was loaded before, or that threw
  }
}

const KOFFI_TYPES: Readonly<Record<Kind, string>> = {
  void: 'void',
  int: 'int',
  uint: 'unsigned int',
  ulong: 'unsigned long',
  uint64: 'uint64_t',
  pointer: 'void *',
};

/** A function as koffi has it, to be called on JavaScript's own thread or by its `async`. */
export function nativeFunction(fn: CFunction): ReturnType<koffi.LibraryHandle['func']> {
  const { name, returns, parameters } = parsePrototype(fn.prototype);
  if (!fn.available) throw new AbsentFunctionError(name);
  const result = returns === 'const char *' ? returns : KOFFI_TYPES[kindOf(returns)];
  return load(fn.library).func(
    name,
    result,
    parameters.map((type) => KOFFI_TYPES[kindOf(type)]),
  );
}

/** Declares a function that is called here and now: only for what waits for nobody. A result of -1 or NULL is returned as it is. */
export function local<const Text extends string>(
  text: Text,
  library: LibraryName = 'libvirt',
): (...args: Exclude<Argument, string>[]) => ResultOf<Text> {
  const fn = declare(text, library);
  let native: ReturnType<typeof nativeFunction> | undefined;
  return (...args) => (native ??= nativeFunction(fn))(...args) as ResultOf<Text>;
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

/** A `const char **`: the pointers, and behind them the texts, in one piece of memory. */
export function cStrings(texts: readonly string[]): Uint8Array {
  const copies = texts.map(cString);
  const memory = Buffer.alloc(copies.reduce((sum, copy) => sum + 8 + copy.length, 0));
  let end = texts.length * 8;
  for (const [i, copy] of copies.entries()) {
    memory.writeBigUInt64LE(addressOf(memory) + BigInt(end), i * 8);
    memory.set(copy, end);
    end += copy.length;
  }
  return memory;
}

/** The text at an address, up to its NUL. */
export function textAt(address: Pointer): string {
  return koffi.decode.string(address);
}

/** A copy of the `count` bytes at an address. */
export function bytesAt(address: Pointer, count: number): Buffer<ArrayBuffer> {
  return count === 0 ? Buffer.alloc(0) : Buffer.from(koffi.view(address, count).slice(0));
}

/** `count` pointers at an address. */
export function pointersAt(address: Pointer, count: number): Pointer[] {
  return Array.from({ length: count }, bigUint64At(bytesAt(address, count * 8)));
}

function bigUint64At(bytes: Buffer): (_: unknown, index: number) => Pointer {
  return (_, index) => bytes.readBigUInt64LE(index * 8);
}

/** Overwrites what is at an address: for secrets, before they are freed. */
export function wipe(address: Pointer, count: number): void {
  if (count > 0) new Uint8Array(koffi.view(address, count)).fill(0);
}

const freeMemory = local('void free(void *ptr)', 'libc');

/** For what libvirt hands over. Implements (stdlib.h): free. */
export function free(address: Pointer): void {
  freeMemory(address);
}
