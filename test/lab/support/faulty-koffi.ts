// Stands where koffi stands in an installed siphon, and is it, but for one call of librados, librbd or libvirt, which a test has
// planned: that one answers as its C function does when it fails. Each call that can fail is told to the test. errors.ts puts it there.

import { constants, openSync, readFileSync, writeSync } from 'node:fs';
import koffi, { type LibraryHandle } from 'koffi';

export * from 'koffi';

export interface Plan {
  /** Calls are counted anew for each. */
  readonly id: string;
  /** Which call fails: the one of this number, from 1, that a process makes of the function. Absent: none does. */
  readonly fails?: {
    readonly symbol: string;
    readonly number: number;
    /** What Ceph answers, as a positive errno, and libvirt as a virErrorNumber. */
    readonly code: number;
    /** What was asked is done all the same: only the answer is lost. */
    readonly isLost: boolean;
  };
}
type Fault = NonNullable<Plan['fails']>;

export const FOLDER = '/run/siphon-errors';
export const PLAN = `${FOLDER}/plan.json`;
/** A FIFO, since a file could not be written in a worker's sandbox. A line a call: the plan's id, the function, the number. */
export const CALLS = `${FOLDER}/calls`;

/** They take memory, or read their own: no fault of the world's makes them fail. Those that return nothing, or a pointer, cannot either. */
const NEVER = new Set([
  'rados_aio_create_completion2',
  'rados_conf_set',
  'rados_create2',
  'rados_ioctx_get_id',
  'rados_omap_get_next2',
  'virDomainFree',
  'virDomainGetID',
]);
/** They have done their work whatever they answer. */
const ALWAYS_DONE = ['rados_aio_get_return_value', 'rbd_close'];

type Native = ReturnType<LibraryHandle['func']>;
type Call = (...values: unknown[]) => unknown;
type Callback = (error: Error | null, result: unknown) => void;

const numbers = new Map<string, number>();
let counted = '';
let calls: number | undefined;

/** How this call of the function is to fail, if it is. */
function faultOf(symbol: string): Fault | undefined {
  const plan = readPlan();
  if (plan === undefined || NEVER.has(symbol)) return undefined;
  if (plan.id !== counted) numbers.clear();
  counted = plan.id;
  const number = (numbers.get(symbol) ?? 0) + 1;
  numbers.set(symbol, number);
  calls ??= openSync(CALLS, constants.O_WRONLY | constants.O_NONBLOCK);
  writeSync(calls, `${plan.id} ${symbol} ${number}\n`);
  return plan.fails?.symbol === symbol && plan.fails.number === number ? plan.fails : undefined;
}

function readPlan(): Plan | undefined {
  try {
    return JSON.parse(readFileSync(PLAN, 'utf8')) as Plan;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A function of Ceph's that answers a negative errno. */
function ofCeph(symbol: string, native: Native): Native {
  const isDone = ({ isLost }: Fault) => isLost || ALWAYS_DONE.includes(symbol);
  const call: Call = (...values) => {
    const fault = faultOf(symbol);
    if (fault === undefined) return native(...values);
    if (isDone(fault)) native(...values);
    return -fault.code;
  };
  const async: Call = (...values) => {
    const fault = faultOf(symbol);
    if (fault === undefined) return native.async(...values);
    const answered = values.pop() as Callback;
    const fail = (error: Error | null) => answered(error, -fault.code);
    return isDone(fault) ? native.async(...values, fail) : setImmediate(fail, null);
  };
  return Object.assign(call, { async, info: native.info });
}

/** Functions of libvirt by their addresses, and of the closures in which they are called (node-libvirt's call.ts). */
const symbols = new Map<bigint, string>();
const closures = new Map<bigint, string>();

function ofClosures(name: string, native: Native): Native {
  if (name === 'g_cclosure_new') {
    const call: Call = (target, ...more) => {
      const closure = native(target, ...more) as bigint;
      closures.set(closure, symbols.get(target as bigint) ?? '');
      return closure;
    };
    return Object.assign(call, { async: native.async, info: native.info });
  }
  if (name !== 'g_closure_invoke') return native;
  const async: Call = (...values) => {
    const [closure, result] = values as [bigint, bigint];
    const fault = faultOf(closures.get(closure) ?? '');
    if (fault === undefined) return native.async(...values);
    const answered = values.pop() as Callback;
    const fail = (error: Error | null) => {
      writeFailure(result, fault.code);
      answered(error, undefined);
    };
    return fault.isLost ? native.async(...values, fail) : setImmediate(fail, null);
  };
  return Object.assign((...values: unknown[]) => native(...values), { async, info: native.info });
}

/** sizeof(virError), which stands before the GValue of the result; and where that has its value. */
const ERROR_BYTES = 80;
const VALUE_AT = ERROR_BYTES + 8;
/** virErrorDomain, virErrorLevel and G_TYPE_POINTER. */
const FROM_RPC = 7;
const LEVEL_ERROR = 2;
const POINTER = 17n << 2n;

/** What libvirt itself has said stays. */
function writeFailure(result: bigint, code: number): void {
  const memory = koffi.view(result - BigInt(ERROR_BYTES), ERROR_BYTES + 24);
  const view = new DataView(memory);
  if (view.getInt32(0, true) !== 0) return;
  const text = koffi.load('libc.so.6').func('strdup', 'void *', ['const char *']);
  view.setInt32(0, code, true);
  view.setInt32(4, FROM_RPC, true);
  view.setBigUint64(8, text('a test has it fail') as bigint, true);
  view.setInt32(16, LEVEL_ERROR, true);
  if (view.getBigUint64(ERROR_BYTES, true) === POINTER) view.setBigUint64(VALUE_AT, 0n, true);
  else view.setInt32(VALUE_AT, -1, true);
}

type Bind = (name: string, result: string, parameters: string[]) => Native;

/** As koffi's own; of a library of Ceph's or libvirt's only what siphon's bindings use of it. */
export function load(...args: Parameters<typeof koffi.load>): LibraryHandle {
  const library = koffi.load(...args);
  const isCeph = /^lib(rados|rbd)\./.test(args[0] ?? '');
  if (!isCeph && !/^lib(virt|gobject)/.test(args[0] ?? '')) return library;
  const func: Bind = (name, result, parameters) => {
    const native = library.func(name, result, parameters);
    if (!isCeph) return ofClosures(name, native);
    return ['int', 'int64_t'].includes(result) ? ofCeph(name, native) : native;
  };
  const symbol = (name: string) => {
    const at: unknown = library.symbol(name);
    symbols.set(koffi.address(at), name);
    return at;
  };
  return { func, symbol } as LibraryHandle;
}

export default { ...koffi, load };
