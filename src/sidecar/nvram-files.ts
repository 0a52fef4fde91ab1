// Copies of UEFI variables in siphond's own folder, each for one new domain: libvirtd, which is root, makes the domain's own of it when that
// first starts (`<nvram template>`). siphond itself may not write where libvirt keeps them.

import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { NvramFiles } from '../snapshot/restore/ports.ts';
import { OperatingError } from '../wire/errors.ts';

export function nvramFilesAt(folder: string): NvramFiles {
  const pathOf = (uuid: string) => path.join(folder, `${uuid}_VARS.fd`);
  return {
    pathOf,
    async keep(uuid, bytes) {
      const file = pathOf(uuid);
      try {
        await mkdir(folder, { recursive: true });
        // QEMU's user opens that of a proof by its path; the files are not everybody's.
        await chmod(folder, 0o711);
        if (bytes !== undefined) await writeFile(file, bytes, { mode: 0o600, flush: true });
      } catch (cause) {
        if (!(cause instanceof Error && 'code' in cause)) throw cause;
        throw new OperatingError({ code: 'unavailable', op: 'write NVRAM', subject: file, cause });
      }
    },
    drop: (uuid) => rm(pathOf(uuid), { force: true }),
  };
}
