// Methods of object classes, which the OSDs run on an object.
import { check } from './errors.ts';
import { librados } from './library.ts';
import { bytes } from './memory.ts';
import type { Pool } from './pool.ts';

const exec = librados(`int rados_exec(rados_ioctx_t io, const char *oid, const char *cls,
  const char *method, const char *in_buf, size_t in_len, char *buf, size_t out_len)`);

const ANSWER_BYTES_MAX = 64 * 1024;

/**
 * What the method answers. Caps are looked at before the method runs, and before it reads its input: EPERM. Throws CephError: EOPNOTSUPP
 * (no such method), and the method's own. Implements: rados_exec
 */
export async function callMethod(
  pool: Pool,
  oid: string,
  method: { readonly class: string; readonly name: string },
  input: Buffer = bytes(0),
): Promise<Buffer> {
  const answer = bytes(ANSWER_BYTES_MAX);
  const { length: room } = answer;
  const asked = [oid, method.class, method.name, input, input.length, answer, room] as const;
  const length = await pool.try(exec, ...asked);
  check(length, exec.symbol, `${oid} ${method.class}.${method.name}`);
  return answer.subarray(0, length);
}
