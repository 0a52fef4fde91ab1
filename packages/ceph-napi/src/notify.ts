// Telling the watchers of an object something: the other end of watch.ts.
import assert from 'node:assert/strict';
import { check, errno } from './errors.ts';
import { freeBuffer } from './free.ts';
import { librados } from './library.ts';
import { bytesAt, safeInteger, word, words } from './memory.ts';
import type { Pool } from './pool.ts';

const notify2 = librados(`int rados_notify2(rados_ioctx_t io, const char *o, const char *buf,
  int buf_len, uint64_t timeout_ms, char **reply_buffer, size_t *reply_buffer_len)`);

export interface WatcherId {
  /** The number in the watcher's `client.4123`. */
  readonly client: number;
  /** Which of that client's watches. */
  readonly cookie: bigint;
}

export interface NotifyAnswer extends WatcherId {
  readonly payload: Buffer;
}

export interface NotifyResult {
  readonly answers: readonly NotifyAnswer[];
  /** Those that did not answer in time. */
  readonly silent: readonly WatcherId[];
}

/**
 * Tells all watchers of an object `payload`, and waits for their answers, `timeoutMs` at most: whole seconds, rounded up, because librados rounds
 * down and takes 0 for the OSDs' own limit (30 s). That some are silent is no error: see there.
 * Throws CephError: ENOENT (no such object), ETIMEDOUT (the OSD does not answer).
 * Implements: rados_notify2
 */
export async function notifyWatchers(
  pool: Pool,
  oid: string,
  payload: Uint8Array,
  timeoutMs: number,
): Promise<NotifyResult> {
  assert(Number.isSafeInteger(timeoutMs) && timeoutMs > 0, `not a time limit: ${timeoutMs}`);
  const [reply, length] = [words(), words()];
  const body = Buffer.from(payload);
  const limit = Math.ceil(timeoutMs / 1000) * 1000;
  const result = await pool.try(notify2, oid, body, body.length, limit, reply, length);
  try {
    const told = bytesAt(word(reply), Number(word(length)));
    const isAnswered = result >= 0 || (result === -errno.ETIMEDOUT && told.length > 0);
    if (!isAnswered) check(result, notify2.symbol, oid);
    return decode(told);
  } finally {
    freeBuffer(word(reply));
  }
}

/** As librados.h says at rados_notify2: answers {client, cookie, length, bytes}, then those that timed out {client, cookie}. */
function decode(reply: Buffer): NotifyResult {
  let at = 0;
  const int32 = () => reply.readUInt32LE((at += 4) - 4);
  const int64 = () => reply.readBigUInt64LE((at += 8) - 8);
  const watcher = () => ({ client: safeInteger(int64(), 'client id'), cookie: int64() });
  const answer = () => {
    const who = watcher();
    const length = int32();
    return { ...who, payload: reply.subarray(at, (at += length)) };
  };
  const answers = Array.from({ length: int32() }, answer);
  return { answers, silent: Array.from({ length: int32() }, watcher) };
}
