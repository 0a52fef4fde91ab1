// The config: defaults, and every kind of mistake told with its line, its key and what is allowed.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { formatProblem, loadConfig, parseConfig } from '../../../src/sidecar/config/load.ts';
import { CONFIG_SCHEMA } from '../../../src/sidecar/config/schema.ts';
import { parseDuration, parseSize } from '../../../src/sidecar/config/units.ts';

function configOf(toml: string) {
  const loaded = parseConfig(toml, 'siphon.toml');
  assert.equal(loaded.kind, 'config', JSON.stringify(loaded));
  return loaded.config;
}

function problemsOf(toml: string): string[] {
  const loaded = parseConfig(toml, 'siphon.toml');
  assert.equal(loaded.kind, 'bad');
  return loaded.problems.map(formatProblem);
}

describe('a config that is right', () => {
  it('is the defaults where the default file is empty', () => {
    const config = configOf('');
    assert.equal(config.cache.limitBytes, 100 * 2 ** 30);
    assert.equal(config.hook.fillWaitMs, 5000);
    assert.deepEqual(
      config.clusters.map(({ name, isDefault }) => ({ name, isDefault })),
      [{ name: 'ceph', isDefault: true }],
    );
    assert.deepEqual(config.clusters[0]?.settings, {
      conf: '/etc/ceph/ceph.conf',
      timeoutMs: 5000,
      users: {
        fill: { name: 'siphon' },
        snapshot: { name: 'siphon' },
        publish: { name: 'siphon' },
      },
    });
  });

  it('names several clusters, with users and keyrings of their own', () => {
    const { clusters } = configOf(`
      [clusters.east]
      default = true
      fsid = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
      user = "shared"
      users.fill = { name = "reader", keyring = "/etc/siphon/reader.keyring" }
      [clusters.west]
      conf = "/etc/ceph/west.conf"
      timeout = "1.5s"
      [clusters.west.users]
      snapshot = "snapper"
    `);
    const [east, west] = clusters;
    assert.deepEqual([east?.isDefault, west?.isDefault], [true, false]);
    assert.equal(east?.settings.fsid, 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee');
    assert.deepEqual(east?.settings.users, {
      fill: { name: 'reader', keyring: '/etc/siphon/reader.keyring' },
      snapshot: { name: 'shared' },
      publish: { name: 'shared' },
    });
    assert.equal(west?.settings.timeoutMs, 1500);
    assert.equal(west?.settings.users.snapshot.name, 'snapper');
    assert.ok(!('fsid' in (west?.settings ?? {})));
  });
});

const MISTAKES: readonly { name: string; toml: string; want: readonly RegExp[] }[] = [
  {
    name: 'an unknown key, with the keys that are known there',
    toml: '[cache]\npath = "/a"\nlimits = "1GiB"',
    want: [/^siphon\.toml:3: cache\.limits: unknown key; allowed here: path, mount, limit,/],
  },
  {
    name: 'an unknown table',
    toml: '\n[cash]\nx = 1',
    want: [/^siphon\.toml:2: cash: unknown key; .* clusters/],
  },
  {
    name: 'an unknown key in an inline table',
    toml: '[clusters.a.users]\n\nfill = { name = "x", keyrin = "/a" }',
    want: [
      /^siphon\.toml:3: clusters\.a\.users\.fill\.keyrin: unknown key; allowed here: name, keyring/,
    ],
  },
  {
    name: 'a number for a size',
    toml: '[cache]\nlimit = 5',
    want: [/:2: cache\.limit: must be a size such as "100GiB"/],
  },
  {
    name: 'a unit that is not one',
    toml: 'cache.limit = "5 GB"',
    want: [/:1: cache\.limit: must be a size .*GiB/],
  },
  { name: 'a limit of nothing', toml: 'cache.limit = "0GiB"', want: [/:1: cache\.limit: must be/] },
  {
    name: 'a wait that is too long',
    toml: 'hook.fill_wait = "11s"',
    want: [/:1: hook\.fill_wait: must be .* at most 10s/],
  },
  {
    name: 'a relative path',
    toml: '[cache]\npath = "bases"',
    want: [/:2: cache\.path: must be an absolute path/],
  },
  {
    name: 'a path that climbs',
    toml: 'cache.path = "/a/../b"',
    want: [/cache\.path: must be an absolute path/],
  },
  {
    name: 'a fraction of a fill',
    toml: 'cache.fill_concurrency = 1.5',
    want: [/must be a whole number from 1 to 16/],
  },
  {
    name: 'too many fills',
    toml: 'cache.fill_concurrency = 17',
    want: [/must be a whole number from 1 to 16/],
  },
  {
    name: 'a word of none of them',
    toml: 'log.level = "loud"',
    want: [/must be one of "debug", "info", "warn", "error"/],
  },
  {
    name: 'a user with client.',
    toml: 'clusters.a.user = "client.x"',
    want: [/:1: clusters\.a\.user: must be a cephx user without/],
  },
  {
    name: 'an fsid that is none',
    toml: 'clusters.a.fsid = "x"',
    want: [/:1: clusters\.a\.fsid: must be an fsid/],
  },
  {
    name: 'a name of a cluster with a slash',
    toml: '[clusters."a/b"]',
    want: [/:1: clusters\.a\/b: must be a name of letters/],
  },
  {
    name: 'two clusters and no default',
    toml: '[clusters.a]\n[clusters.b]',
    want: [/:1: clusters: must be .*exactly one.*default = true/],
  },
  {
    name: 'two defaults',
    toml: '[clusters.a]\ndefault = true\n[clusters.b]\ndefault = true',
    want: [/:4: clusters\.b\.default: must be .*exactly one/],
  },
  {
    name: 'two clusters of one fsid',
    toml: ['a', 'b']
      .map(
        (name) =>
          `[clusters.${name}]\ndefault = ${name === 'a'}\nfsid = "${'a'.repeat(8)}-bbbb-cccc-dddd-${'e'.repeat(12)}"`,
      )
      .join('\n'),
    want: [/:6: clusters\.b\.fsid: must be an fsid of its own/],
  },
  {
    name: 'no cluster at all',
    toml: '[clusters]',
    want: [/:1: clusters: must be at least one \[clusters\.NAME\]/],
  },
  { name: 'a value for a table', toml: 'cache = 3', want: [/:1: cache: must be a table/] },
  {
    name: 'one path for both views',
    toml: '[cache]\npath = "/a"\nmount = "/a"',
    want: [/:3: cache\.mount: must be another path/],
  },
  {
    name: 'one path for both sockets',
    toml: '[api]\nsocket = "/a"\nhook_socket = "/a"',
    want: [/:3: api\.hook_socket: must be another path/],
  },
  {
    name: 'a socket over 107 bytes',
    toml: `api.socket = "/${'a'.repeat(107)}"`,
    want: [/:1: api\.socket: must be .*107 bytes/],
  },
  { name: 'what is not TOML', toml: '[cache]\npath = "/a\n', want: [/^siphon\.toml:2: /] },
  {
    name: 'a key after a multi-line string that looks like one',
    toml: '[libvirt]\nuri = """\n[cache]\npath = 1\n"""\n[cache]\npath = 1',
    want: [/:2: libvirt\.uri: must be a libvirt URI/, /:7: cache\.path: must be/],
  },
  {
    name: 'all at once, in the order of their lines',
    toml: '[hook]\nfill_wait = 5\n[cache]\nlimit = "1"\nx = 1\n[log]\nlevel = 1',
    want: [/:2: hook\.fill_wait/, /:4: cache\.limit/, /:5: cache\.x/, /:7: log\.level/],
  },
];

describe('a config that is wrong says', () => {
  for (const { name, toml, want } of MISTAKES) {
    it(name, () => {
      const problems = problemsOf(toml);
      assert.equal(problems.length, want.length, problems.join('\n'));
      for (const [i, pattern] of want.entries()) assert.match(problems[i] ?? '', pattern);
    });
  }

  it('that a named file does not exist', async () => {
    const loaded = await loadConfig('/nonexistent/siphon.toml');
    assert.equal(loaded.kind, 'bad');
    assert.equal(
      loaded.problems.map(formatProblem).join(),
      '/nonexistent/siphon.toml: it does not exist',
    );
  });
});

describe('units', () => {
  for (const [text, want] of [
    ['100GiB', 100 * 2 ** 30],
    ['1.5 KiB', 1536],
    ['0B', 0],
    ['1e3B', undefined],
    ['-1B', undefined],
    ['1', undefined],
    ['1GB', undefined],
    [' 1B', undefined],
    ['999999999999TiB', undefined],
  ] as const) {
    it(`size ${JSON.stringify(text)} is ${want}`, () => assert.equal(parseSize(text), want));
  }
  for (const [text, want] of [
    ['250ms', 250],
    ['1.5s', 1500],
    ['2min', 120_000],
    ['1d', 86_400_000],
    ['5', undefined],
    ['5m', undefined],
    ['0x5s', undefined],
  ] as const) {
    it(`duration ${JSON.stringify(text)} is ${want}`, () =>
      assert.equal(parseDuration(text), want));
  }
});

describe('docs/configuration.md', () => {
  it('has each key with its default, and no other', async () => {
    const page = await readFile(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| `([a-z_.A-Z]+)` *\| (.*?) *\|/gm)].map(([, key, value]) => [
      key,
      value,
    ]);
    assert.deepEqual(Object.fromEntries(rows), Object.fromEntries(keysOf(CONFIG_SCHEMA, '')));
  });
});

/** Every leaf of the schema as the page writes it: `cache.limit` and `"100GiB"`, or `-` where there is no default. */
function keysOf(schema: z.ZodType, at: string, fallback?: unknown): [string, string][] {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault) {
    return keysOf(schema.unwrap() as z.ZodType, at, schema.def.defaultValue);
  }
  if (schema instanceof z.ZodExactOptional) return keysOf(schema.unwrap() as z.ZodType, at);
  if (schema instanceof z.ZodRecord) return keysOf(schema.valueType as z.ZodType, `${at}.NAME`);
  if (!(schema instanceof z.ZodObject)) {
    return [[at, fallback === undefined ? '-' : `\`${JSON.stringify(fallback)}\``]];
  }
  return Object.entries(schema.shape).flatMap(([key, each]) =>
    keysOf(each as z.ZodType, at === '' ? key : `${at}.${key}`),
  );
}
