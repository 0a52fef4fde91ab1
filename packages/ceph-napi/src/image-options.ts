// rbd_image_options_t: what an image that is being made shall be.
import { check } from './errors.ts';
import { librbd } from './library.ts';
import { word, words } from './memory.ts';

const create = librbd('void rbd_image_options_create(rbd_image_options_t *opts)');
const destroy = librbd('void rbd_image_options_destroy(rbd_image_options_t opts)');
const set = librbd(`int rbd_image_options_set_uint64(rbd_image_options_t opts, int optname,
  uint64_t optval)`);
const setText = librbd(`int rbd_image_options_set_string(rbd_image_options_t opts, int optname,
  const char *optval)`);

const option = { format: 0, features: 1, order: 2, dataPool: 10, cloneFormat: 12 } as const; // RBD_IMAGE_OPTION_*
type Option = keyof typeof option;

export type ImageOptions = {
  readonly [name in Option]?: (name extends 'dataPool' ? string : number) | undefined;
};

/**
 * Runs `work` with the options that are not undefined. Throws CephError EINVAL.
 * Implements: rbd_image_options_create, rbd_image_options_set_uint64, rbd_image_options_set_string, rbd_image_options_destroy
 */
export async function withImageOptions<T>(
  values: ImageOptions,
  work: (options: bigint) => Promise<T>,
): Promise<T> {
  const out = words();
  create.call(out);
  const options = word(out);
  try {
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined) continue;
      const f = typeof value === 'string' ? setText : set;
      check(f.call(options, option[name as Option], value), f.symbol, name);
    }
    return await work(options);
  } finally {
    destroy.call(options);
  }
}
