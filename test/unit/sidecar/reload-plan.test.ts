// What a changed config takes: every key is either applied or named as waiting for a restart, and nothing else moves.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CONFIG_KEYS } from '../../../src/sidecar/config/keys.ts';
import { parseConfig, toConfig } from '../../../src/sidecar/config/load.ts';
import { planReload, type ReloadPlan } from '../../../src/sidecar/reload-plan.ts';

function fileOf(toml: string) {
  const loaded = parseConfig([{ file: 'siphon.toml', text: toml }]);
  assert.equal(loaded.kind, 'config', JSON.stringify(loaded));
  return loaded.checked;
}

function plan(before: string, after: string): Omit<ReloadPlan, 'inForce'> {
  const { inForce: _, ...rest } = planReload(fileOf(before), fileOf(after));
  return rest;
}

/** Another right value of each key outside of clusters, as a line of TOML. */
const OTHER: Readonly<Record<string, string>> = {
  'cache.path': '"/other/rw"',
  'cache.mount': '"/other/ro"',
  'cache.limit': '"7GiB"',
  'cache.reserve': '"7GiB"',
  'cache.fill_concurrency': '7',
  'cache.raw_becomes': '"raw"',
  'cache.quarantine_age': '"1d"',
  'cache.quarantine_limit': '"1GiB"',
  'cache.scrub_rate': '"0B"',
  'cache.scrub_every': '"1d"',
  'cache.overlays': '["/other"]',
  'fills.memory': '"3GiB"',
  'fills.tasks': '256',
  'fills.cpu_weight': '10',
  'fills.io_weight': '10',
  'trust.folder': '"/other"',
  'trust.chains': '"always"',
  'trust.path_length': '"required"',
  'trust.rules': '[{ require = "signature" }]',
  'hook.fill_wait': '"7s"',
  'hook.spool': '"/other"',
  'snapshot.policies': '"/other"',
  'snapshot.at_once': '7',
  'snapshot.jitter': '"7s"',
  'snapshot.worst_health': '"any"',
  'snapshot.full': '70',
  'snapshot.image_warning': '70',
  'snapshot.image_limit': '70',
  'snapshot.keep_files': '["tpm"]',
  'publish.snapshots_directory': '"/other"',
  'publish.flatten_rate': '"7MiB"',
  'publish.file_format': '"raw"',
  'verify.level': '"checked"',
  'verify.boot_timeout': '"7s"',
  'verify.memory_max': '"3GiB"',
  'verify.vcpus_max': '7',
  'libvirt.uri': '"test:///default"',
  'state.path': '"/other"',
  'api.socket': '"/other.sock"',
  'api.read_socket': '"/other-read.sock"',
  'api.hook_socket': '"/other-hook.sock"',
  'log.level': '"warn"',
};
/** What other processes hold, or what is open. */
const RESTART = [
  'cache.path',
  'cache.mount',
  'hook.spool',
  'libvirt.uri',
  'state.path',
  'api.socket',
  'api.read_socket',
  'api.hook_socket',
];

describe('a plan of a reload', () => {
  it('is nothing for the same config, however it is spelt', () => {
    assert.deepEqual(plan('cache.limit = "1GiB"', '[cache]\nlimit = "1024 MiB"'), {
      apply: [],
      needsRestart: [],
      unchanged: true,
    });
  });

  for (const { key, path } of CONFIG_KEYS.filter((each) => each.path[0] !== 'clusters')) {
    const isLater = RESTART.includes(key);
    it(`${isLater ? 'leaves' : 'applies'} ${key}`, () => {
      const found = plan('', `${path.join('.')} = ${OTHER[key]}`);
      const named = { apply: isLater ? [] : [key], needsRestart: isLater ? [key] : [] };
      assert.deepEqual(found, { ...named, unchanged: false });
    });
  }

  it('puts in force what it applies, keeps what waits, and then says only what waits', () => {
    const anySome = fc.subarray(Object.keys(OTHER));
    const tomlOf = (keys: readonly string[]) =>
      keys.map((key) => `${key} = ${OTHER[key]}`).join('\n');
    fc.assert(
      fc.property(anySome, anySome, (before, after) => {
        const [old, next] = [fileOf(tomlOf(before)), fileOf(tomlOf(after))];
        const first = planReload(old, next);
        const differing = before.filter((key) => !after.includes(key));
        differing.push(...after.filter((key) => !before.includes(key)));
        assert.deepEqual(new Set([...first.apply, ...first.needsRestart]), new Set(differing));
        assert.ok(first.needsRestart.every((key) => RESTART.includes(key)));
        const again = planReload(first.inForce, next);
        assert.deepEqual([again.apply, again.needsRestart], [[], first.needsRestart]);
        assert.deepEqual(again.inForce, first.inForce);
        const back = planReload(first.inForce, old);
        assert.deepEqual([new Set(back.apply), back.needsRestart], [new Set(first.apply), []]);
        assert.deepEqual(toConfig(back.inForce), toConfig(old));
      }),
    );
  });

  const two = '[clusters.a]\ndefault = true\n[clusters.b]\n';
  const CLUSTERS: readonly [name: string, before: string, after: string, apply: string[]][] = [
    ['a changed user', two, `${two}user = "x"`, ['clusters.b']],
    ['another keyring', two, `${two}users.fill = {name="siphon", keyring="/k"}`, ['clusters.b']],
    ['an added one', two, `${two}[clusters.c]`, ['clusters.c']],
    ['a removed one', `${two}[clusters.c]`, two, ['clusters.c']],
    [
      'the other as the default',
      two,
      '[clusters.a]\n[clusters.b]\ndefault = true',
      ['clusters.a', 'clusters.b'],
    ],
    [
      'one that is the only one now',
      two,
      '[clusters.a]\ndefault = true',
      ['clusters.a', 'clusters.b'],
    ],
    ['other names', '', '[clusters.constructor]', ['clusters.ceph', 'clusters.constructor']],
    ['another order', two, '[clusters.b]\n[clusters.a]\ndefault = true', []],
  ];
  for (const [name, before, after, apply] of CLUSTERS) {
    it(`names the clusters that change: ${name}`, () => {
      assert.deepEqual(plan(before, after), {
        apply,
        needsRestart: [],
        unchanged: apply.length === 0,
      });
    });
  }
});
