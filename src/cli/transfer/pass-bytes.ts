// The command's end of an export or import: bytes between a file or pipe of its own and the worker, which siphond started for it.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { encodeFrame } from '../../export-file/index.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { Hello } from '../../wire/transfer-api.ts';
import type { StreamAt } from '../../wire/transfer-protocol.ts';

/** One read of the socket, at most. */
const BUFFER_BYTES = 1024 * 1024;

/** Gives `write` all that the worker sends, one call at a time; resolves with how much that was. */
export async function receiveBytes(
  at: StreamAt,
  hello: Hello,
  write: (bytes: Buffer) => Promise<void>,
): Promise<number> {
  let total = 0;
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  const socket = connect({
    path: at.path,
    onread: {
      buffer,
      callback(count) {
        total += count;
        write(buffer.subarray(0, count)).then(() => socket.resume(), reject);
        return false; // the buffer is in use until then
      },
    },
  });
  socket.on('error', (cause) => reject(broken(at, cause)));
  socket.on('close', () => resolve(total));
  greet(socket, at, hello);
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

/** What is to be sent: its first bytes, as many as the header takes, and then from anywhere on. */
export interface Sendable {
  readonly header: Buffer;
  /** From this byte of the file on. */
  from(position: number): AsyncIterable<Buffer>;
}

/** Sends a file as far as the worker wants it, which says so by taking no more, or where it failed. */
export async function sendBytes(at: StreamAt, hello: Hello, what: Sendable): Promise<void> {
  const socket = connect({ path: at.path });
  const closed = once(socket, 'close').catch((cause: unknown) => {
    throw broken(at, cause);
  });
  closed.catch(() => undefined); // the job says why
  greet(socket, at, hello);
  socket.write(what.header);
  const position = await wantedFrom(socket);
  if (position !== undefined) {
    for await (const bytes of what.from(position)) {
      if (socket.destroyed) break;
      if (!socket.write(bytes)) await Promise.race([once(socket, 'drain'), closed]);
    }
    // That the input ended; whoever is killed does not say it.
    const end = { kind: 'end', disk: 0, offset: 0, length: 0 } as const;
    socket.end(encodeFrame(end, Buffer.alloc(32)));
    socket.resume();
    await closed;
  }
}

/** undefined: the worker has ended it. */
async function wantedFrom(socket: Socket): Promise<number | undefined> {
  let said = Buffer.alloc(0);
  while (said.length < 8) {
    const bytes = await Promise.race([once(socket, 'data'), once(socket, 'close')]);
    if (!Buffer.isBuffer(bytes[0])) return undefined;
    said = Buffer.concat([said, bytes[0]]);
  }
  return Number(said.readBigUInt64LE(0));
}

function greet(socket: Socket, { token }: StreamAt, hello: Hello): void {
  const json = Buffer.from(JSON.stringify(hello));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  socket.write(Buffer.concat([Buffer.from(token), length, json]));
}

function broken({ path }: StreamAt, cause: unknown): OperatingError {
  return new OperatingError({ code: 'unavailable', op: 'pass bytes', subject: path, cause });
}
