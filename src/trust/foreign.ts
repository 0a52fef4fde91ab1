// What else a source's first bytes may be, beside raw and qcow2: formats that a reader which guesses would take for themselves, and
// partition tables that two readers may read differently.

/** Names as qemu-img's, where it knows the format. */
const MAGICS: readonly { readonly name: string; readonly at: number; readonly magic: Buffer }[] = [
  { name: 'qed', at: 0, magic: Buffer.from('QED\0') },
  { name: 'vmdk', at: 0, magic: Buffer.from('KDMV') },
  { name: 'vmdk', at: 0, magic: Buffer.from('COWD') },
  { name: 'vmdk', at: 0, magic: Buffer.from('# Disk DescriptorFile') },
  { name: 'vpc', at: 0, magic: Buffer.from('conectix') },
  { name: 'vhdx', at: 0, magic: Buffer.from('vhdxfile') },
  { name: 'vdi', at: 64, magic: Buffer.from([0x7f, 0x10, 0xda, 0xbe]) },
  { name: 'luks', at: 0, magic: Buffer.from('LUKS\xba\xbe', 'latin1') },
  { name: 'parallels', at: 0, magic: Buffer.from('WithoutFreeSpace') },
  { name: 'parallels', at: 0, magic: Buffer.from('WithouFreSpacExt') },
  { name: 'bochs', at: 0, magic: Buffer.from('Bochs Virtual HD Image') },
  { name: 'cloop', at: 0, magic: Buffer.from('#!/bin/sh\n#V2.0 Format') },
];
/** Of the first volume descriptor (ECMA-119 8.1). */
const ISO = { at: 0x8001, magic: Buffer.from('CD001') };
const SIGNATURE = { at: 510, magic: Buffer.from([0x55, 0xaa]) };

const has = (head: Uint8Array, { at, magic }: { readonly at: number; readonly magic: Buffer }) =>
  magic.equals(head.subarray(at, at + magic.length));

/** The format whose magic is there; undefined if none is. An ISO image is raw to whoever reads it as a disk. */
export function foreignFormat(head: Uint8Array): string | undefined {
  return MAGICS.find((each) => has(head, each))?.name;
}

export const isIso = (head: Uint8Array): boolean => has(head, ISO);

/** Of a boot sector, also of a disk's without partitions; a FAT volume begins with the same signature, and has none. */
export function hasPartitionTable(head: Uint8Array): boolean {
  const isFat = head[0x10] === 2 && head[0x15] === 0xf8;
  return has(head, SIGNATURE) && !isFat;
}

const ENTRIES_AT = 446;
const ENTRY_BYTES = 16;
/** Of the entry that protects a GUID partition table (UEFI specification, table 5.4). */
const PROTECTIVE = 0xee;
const PROTECTIVE_START = Buffer.from([0x00, 0x02, 0x00]);

/**
 * What is wrong with the partition table of a disk that has one; undefined if nothing is. As OpenStack's format inspector has it
 * (oslo.utils): flags of 0 or 0x80, an entry at least, and a protective one alone, at its place.
 */
export function partitionFault(head: Uint8Array): string | undefined {
  const entries = [0, 1, 2, 3].map((index) => {
    return Buffer.from(head.subarray(ENTRIES_AT + index * ENTRY_BYTES).subarray(0, ENTRY_BYTES));
  });
  const odd = entries.findIndex((entry) => entry[0] !== 0 && entry[0] !== 0x80);
  if (odd >= 0) return `entry ${odd + 1} has the flag 0x${(entries[odd]?.[0] ?? 0).toString(16)}`;
  const used = entries.filter((entry) => entry[4] !== 0);
  if (used.length === 0) return 'it has no entry';
  const protective = used.find((entry) => entry[4] === PROTECTIVE);
  if (protective === undefined) return undefined;
  if (used.length > 1) return 'a protective entry (0xee) is not alone';
  const isAtPlace =
    PROTECTIVE_START.equals(protective.subarray(1, 4)) && protective.readUInt32LE(8) === 1;
  return isAtPlace ? undefined : 'its protective entry (0xee) does not begin at sector 1';
}
