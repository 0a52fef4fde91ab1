// The trust folder: certificates by UUID, one PEM or DER file each, put there by the operator.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';
import type { FindCertificate } from './plan-signature.ts';

/** Reads `FOLDER/UUID.pem`. The planner asks for UUIDs only. @throws OperatingError where there is a file that cannot be read */
export function certificateFolder(folder: string): FindCertificate {
  return async (uuid) => {
    const file = path.join(folder, `${uuid}.pem`);
    try {
      return await readFile(file);
    } catch (cause) {
      const { code, errno } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT') return undefined;
      throw new OperatingError({
        code: codeOfErrno(-(errno ?? 0)),
        op: 'read certificate',
        subject: file,
        cause,
      });
    }
  };
}
