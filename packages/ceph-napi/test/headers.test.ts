// What is declared here against the headers of the installed librados and librbd (librados-dev, librbd-dev).
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { bindings, feature } from '../src/index.ts';

const headers = ['rados/librados.h', 'rbd/librbd.h', 'rbd/features.h']
  .map((name) => readFileSync(`/usr/include/${name}`, 'utf8'))
  .join('\n')
  .replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, ' ');
const sources = readdirSync(new URL('../src/', import.meta.url))
  .map((name) => readFileSync(new URL(`../src/${name}`, import.meta.url), 'utf8'))
  .join('\n');

/** One space between words, none around marks; `char const *` is `const char *`. */
function normal(text: string): string {
  const spaced = text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/ ?([(),*;{}]) ?/g, '$1')
    .trim();
  return spaced.replaceAll('char const*', 'const char*');
}

const declarations = new Map(
  [...headers.matchAll(/CEPH_R(?:ADOS|BD)_API\s+([^;]+?)\s*;/g)].map(([, text = '']) => {
    const declaration = normal(text);
    return [/(\w+)\(/.exec(declaration)?.[1], declaration] as const;
  }),
);

test('the headers were read', () => {
  assert(declarations.size > 400, `${declarations.size} functions`);
  const want = 'int rbd_get_size(rbd_image_t image,uint64_t*size)';
  assert.equal(declarations.get('rbd_get_size'), want);
  assert.notEqual(declarations.get('rbd_get_size'), normal('int rbd_get_size(rbd_image_t image)'));
});

const ours = [...bindings().values()].filter((each) => each.library !== 'libc');

test('what is bound is declared as in the headers', () => {
  assert(ours.length > 130);
  for (const { symbol, prototype, available } of ours) {
    const declaration = declarations.get(symbol);
    assert.equal(available, declaration !== undefined, symbol);
    if (available) assert.equal(normal(prototype), declaration);
  }
});

test('what is bound is named by the function that implements it, and the other way', () => {
  const named = [...sources.matchAll(/Implements: ([\w, \n*]+)/g)]
    .flatMap(([, list = '']) => list.match(/\w+/g))
    .filter((word) => word !== null);
  const bound = new Set(ours.map((each) => each.symbol));
  assert.deepEqual([...bound.difference(new Set(named))], []);
  assert.deepEqual([...new Set(named).difference(bound)], []);
});

// What the code reads out of memory by its place.
const layouts = [
  'typedef struct{char*id;char*name;}rbd_image_spec_t',
  'typedef struct{uint64_t id;uint64_t size;const char*name;}rbd_snap_info_t',
  'typedef struct{char*addr;int64_t id;uint64_t cookie;}rbd_image_watcher_t',
  `typedef struct{uint64_t size;uint64_t obj_size;uint64_t num_objs;int order;
    char block_name_prefix[RBD_MAX_BLOCK_NAME_SIZE];int64_t parent_pool;
    char parent_name[RBD_MAX_IMAGE_NAME_SIZE];}rbd_image_info_t`,
  `typedef enum{RBD_SNAP_NAMESPACE_TYPE_USER = 0,RBD_SNAP_NAMESPACE_TYPE_GROUP = 1,
    RBD_SNAP_NAMESPACE_TYPE_TRASH = 2,RBD_SNAP_NAMESPACE_TYPE_MIRROR = 3,}rbd_snap_namespace_type_t`,
  `typedef struct{int64_t pool_id;char*pool_name;char*pool_namespace;char*image_id;
    char*image_name;bool trash;}rbd_linked_image_spec_t`,
  'typedef struct{uint64_t id;rbd_snap_namespace_type_t namespace_type;char*name;}rbd_snap_spec_t',
  `typedef struct{char*id;char*name;rbd_trash_image_source_t source;time_t deletion_time;
    time_t deferment_end_time;}rbd_trash_image_info_t`,
  `RBD_TRASH_IMAGE_SOURCE_USER = 0,RBD_TRASH_IMAGE_SOURCE_MIRRORING = 1,
    RBD_TRASH_IMAGE_SOURCE_MIGRATION = 2,RBD_TRASH_IMAGE_SOURCE_REMOVING = 3,`,
  'typedef enum{RBD_LOCK_MODE_EXCLUSIVE = 0,',
  'typedef int(*librbd_progress_fn_t)(uint64_t offset,uint64_t total,void*ptr);',
  'typedef void(*rados_callback_t)(rados_completion_t cb,void*arg);',
  `typedef void(*rados_watchcb2_t)(void*arg,uint64_t notify_id,uint64_t handle,
    uint64_t notifier_id,void*data,size_t data_len);`,
  'typedef void(*rados_watcherrcb_t)(void*pre,uint64_t cookie,int err);',
  'RBD_IMAGE_OPTION_CLONE_FORMAT = 12',
  'RBD_IMAGE_OPTION_DATA_POOL = 10',
  '#define LIBRADOS_LOCK_FLAG_MAY_RENEW LIBRADOS_LOCK_FLAG_RENEW',
  '#define LIBRADOS_LOCK_FLAG_RENEW(1u<<0)',
  '#define LIBRADOS_LOCK_FLAG_MUST_RENEW(1u<<1)',
  'enum{EVENT_TYPE_PIPE = 1,EVENT_TYPE_EVENTFD = 2}',
  'RBD_IMAGE_OPTION_FORMAT = 0,RBD_IMAGE_OPTION_FEATURES = 1,RBD_IMAGE_OPTION_ORDER = 2',
  '#define RBD_MAX_BLOCK_NAME_SIZE 24',
  '#define RBD_MAX_IMAGE_NAME_SIZE 96',
  '#define RBD_FLAG_OBJECT_MAP_INVALID(1<<0)',
  '#define RBD_FLAG_FAST_DIFF_INVALID(1<<1)',
  '#define RBD_SNAP_CREATE_SKIP_QUIESCE(1 << 0)',
  '#define LIBRADOS_CREATE_EXCLUSIVE 1',
  '#define LIBRADOS_CREATE_IDEMPOTENT 0',
  'LIBRADOS_CMPXATTR_OP_EQ = 1',
];
for (const layout of layouts) {
  test(`the header has ${layout.slice(0, 60)}`, () => {
    assert(normal(headers).includes(normal(layout)));
  });
}

// The same of newer headers alone: [who reads them, what they have].
const newer = [
  ['rbd_diff_iterate3', 'RBD_DIFF_ITERATE_FLAG_INCLUDE_PARENT =(1U<<0)'],
  ['rbd_diff_iterate3', 'RBD_DIFF_ITERATE_FLAG_WHOLE_OBJECT =(1U<<1)'],
  [
    'rbd_group_snap_get_info',
    'typedef struct{char*image_name;int64_t pool_id;uint64_t snap_id;}rbd_group_image_snap_info_t;',
  ],
  [
    'rbd_group_snap_get_info',
    `typedef struct{char*id;char*name;char*image_snap_name;rbd_group_snap_state_t state;
      rbd_group_snap_namespace_type_t namespace_type;size_t image_snaps_count;
      rbd_group_image_snap_info_t*image_snaps;}rbd_group_snap_info2_t;`,
  ],
] as const;
for (const [symbol, layout] of newer) {
  test(`the header has, where it has ${symbol}, ${layout.slice(0, 60)}`, () => {
    assert.equal(normal(headers).includes(normal(layout)), bindings().get(symbol)?.available);
  });
}

test('features have the bits of features.h', () => {
  for (const [name, mask] of Object.entries(feature)) {
    const constant = `RBD_FEATURE_${name.replaceAll(/[A-Z]\w?/g, '_$&').toUpperCase()}`;
    const known = constant.replace('STRIPING_V2', 'STRIPINGV2');
    const bit = new RegExp(`#define ${known}\\s+\\(1ULL<<(\\d+)\\)`).exec(headers)?.[1];
    assert.equal(mask, 2 ** Number(bit), known);
  }
});
