// What else a source's first bytes may be, beside raw and qcow2: what a reader that guesses would take them for.

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
const BOOT_SECTOR = { at: 510, magic: Buffer.from([0x55, 0xaa]) };

const has = (head: Uint8Array, { at, magic }: { readonly at: number; readonly magic: Buffer }) =>
  magic.equals(head.subarray(at, at + magic.length));

/** The format whose magic is there; undefined if none is. An ISO image is raw to whoever reads it as a disk. */
export function foreignFormat(head: Uint8Array): string | undefined {
  return MAGICS.find((each) => has(head, each))?.name;
}

export const isIso = (head: Uint8Array): boolean => has(head, ISO);

export const isBootSector = (head: Uint8Array): boolean => has(head, BOOT_SECTOR);
