// A call of libvirt on a thread of libuv's pool, and its error from that same thread.
//
// libvirt keeps a call's error in the calling thread (virterror.h: virGetLastError). koffi's own `.async` runs the call on a
// pool thread and comes back on JavaScript's, where that error cannot be read; virConnGetLastError is per connection but, says
// libvirt, "not protected against access from multiple threads", and knows nothing of a failed virConnectOpen. So the call is
// put into a GClosure (GObject: a dependency of libvirt.so.0 itself), whose marshal guards run around it on its thread:
// virResetLastError before, virCopyLastError into this call's own memory after. Any number of calls may run at once. Measured
// (libvirt 11.3, 200 look-ups of missing domains at once): virConnCopyLastError after `.async` gave another call's error 170
// times on 4 threads, 199 times on 16; this none, for at most 0.1 ms more a call.
//
// A call cannot be cancelled, has no deadline, and keeps its pool thread until libvirtd answers. Two things follow.
// UV_THREADPOOL_SIZE must be above the calls that a process may hold (the event loop holds one). And process.exit() joins the
// pool, so a process with a hung call ends by a signal only: who needs deadlines runs this binding in a child it can kill.

import * as koffi from 'koffi';
import { LibvirtError, readError, VIR_ERROR_BYTES } from './errors.ts';
import {
  addressOf,
  cString,
  free,
  libgobject,
  libvirt,
  type Pointer,
  symbol,
  textAt,
} from './library.ts';

export type Argument = number | string | Uint8Array | Pointer | null;

/** What a binding of that C prototype resolves to: a number, a text (freed where libvirt handed it over), or a handle. */
export type ResultOf<Prototype extends string> =
  Prototype extends `${'int' | 'unsigned int'} ${string}`
    ? number
    : Prototype extends `${'char' | 'const char'} *${string}`
      ? string
      : Pointer;

/** Kind of a C type: its GType (gtype.h: G_TYPE_MAKE_FUNDAMENTAL) and its place in a GValue. */
const KINDS = { int: 6n << 2n, uint: 7n << 2n, pointer: 17n << 2n } as const;
type Kind = keyof typeof KINDS;

/** Calls beyond this wait here: each that koffi holds costs 256 KiB, and it refuses more than 256 (its max_async_calls). */
const CALLS_MAX = 64;
let calls = 0;
const waiting: (() => void)[] = [];

/** sizeof(GValue): GType g_type; union { … } data[2]. */
const VALUE_BYTES = 24;

export interface Prototype {
  readonly name: string;
  readonly returns: string;
  readonly parameters: readonly string[];
}

/**
 * Binds a function of libvirt.so.0 by its C prototype, word for word as in the header (a test compares them). It is looked up
 * at its first call. Rejects with LibvirtError where the call returns -1 or NULL.
 */
export function bind<const Text extends string>(
  text: Text,
): (...args: Argument[]) => Promise<ResultOf<Text>> {
  const prototype = parsePrototype(text);
  const kinds = prototype.parameters.map(kindOf);
  let target: Pointer | undefined;
  return async (...args) => {
    if (args.length !== kinds.length)
      throw new TypeError(`${prototype.name} takes ${kinds.length} arguments`);
    target ??= requireSymbol(prototype.name);
    const frame = makeFrame(kindOf(prototype.returns), kinds, args);
    await takeTurn();
    try {
      await invoke(target, frame, kinds.length);
      return resultOf(prototype, frame) as ResultOf<Text>;
    } finally {
      passTurn();
      api().virResetError(frame.error);
    }
  };
}

async function takeTurn(): Promise<void> {
  if (calls < CALLS_MAX) calls++;
  else await new Promise<void>((resolve) => waiting.push(resolve));
}

function passTurn(): void {
  const next = waiting.shift();
  if (next === undefined) calls--;
  else next();
}

/** `int f(T a, U *b)` -> its parts. */
export function parsePrototype(text: string): Prototype {
  const [, returns, name, inside] = /^(.*?[\s*])(\w+)\s*\((.*)\)$/s.exec(text) ?? [];
  if (returns === undefined || name === undefined || inside === undefined)
    throw new TypeError(`not a prototype: ${text}`);
  const parameters = inside
    .split(',')
    .map((parameter) => parameter.trim().replace(/\w+$/, '').trim());
  return { name, returns: returns.trim(), parameters };
}

function kindOf(type: string): Kind {
  if (type === 'int') return 'int';
  if (type === 'unsigned int') return 'uint';
  if (/\*$|(Ptr|Callback|Func)$/.test(type)) return 'pointer';
  throw new TypeError(`no binding for the C type ${type}`);
}

/** One call's memory: libvirt's error, the GValue of the result, those of the arguments; and what the arguments point to. */
interface Frame {
  readonly bytes: Buffer;
  readonly error: Pointer;
  readonly result: Pointer;
  readonly values: Pointer;
  readonly kept: readonly unknown[];
}

