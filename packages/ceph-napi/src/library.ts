// The two shared libraries, and the functions bound in them. Each is declared by its C prototype, word for word as in the header
// (a test compares them), and looked up at first use: an older library that lacks a symbol costs only what needs it.
import assert from 'node:assert/strict';
import koffi, { type LibraryHandle } from 'koffi';
import { CephError, errno, LibraryError } from './errors.ts';
import { assertSteady } from './memory.ts';

const sonames = { librados: 'librados.so.2', librbd: 'librbd.so.1', libc: 'libc.so.6' } as const;
export type LibraryName = keyof typeof sonames;

/** What may be handed to C. A view's memory is passed as it is, not copied. */
export type CValue = number | bigint | string | boolean | ArrayBufferView | null;

/** A bound C function. */
export interface CFunction {
  readonly symbol: string;
  readonly library: LibraryName;
  /** As in the header, spaces apart. */
  readonly prototype: string;
  /** Whether the installed library has it. */
  readonly available: boolean;
  /** Calls it here and now: only for what cannot wait for the network. */
  call(...values: CValue[]): number;
  /** The same, for one that answers a pointer. */
  pointer(...values: CValue[]): bigint;
  /** Calls it on a thread of libuv's pool; `values` stay alive until it returns. A call cannot be interrupted. */
  later(...values: CValue[]): Promise<number>;
}

type Bound = ReturnType<LibraryHandle['func']>;

const declared = new Map<string, CFunction>();
const handles = new Map<LibraryName, LibraryHandle>();

/** Every function that this package may call, by symbol, once its module is loaded. */
export function bindings(): ReadonlyMap<string, CFunction> {
  return declared;
}

/** Declares a function of librados by its prototype in librados.h. */
export const librados = (prototype: string): CFunction => declare('librados', prototype);
/** Declares a function of librbd by its prototype in librbd.h. */
export const librbd = (prototype: string): CFunction => declare('librbd', prototype);
/** Declares a function of the C library. */
export const libc = (prototype: string): CFunction => declare('libc', prototype);

/** Where a function begins, to be given to C as a callback. */
export function addressOf(library: LibraryName, symbol: string): bigint {
  return koffi.address(load(library).symbol(symbol));
}

function declare(library: LibraryName, prototype: string): CFunction {
  const { symbol, result, parameters } = parse(prototype);
  let bound: Bound | undefined;
  const bind = () => {
    if (!bound && !has(library, symbol)) throw new CephError(errno.ENOSYS, symbol);
    return (bound ??= load(library).func(symbol, result, parameters));
  };
  const made: CFunction = {
    symbol,
    library,
    prototype: prototype.replace(/\s+/g, ' ').trim(),
    get available() {
      return has(library, symbol);
    },
    call: (...values) => bind()(...checked(values, symbol)) as number,
    pointer: (...values) => bind()(...checked(values, symbol)) as bigint,
    later: async (...values) => await inPool(bind(), checked(values, symbol)),
  };
  assert(!declared.has(symbol), `${symbol} is declared twice`);
  declared.set(symbol, made);
  return made;
}

function inPool(bound: Bound, values: CValue[]): Promise<number> {
  return new Promise((resolve, reject) => {
    bound.async(...values, (error: Error | null, result: number) => {
      values.length = 0; // koffi does not hold buffers for us: this closure does, until here
      if (error) reject(error);
      else resolve(result);
    });
  });
}

/** C ends a string at NUL, and Ceph's names are UTF-8: what would arrive as another name than was given is refused. */
function checked(values: CValue[], symbol: string): CValue[] {
  for (const value of values) {
    if (ArrayBuffer.isView(value)) assertSteady(value);
    if (typeof value !== 'string') continue;
    if (value.includes('\0')) throw new TypeError(`${symbol}: a string holds NUL`);
    if (!value.isWellFormed()) throw new TypeError(`${symbol}: a string is not Unicode`);
  }
  return values;
}

function load(library: LibraryName): LibraryHandle {
  const known = handles.get(library);
  if (known) return known;
  if (handles.size === 0) growStacks();
  try {
    const loaded = koffi.load(sonames[library]);
    handles.set(library, loaded);
    return loaded;
  } catch (cause) {
    throw new LibraryError(`${sonames[library]} cannot be loaded`, { cause });
  }
}

/** koffi runs pooled calls on stacks of its own, of 128 KiB: little for librbd, where each call may open, read and decode. */
function growStacks(): void {
  try {
    koffi.config({ async_stack_size: 1 << 20, max_async_calls: 1024 });
  } catch {
    // Another package of this process has loaded a library: koffi's sizes are settled, and what stands has to do.
  }
}

function has(library: LibraryName, symbol: string): boolean {
  const handle = load(library);
  try {
    handle.symbol(symbol);
    return true;
  } catch {
    return false; // koffi's only answer to an absent symbol is to throw
  }
}

const scalars: Readonly<Record<string, string>> = {
  void: 'void',
  bool: 'bool',
  int: 'int',
  unsigned: 'unsigned int',
  'unsigned int': 'unsigned int',
  size_t: 'size_t',
  ssize_t: 'int64_t',
  int64_t: 'int64_t',
  uint64_t: 'uint64_t',
  uint32_t: 'uint32_t',
  uint8_t: 'uint8_t',
  float: 'float',
  time_t: 'int64_t',
  rados_snap_t: 'uint64_t',
  rbd_lock_mode_t: 'int',
};
/** Pointers by another name. */
const pointers = new Set([
  'rados_t',
  'rados_ioctx_t',
  'rados_write_op_t',
  'rados_read_op_t',
  'rados_omap_iter_t',
  'rados_completion_t',
  'rados_callback_t',
  'rados_watchcb2_t',
  'rados_watcherrcb_t',
  'rbd_image_t',
  'rbd_image_options_t',
  'rbd_completion_t',
  'rbd_callback_t',
  'librbd_progress_fn_t',
]);

/** A prototype's symbol and koffi's types for it: `const char *x` takes a string or bytes, any other pointer takes memory. */
function parse(prototype: string): { symbol: string; result: string; parameters: string[] } {
  const flat = prototype.replace(/\s+/g, ' ').trim();
  const plain = flat.replace(/\w+ \(\*(\w+)\)\([^)]*\)/g, 'void *$1');
  const match = /^(.*?[ *])(\w+)\((.*)\)$/.exec(plain);
  assert(match, `not a prototype: ${flat}`);
  const [, result = '', symbol = '', list = ''] = match;
  const parameters = list === 'void' ? [] : list.split(',').map((one) => typeOf(one.trim()));
  return { symbol, result: typeOf(`${result.trim()} result`), parameters };
}

function typeOf(parameter: string): string {
  if (/^const char \*(const )?\w+$/.test(parameter)) return 'const char *';
  if (parameter.includes('*')) return 'void *';
  const name = parameter.replace(/ ?\w+$/, '');
  const type = pointers.has(name) ? 'void *' : scalars[name];
  assert(type, `unknown type: ${parameter}`);
  return type;
}
