// The smallest guest that shuts itself down: a boot sector that waits for the power button (`virsh shutdown`), then turns off.
// It is up in less than a second, in 16 MiB, and needs no kernel.

import { readFile, writeFile } from 'node:fs/promises';
import { serialLogPath } from './guest.ts';
import { until } from './host.ts';

// Ports of QEMU's ACPI, where SeaBIOS puts them on pc and q35: 0x600 status, 0x602 enable, 0x604 control. Real mode.
const CODE = [
  [0xba, 0x02, 0x06], // mov dx, 0x602
  [0xb8, 0x00, 0x01], // mov ax, 0x100: the power button may raise its bit
  [0xef], // out dx, ax
  [0xba, 0xf8, 0x03], // mov dx, 0x3f8: the serial port
  [0xb0, 0x52, 0xee], // mov al, 'R'; out dx, al
  [0xf4], // wait: hlt, until the next tick of the clock
  [0xba, 0x00, 0x06], // mov dx, 0x600
  [0xed], // in ax, dx
  [0xf6, 0xc4, 0x01], // test ah, 1
  [0x74, 0xf6], // jz wait
  [0xba, 0x04, 0x06], // mov dx, 0x604
  [0xb8, 0x00, 0x20], // mov ax, 0x2000: sleep, of the kind that is off
  [0xef], // out dx, ax
  [0xf4, 0xeb, 0xfd], // hlt, for ever
].flat();

/** Writes a disk of one MiB that boots it. */
export async function buttonDisk(path: string): Promise<string> {
  const disk = Buffer.alloc(2 ** 20);
  disk.set(CODE);
  disk.writeUInt16LE(0xaa55, 510);
  await writeFile(path, disk);
  return path;
}

/** Waits until the guest of a domain that was just started waits for its button. */
export const buttonWorks = (name: string): Promise<true> =>
  until(`${name} waits for its button`, async () => {
    const said = await readFile(serialLogPath(name), 'utf8').catch(() => '');
    return said.includes('R') || undefined;
  });
