// A pool's RBD namespaces: each has images of its own. A Pool opened in one creates and lists those of the whole pool all the same.
import { check } from './errors.ts';
import { librbd } from './library.ts';
import { bytes, textsOf, withRoom, word, words } from './memory.ts';
import type { Pool } from './pool.ts';

const create = librbd('int rbd_namespace_create(rados_ioctx_t io, const char *namespace_name)');
const remove = librbd('int rbd_namespace_remove(rados_ioctx_t io, const char *namespace_name)');
const list = librbd(
  'int rbd_namespace_list(rados_ioctx_t io, char *namespace_names, size_t *size)',
);
const exists = librbd(
  'int rbd_namespace_exists(rados_ioctx_t io, const char *namespace_name, bool *exists)',
);

/** Throws CephError: EEXIST, EINVAL (the name is ''). Implements: rbd_namespace_create */
export async function createNamespace(pool: Pool, name: string): Promise<void> {
  await pool.call(create, name);
}

/** Throws CephError: ENOENT, EBUSY (it has images, in the trash too). Implements: rbd_namespace_remove */
export async function removeNamespace(pool: Pool, name: string): Promise<void> {
  await pool.call(remove, name);
}

/** Their names, without the default one. Implements: rbd_namespace_list */
export async function listNamespaces(pool: Pool): Promise<string[]> {
  const { result, names } = await withRoom(list.symbol, 4096, async (room) => {
    const [names, size] = [bytes(room), words()];
    size[0] = BigInt(room);
    const result = await pool.try(list, names, size);
    const wanted = Number(word(size));
    return { result, wanted, names: names.subarray(0, wanted) };
  });
  check(result, list.symbol);
  return textsOf(names);
}

/** Whether there is a namespace of this name. Implements: rbd_namespace_exists */
export async function namespaceExists(pool: Pool, name: string): Promise<boolean> {
  const out = bytes(1);
  await pool.call(exists, name, out);
  return out[0] !== 0;
}
