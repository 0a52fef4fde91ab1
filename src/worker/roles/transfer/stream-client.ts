// The one client of an export or import, on a socket of its own: whoever says the token that siphond gave to who asked.

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { type ByteSource, decodeFrame, FRAME_BYTES } from '../../../export-file/index.ts';
import { OperatingError } from '../../../wire/errors.ts';
import { HELLO_BYTES_MAX, type Hello } from '../../../wire/transfer-api.ts';
import type { StreamAt } from '../../../wire/transfer-protocol.ts';

const TOKEN_BYTES = 32; // hex digits
/** The command connects as soon as it has the answer of siphond. */
const CONNECT_MS_MAX = 60_000;
/** Of one that has connected. */
const HELLO_MS_MAX = 30_000;
/** A client of an export may stand on a full disk, one of an import on a slow pipe: but not for ever. */
const SILENCE_MS_MAX = 600_000;
const CONNECTIONS_MAX = 16;

/** Listens in `folder`; the socket is gone with the first client that knows the token. */
export async function listenFor(
  folder: string,
): Promise<{ readonly at: StreamAt; readonly client: Promise<StreamClient> }> {
  const token = randomBytes(TOKEN_BYTES / 2).toString('hex');
  const at = { path: path.join(folder, `${randomBytes(8).toString('hex')}.sock`), token };
  const server = createServer();
  server.maxConnections = CONNECTIONS_MAX;
  const client = firstClient(server, token);
  client.catch(() => undefined); // told to who waits for it
  server.listen(at.path);
  await once(server, 'listening');
  // Who may write to it may say a token, no more.
  await chmod(at.path, 0o666);
  return { at, client };
}

async function firstClient(server: Server, token: string): Promise<StreamClient> {
  const { promise, resolve, reject } = Promise.withResolvers<StreamClient>();
  const timer = setTimeout(() => reject(noClient()), CONNECT_MS_MAX);
  server.on('connection', (socket) => {
    socket.on('error', () => socket.destroy());
    StreamClient.greet(socket, token).then(resolve, () => socket.destroy());
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    server.close();
  }
}

export class StreamClient implements ByteSource {
  readonly hello: Hello;
  readonly #socket: Socket;
  readonly #pull: Pull;
  /** Rejects when the client is gone. */
  readonly #closed: Promise<never>;

  private constructor(socket: Socket, pull: Pull, hello: Hello) {
    this.#socket = socket;
    this.#pull = pull;
    this.hello = hello;
    // By an end or by a failure of the socket: whoever passed the bytes is gone.
    this.#closed = once(socket, 'close').then(
      () => Promise.reject(gone()),
      () => Promise.reject(gone()),
    );
    this.#closed.catch(() => undefined); // told to who writes
    socket.setTimeout(SILENCE_MS_MAX, () => socket.destroy());
  }

  /** @throws OperatingError denied: another token */
  static async greet(socket: Socket, token: string): Promise<StreamClient> {
    const late = setTimeout(() => socket.destroy(), HELLO_MS_MAX);
    try {
      const pull = new Pull(socket);
      const said = Buffer.alloc(TOKEN_BYTES);
      await pull.read(said);
      if (!timingSafeEqual(said, Buffer.from(token))) throw denied();
      const length = Buffer.alloc(4);
      await pull.read(length);
      if (length.readUInt32LE(0) > HELLO_BYTES_MAX) throw denied();
      const hello = Buffer.alloc(length.readUInt32LE(0));
      await pull.read(hello);
      return new StreamClient(socket, pull, JSON.parse(hello.toString('utf8')) as Hello);
    } finally {
      clearTimeout(late);
    }
  }

  /** Its client says how its input ended: one that is gone without a word is `cancelled`. */
  async read(into: Buffer): Promise<number> {
    const length = await this.#pull.read(into);
    if (length === into.length || this.#pull.hasSaidEnd) return length;
    throw gone();
  }

  /** In the order of the calls. Resolves when the bytes may change again. */
  async write(bytes: readonly Buffer[]): Promise<void> {
    const socket = this.#socket;
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.cork();
    for (const [at, each] of bytes.entries()) {
      const isLast = at === bytes.length - 1;
      socket.write(each, isLast ? (error) => error || resolve() : undefined);
    }
    socket.uncork();
    await Promise.race([promise, this.#closed]);
  }

  /** Nothing more is said; waits until the client has it all, or is gone. */
  async end(): Promise<void> {
    this.#socket.end();
    const rest = Buffer.alloc(1);
    while ((await this.#pull.read(rest)) > 0); // it has nothing to say but that it is through
    this.#socket.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Bytes of a socket as they are asked for. */
class Pull implements ByteSource {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  /** Of all that came. */
  #last: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#chunks = socket.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  }

  /** Whether what came last says that the sender's input ended, wherever that was. */
  get hasSaidEnd(): boolean {
    return this.#last.length === FRAME_BYTES && decodeFrame(this.#last)?.frame.kind === 'end';
  }

  async read(into: Buffer): Promise<number> {
    let done = 0;
    while (done < into.length) {
      if (this.#rest.length === 0 && !(await this.#more())) break;
      const count = this.#rest.copy(into, done);
      this.#rest = this.#rest.subarray(count);
      done += count;
    }
    return done;
  }

  async #more(): Promise<boolean> {
    const next = await this.#chunks.next().catch(() => undefined); // a socket that broke has no more
    if (next === undefined || next.done === true) return false;
    this.#rest = next.value;
    this.#last = Buffer.concat([this.#last, this.#rest.subarray(-FRAME_BYTES)]).subarray(
      -FRAME_BYTES,
    );
    return true;
  }
}

function gone(): OperatingError {
  const why = 'the command that passed the bytes is gone';
  const hint = 'Ask for it again with the same command: it goes on where it ended.';
  return new OperatingError({ code: 'cancelled', op: 'pass bytes', subject: 'client', why, hint });
}

function noClient(): OperatingError {
  const why = `nobody came for the bytes in ${CONNECT_MS_MAX / 1000} s`;
  return new OperatingError({ code: 'cancelled', op: 'pass bytes', subject: 'client', why });
}

function denied(): OperatingError {
  return new OperatingError({ code: 'denied', op: 'pass bytes', subject: 'client' });
}