function makeFrame(returns: Kind, kinds: readonly Kind[], args: readonly Argument[]): Frame {
  const bytes = Buffer.alloc(VIR_ERROR_BYTES + VALUE_BYTES * (1 + kinds.length));
  const error = addressOf(bytes);
  const result = error + BigInt(VIR_ERROR_BYTES);
  bytes.writeBigUInt64LE(KINDS[returns], VIR_ERROR_BYTES);
  const kept = kinds.map((kind, i) => {
    const argument = args[i] ?? null;
    const value = typeof argument === 'string' ? cString(argument) : argument;
    writeValue(bytes, VIR_ERROR_BYTES + VALUE_BYTES * (i + 1), kind, value);
    return value;
  });
  return { bytes, error, result, values: result + BigInt(VALUE_BYTES), kept };
}

function writeValue(bytes: Buffer, at: number, kind: Kind, value: Exclude<Argument, string>): void {
  bytes.writeBigUInt64LE(KINDS[kind], at);
  if (kind === 'int') bytes.writeInt32LE(Number(value), at + 8);
  else if (kind === 'uint') bytes.writeUInt32LE(Number(value), at + 8);
  else if (typeof value === 'number') throw new TypeError('a number is no pointer');
  else
    bytes.writeBigUInt64LE(value instanceof Uint8Array ? addressOf(value) : (value ?? 0n), at + 8);
}

function resultOf({ name, returns }: Prototype, frame: Frame): number | string | Pointer {
  const at = VIR_ERROR_BYTES + 8;
  const failed = (): LibvirtError =>
    readError(name, new DataView(frame.bytes.buffer, frame.bytes.byteOffset));
  if (returns === 'unsigned int') return frame.bytes.readUInt32LE(at);
  if (returns === 'int') {
    const result = frame.bytes.readInt32LE(at);
    if (result < 0) throw failed();
    return result;
  }
  const address = frame.bytes.readBigUInt64LE(at);
  if (address === 0n) throw failed();
  if (!returns.endsWith('char *')) return address;
  const text = textAt(address);
  if (!returns.startsWith('const')) free(address);
  return text;
}

function invoke(target: Pointer, frame: Frame, count: number): Promise<void> {
  const {
    closureNew,
    closureSetMarshal,
    closureAddGuards,
    closureInvoke,
    closureUnref,
    marshal,
    reset,
    copy,
  } = api();
  const closure = closureNew(target, null, null);
  closureSetMarshal(closure, marshal);
  closureAddGuards(closure, null, reset, frame.error, copy);
  return new Promise((resolve, reject) => {
    closureInvoke.async(closure, frame.result, count, frame.values, null, (error: unknown) => {
      closureUnref(closure);
      // `frame` is named here so that it, and what it keeps, lives until C is done with it.
      if (error === null || error === undefined) resolve(void frame.kept);
      else reject(error);
    });
  });
}

function requireSymbol(name: string): Pointer {
  const address = symbol(name);
  if (address === null) throw new LibvirtError(name, 0, 0, 'this libvirt has no such function');
  return address;
}

type Api = ReturnType<typeof loadApi>;
let loaded: Api | undefined;

export function api(): Api {
  return (loaded ??= loadApi());
}

/** The functions that are called on JavaScript's own thread: none of them waits for anybody. */
function loadApi() {
  const gobject = libgobject();
  const virInitialize = libvirt().func('int virInitialize(void)') as () => number;
  const virSetErrorFunc = libvirt().func('void virSetErrorFunc(void *userData, void *handler)');
  if (virInitialize() < 0)
    throw new LibvirtError('virInitialize', 0, 0, 'libvirt could not be initialised');
  // Else libvirt prints each error on stderr. The handler gets two arguments, and this function takes none and does nothing.
  virSetErrorFunc(null, requireSymbol('virGetLastErrorCode'));
  return {
    virResetError: libvirt().func('void virResetError(void *err)') as (error: Pointer) => void,
    virEventRegisterDefaultImpl: libvirt().func(
      'int virEventRegisterDefaultImpl(void)',
    ) as () => number,
    virEventRunDefaultImpl: libvirt().func('int virEventRunDefaultImpl(void)') as koffi.KoffiFunc<
      () => number
    >,
    virEventAddTimeout: libvirt().func(
      'int virEventAddTimeout(int timeout, void *cb, void *opaque, void *ff)',
    ) as (timeoutMs: number, callback: Pointer, opaque: null, free: null) => number,
    reset: requireSymbol('virResetLastError'),
    copy: requireSymbol('virCopyLastError'),
    marshal: koffi.address(gobject.symbol('g_cclosure_marshal_generic')),
    closureNew: gobject.func('void *g_cclosure_new(void *callback, void *data, void *destroy)') as (
      callback: Pointer,
      data: null,
      destroy: null,
    ) => Pointer,
    closureSetMarshal: gobject.func('void g_closure_set_marshal(void *closure, void *marshal)') as (
      closure: Pointer,
      marshal: Pointer,
    ) => void,
    closureAddGuards: gobject.func(
      'void g_closure_add_marshal_guards(void *closure, void *preData, void *pre, void *postData, void *post)',
    ) as (closure: Pointer, preData: null, pre: Pointer, postData: Pointer, post: Pointer) => void,
    closureInvoke: gobject.func(
      'void g_closure_invoke(void *closure, void *result, unsigned int count, void *values, void *hint)',
    ),
    closureUnref: gobject.func('void g_closure_unref(void *closure)') as (closure: Pointer) => void,
  };
}
