// A domain's state that is in no disk, as files: where they may be, and whether bytes are such a state. Pure.

import { join } from 'node:path';
import type { StateFile } from './domain.ts';

/** A variable store of OVMF takes 0.5 MiB, as qcow2 less than 1; what swtpm writes, some tens of KiB. */
export const STATE_BYTES_MAX = 2 * 1024 * 1024;

/** Of a TPM the XML names a folder, in which libvirt makes one for each version (qemu_tpm.c), or swtpm's file itself. */
const TPM_FILES = [
  'tpm2/tpm2-00.permall',
  'tpm1.2/tpm-00.permall',
  'tpm2-00.permall',
  'tpm-00.permall',
];

/** Where the state may be, in the order in which it is looked for. */
export function placesOf({ what, path }: StateFile): readonly string[] {
  return what === 'nvram' ? [path] : [...TPM_FILES.map((name) => join(path, name)), path];
}

/**
 * Whether the bytes are such a state. The folders belong to the users of QEMU and swtpm, who could put another file of this host's
 * there: that must not leave it.
 */
export function isStateOf(what: StateFile['what'], bytes: Uint8Array): boolean {
  return what === 'nvram' ? isVariableStore(bytes) : isTpmState(bytes);
}

const textAt = (bytes: Uint8Array, at: number, length: number) =>
  String.fromCharCode(...bytes.subarray(at, at + length));

/** EFI_FIRMWARE_VOLUME_HEADER (UEFI PI 1.8, volume 3, 3.2.1): its signature stands at byte 40. Or a qcow2 image of one. */
function isVariableStore(bytes: Uint8Array): boolean {
  return textAt(bytes, 40, 4) === '_FVH' || textAt(bytes, 0, 4) === 'QFI\xfb';
}

const BLOB_HEADER_BYTES = 10;
const BLOB_LENGTH_AT = 6;

/** swtpm's blobheader (swtpm_nvstore.c) has the file's length; its store in one file has a magic number (swtpm_nvstore_linear.h). */
function isTpmState(bytes: Uint8Array): boolean {
  if (bytes.length < BLOB_HEADER_BYTES) return false;
  const { buffer, byteOffset, byteLength } = bytes;
  const statedBytes = new DataView(buffer, byteOffset, byteLength).getUint32(BLOB_LENGTH_AT);
  return statedBytes === bytes.length || textAt(bytes, 0, 8) === 'nilmptws';
}
