// fs-verity, where the file system of the bases offers it: from then on the kernel lets nobody change the file, and checks each page that
// it reads against a digest of the whole (linux/fsverity.h; Documentation/filesystems/fsverity.rst).

import { chmod, open } from 'node:fs/promises';
import { getSystemErrorName } from 'node:util';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';

/** linux/fsverity.h, of x86 and ARM: _IOW('f', 133, struct fsverity_enable_arg), _IOWR('f', 134, struct fsverity_digest). */
const FS_IOC_ENABLE_VERITY = 0x4080_6685;
const FS_IOC_MEASURE_VERITY = 0xc004_6686;
const ENABLE_ARG_BYTES = 128;
const FS_VERITY_HASH_ALG_SHA256 = 1;
const SHA256_BYTES = 32;
const BLOCK_BYTES = 4096;
/** The kernel lets only those enable it who may write the inode, and refuses while anybody has it open for writing. */
const OWNER_MAY_WRITE = 0o644;

const EEXIST = 17;
/** No file system with fs-verity, or one that was made without. */
const NOT_OFFERED = new Set([/* ENOTTY */ 25, /* EOPNOTSUPP */ 95]);

/**
 * Of a complete file that nobody has open for writing: its fs-verity digest (SHA-256, hex), or undefined: it is not offered here. Reads
 * all of it. @throws OperatingError exhausted (the hash tree takes 1/127 of its size), unavailable
 */
export async function sealFile(path: string): Promise<string | undefined> {
  await chmod(path, OWNER_MAY_WRITE);
  await using file = await open(path, 'r');
  const ioctl = await loadIoctl();
  const enable = Buffer.alloc(ENABLE_ARG_BYTES);
  for (const [at, value] of [1, FS_VERITY_HASH_ALG_SHA256, BLOCK_BYTES].entries())
    enable.writeUInt32LE(value, 4 * at);
  const errno = await ioctl(file.fd, FS_IOC_ENABLE_VERITY, enable);
  if (NOT_OFFERED.has(errno)) return undefined;
  if (errno !== 0 && errno !== EEXIST) throw failed('enable fs-verity', path, errno);
  const digest = Buffer.alloc(4 + SHA256_BYTES);
  digest.writeUInt16LE(SHA256_BYTES, 2);
  const told = await ioctl(file.fd, FS_IOC_MEASURE_VERITY, digest);
  if (told !== 0) throw failed('measure fs-verity', path, told);
  return digest.subarray(4).toString('hex');
}

/** Gives 0, or the positive errno. */
type Ioctl = (fd: number, request: number, argument: Buffer) => Promise<number>;

async function loadIoctl(): Promise<Ioctl> {
  const { default: koffi } = await import('koffi');
  // It is variadic, and passes pointers as any function does.
  const call = koffi.load('libc.so.6').func('int ioctl(int fd, unsigned long request, void *arg)');
  return (...args) =>
    new Promise((resolve, reject) => {
      call.async(...args, (error: Error | null, result: number) => {
        if (error !== null) reject(error);
        // Here, and no later: the next call of anybody's has another.
        else resolve(result === 0 ? 0 : koffi.errno());
      });
    });
}

function failed(op: string, subject: string, errno: number): OperatingError {
  const why = getSystemErrorName(-errno);
  return new OperatingError({ code: codeOfErrno(errno), op, subject, why });
}
