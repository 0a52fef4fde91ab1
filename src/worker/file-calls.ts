// The calls on files that Node has not, for who reads bases from the disk.

import { getSystemErrorName } from 'node:util';
import type { FileCalls } from '../rbd-export/scrub/base-file.ts';
import { libc } from '../systemd/libc.ts';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';

/** unistd.h, fcntl.h */
const SEEK_DATA = 3;
const POSIX_FADV_DONTNEED = 4;
const ENXIO = 6;
const EINVAL = 22;

export async function fileCalls(): Promise<FileCalls> {
  const { lseek, posixFadvise, errno } = await libc();
  return {
    seekData(fd, offset) {
      const found = lseek(fd, offset, SEEK_DATA);
      if (found >= 0) return found;
      const code = errno();
      if (code === ENXIO) return undefined;
      if (code === EINVAL) return offset; // no holes are known here
      const why = getSystemErrorName(-code);
      throw new OperatingError({ code: codeOfErrno(code), op: 'seek', subject: `fd ${fd}`, why });
    },
    // A filesystem that cannot forget says so: what is read is then what it keeps.
    forget: (fd, offset, length) => void posixFadvise(fd, offset, length, POSIX_FADV_DONTNEED),
  };
}
