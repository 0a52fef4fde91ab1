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

import { LibvirtError } from './errors.ts';
import {
  type Argument,
  addressOf,
  cString,
  declare,
  free,
  type LibraryName,
  local,
  nativeFunction,
  type Pointer,
  textAt,
} from './library.ts';
import { type Kind, kindOf, type Prototype, parsePrototype, type ResultOf } from './prototype.ts';

/** A kind's GType (gtype.h: G_TYPE_MAKE_FUNDAMENTAL); no type is no result. */
const GTYPES: Readonly<Record<Kind, bigint>> = {
  void: 0n,
  int: 6n << 2n,
  uint: 7n << 2n,
  ulong: 9n << 2n,
  uint64: 11n << 2n,
  pointer: 17n << 2n,
};

/** Calls beyond this wait here: each that koffi holds costs 256 KiB, and it refuses more than 256 (its max_async_calls). */
const CALLS_MAX = 64;
let calls = 0;
const waiting: (() => void)[] = [];

/** sizeof(virError) on the 64-bit ABIs: int code, int domain, char *message at 8, …; all zero is "no error". */
export const VIR_ERROR_BYTES = 80;
/** sizeof(GValue): GType g_type; union { … } data[2]. */
const VALUE_BYTES = 24;

/**
 * Binds a function by its C prototype, word for word as in the header (a test compares them). It is looked up at its first call.
 * Rejects with LibvirtError where the call returns -1 or NULL, with AbsentFunctionError where this libvirt has no such function.
 */
export function bind<const Text extends string>(
  text: Text,
  library: LibraryName = 'libvirt',
): (...args: Argument[]) => Promise<ResultOf<Text>> {
  const fn = declare(text, library);
  const prototype = parsePrototype(text);
  const kinds = prototype.parameters.map(kindOf);
  let target: Pointer | undefined;
  return async (...args) => {
    if (args.length !== kinds.length)
      throw new TypeError(`${prototype.name} takes ${kinds.length} arguments`);
    target ??= fn.address();
    const frame = makeFrame(kindOf(prototype.returns), kinds, args);
    await takeTurn();
    try {
      await invoke(target, frame, kinds.length);
      return resultOf(prototype, frame) as ResultOf<Text>;
    } finally {
      passTurn();
      virResetError(frame.error);
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
  bytes.writeBigUInt64LE(GTYPES[returns], VIR_ERROR_BYTES);
  const kept = kinds.map((kind, i) => {
    const argument = args[i] ?? null;
    const value = typeof argument === 'string' ? cString(argument) : argument;
    writeValue(bytes, VIR_ERROR_BYTES + VALUE_BYTES * (i + 1), kind, value);
    return value;
  });
  return { bytes, error, result, values: result + BigInt(VALUE_BYTES), kept };
}

function writeValue(bytes: Buffer, at: number, kind: Kind, value: Exclude<Argument, string>): void {
  bytes.writeBigUInt64LE(GTYPES[kind], at);
  if (kind === 'int') bytes.writeInt32LE(Number(value), at + 8);
  else if (kind === 'uint') bytes.writeUInt32LE(Number(value), at + 8);
  else if (typeof value === 'number' && kind !== 'pointer')
    bytes.writeBigUInt64LE(BigInt(value), at + 8);
  else if (typeof value === 'number') throw new TypeError('a number is no pointer');
  else
    bytes.writeBigUInt64LE(value instanceof Uint8Array ? addressOf(value) : (value ?? 0n), at + 8);
}

function resultOf(
  { name, returns }: Prototype,
  frame: Frame,
): number | string | Pointer | undefined {
  const at = VIR_ERROR_BYTES + 8;
  if (returns === 'void') return undefined;
  if (returns === 'unsigned int') return frame.bytes.readUInt32LE(at);
  if (returns === 'int') {
    const result = frame.bytes.readInt32LE(at);
    if (result < 0) throw readError(name, frame.bytes);
    return result;
  }
  const address = frame.bytes.readBigUInt64LE(at);
  if (address === 0n) throw readError(name, frame.bytes);
  if (!/^(const )?char \*$/.test(returns)) return address;
  const text = textAt(address);
  if (!returns.startsWith('const')) free(address);
  return text;
}

/** Reads a virError that virCopyLastError filled. */
function readError(call: string, error: Buffer): LibvirtError {
  const message = error.readBigUInt64LE(8);
  const text = message === 0n ? 'failed, and libvirt gave no reason' : textAt(message);
  return new LibvirtError(call, error.readInt32LE(0), error.readInt32LE(4), text);
}

function invoke(target: Pointer, frame: Frame, count: number): Promise<void> {
  const { closureInvoke, marshal, reset, copy } = api();
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

const virInitialize = local('int virInitialize(void)');
const virSetErrorFunc = local('void virSetErrorFunc(void *userData, virErrorFunc handler)');
const virResetError = local('void virResetError(virErrorPtr err)');
const virGetLastErrorCode = declare('int virGetLastErrorCode(void)', 'libvirt');
const virResetLastError = declare('void virResetLastError(void)', 'libvirt');
const virCopyLastError = declare('int virCopyLastError(virErrorPtr to)', 'libvirt');

const closureNew = local(
  'GClosure *g_cclosure_new(GCallback callback_func, gpointer user_data, GClosureNotify destroy_data)',
  'libgobject',
);
const closureSetMarshal = local(
  'void g_closure_set_marshal(GClosure *closure, GClosureMarshal marshal)',
  'libgobject',
);
const closureAddGuards = local(
  `void g_closure_add_marshal_guards(GClosure *closure, gpointer pre_marshal_data, GClosureNotify pre_marshal_notify,
     gpointer post_marshal_data, GClosureNotify post_marshal_notify)`,
  'libgobject',
);
const closureInvokeFunction = declare(
  `void g_closure_invoke(GClosure *closure, GValue *return_value, unsigned int n_param_values,
     const GValue *param_values, gpointer invocation_hint)`,
  'libgobject',
);
const closureUnref = local('void g_closure_unref(GClosure *closure)', 'libgobject');
const closureMarshal = declare(
  `void g_cclosure_marshal_generic(GClosure *closure, GValue *return_gvalue, unsigned int n_param_values,
     const GValue *param_values, gpointer invocation_hint, gpointer marshal_data)`,
  'libgobject',
);

let loaded: ReturnType<typeof initialize> | undefined;

/** libvirt initialised, and what every call needs. */
export function api(): ReturnType<typeof initialize> {
  return (loaded ??= initialize());
}

/** Implements: virInitialize, virSetErrorFunc, virResetError, virResetLastError, virCopyLastError, virGetLastErrorCode. */
function initialize() {
  if (virInitialize() < 0)
    throw new LibvirtError('virInitialize', 0, 0, 'libvirt could not be initialised');
  // Else libvirt prints each error on stderr. The handler gets two arguments, and this function takes none and does nothing.
  virSetErrorFunc(null, virGetLastErrorCode.address());
  return {
    reset: virResetLastError.address(),
    copy: virCopyLastError.address(),
    marshal: closureMarshal.address(),
    closureInvoke: nativeFunction(closureInvokeFunction),
  };
}
