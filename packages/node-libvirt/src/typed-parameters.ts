// virTypedParameter: named values of several types, as libvirt gives statistics. Source: libvirt/libvirt-common.h.

import { bytesAt, local, type Pointer, textAt } from './library.ts';

const virTypedParamsFree = local(
  'void virTypedParamsFree(virTypedParameterPtr params, int nparams)',
);

/** An integer that JavaScript cannot hold exactly is a bigint. */
export type TypedValue = number | bigint | boolean | string;
export type TypedParameters = ReadonlyMap<string, TypedValue>;

/** sizeof(virTypedParameter): char field[80]; int type; union { … } value at 88. */
export const TYPED_PARAMETER_BYTES = 96;
const TYPE_AT = 80;
const VALUE_AT = 88;

/** virTypedParameterType, from 1, and how each is read. */
export const TYPED_PARAMETER_READERS: readonly ((bytes: Buffer, at: number) => TypedValue)[] = [
  (bytes, at) => bytes.readInt32LE(at),
  (bytes, at) => bytes.readUInt32LE(at),
  (bytes, at) => exact(bytes.readBigInt64LE(at)),
  (bytes, at) => exact(bytes.readBigUInt64LE(at)),
  (bytes, at) => bytes.readDoubleLE(at),
  (bytes, at) => bytes.readInt8(at) !== 0,
  (bytes, at) => textAt(bytes.readBigUInt64LE(at)),
];

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Reads an array of them; those of a type that this binding does not know are left out. Texts must not be freed yet. */
export function readTypedParameters(bytes: Buffer): TypedParameters {
  const parameters = new Map<string, TypedValue>();
  for (let at = 0; at < bytes.length; at += TYPED_PARAMETER_BYTES) {
    const name = bytes.toString('utf8', at, bytes.indexOf(0, at));
    const read = TYPED_PARAMETER_READERS[bytes.readInt32LE(at + TYPE_AT) - 1];
    if (read !== undefined) parameters.set(name, read(bytes, at + VALUE_AT));
  }
  return parameters;
}

/** Reads an array that libvirt handed over, and frees it. Implements: virTypedParamsFree. */
export function takeTypedParameters(address: Pointer, count: number): TypedParameters {
  const parameters = readTypedParameters(bytesAt(address, count * TYPED_PARAMETER_BYTES));
  virTypedParamsFree(address, count);
  return parameters;
}

/** A number, or 0 where the host has no such statistic. */
export function numberOf(parameters: TypedParameters, name: string): number {
  return Number(parameters.get(name) ?? 0);
}
