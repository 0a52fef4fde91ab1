// The few calls of libc that Node has not. Loaded with their first use.

type Call = (...args: readonly (number | Buffer)[]) => number;

export interface Libc {
  readonly socket: Call;
  readonly sendto: Call;
  readonly close: Call;
  readonly prctl: Call;
  readonly lseek: Call;
  /** Gives the errno. */
  readonly posixFadvise: Call;
  /** Of the last call that failed. */
  readonly errno: () => number;
}

let loaded: Promise<Libc> | undefined;

export function libc(): Promise<Libc> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<Libc> {
  const { default: koffi } = await import('koffi');
  const library = koffi.load('libc.so.6');
  return {
    socket: library.func('int socket(int domain, int type, int protocol)') as Call,
    sendto: library.func(
      'long sendto(int fd, const void *text, unsigned long length, int flags, const void *address, uint32_t addressLength)',
    ) as Call,
    close: library.func('int close(int fd)') as Call,
    prctl: library.func(
      'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
    ) as Call,
    lseek: library.func('int64_t lseek(int fd, int64_t offset, int whence)') as Call,
    posixFadvise: library.func(
      'int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)',
    ) as Call,
    errno: () => koffi.errno(),
  };
}
