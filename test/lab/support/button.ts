// The smallest guest that shuts itself down: a boot sector that waits for the power button (`virsh shutdown`), then turns off, or
// goes to sleep, or panics.
// It is up in less than a second, in 16 MiB, and needs no kernel.

import { readFile, writeFile } from 'node:fs/promises';
import { serialLogPath } from './guest.ts';
import { until } from './host.ts';

/** What it does then, in real mode. Ports of QEMU's ACPI, where SeaBIOS puts them on pc and q35: 0x600 status, 0x602 enable, 0x604 control. */
const ENDS = {
  off: [
    [0xba, 0x04, 0x06], // mov dx, 0x604
    [0xb8, 0x00, 0x20], // mov ax, 0x2000: sleep, of the kind that is off
    [0xef], // out dx, ax
  ],
  sleep: [
    [0xba, 0x04, 0x06], // mov dx, 0x604
    [0xb8, 0x00, 0x24], // mov ax, 0x2400: sleep, suspended to memory
    [0xef], // out dx, ax
  ],
  panic: [
    [0xba, 0x05, 0x05], // mov dx, 0x505: QEMU's pvpanic
    [0xb0, 0x01, 0xee], // mov al, 1; out dx, al
  ],
} as const;
type End = keyof typeof ENDS;

const codeOf = (end: End): number[] =>
  [
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
    ...ENDS[end],
    [0xf4, 0xeb, 0xfd], // hlt, for ever
  ].flat();

/** Writes a disk of one MiB that boots it. */
export async function buttonDisk(path: string, end: End = 'off'): Promise<string> {
  const disk = Buffer.alloc(2 ** 20);
  disk.set(codeOf(end));
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
