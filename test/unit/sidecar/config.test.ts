// The config: defaults, and every kind of mistake told with its line, its key and what is allowed.

import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { missingTables, withTables } from '../../../scripts/config-reference.ts';
import { CONFIG_KEYS } from '../../../src/sidecar/config/keys.ts';
import { loadConfig, parseConfig } from '../../../src/sidecar/config/load.ts';
import { formatProblem } from '../../../src/sidecar/config/problems.ts';
import { parseDuration, parseSize } from '../../../src/wire/units.ts';
import { temporaryFolder } from './support/quiet.ts';

/** The files siphon.toml, a.toml, b.toml. */
const texts = (tomls: readonly string[]) =>
  tomls.map((text, i) => ({ file: ['siphon.toml', 'a.toml', 'b.toml'][i] ?? '', text }));

function configOf(...tomls: string[]) {
  const loaded = parseConfig(texts(tomls));
  assert.equal(loaded.kind, 'config', JSON.stringify(loaded));
  return loaded.config;
}

function problemsOf(...tomls: string[]): string[] {
  const loaded = parseConfig(texts(tomls));
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
      tickPool: 'siphon',
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
      restore = "restorer"
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
    assert.equal(west?.settings.users.restore?.name, 'restorer');
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
    want: [/:3: api\.hook_socket: must be another path than those of the API's other sockets/],
  },
  {
    name: 'a socket over 107 bytes',
    toml: `api.socket = "/${'a'.repeat(107)}"`,
    want: [/:1: api\.socket: must be .*107 bytes/],
  },
  {
    name: 'a trust rule that asks for nothing that there is',
    toml: '[[trust.rules]]\nrequire = "none"\n[[trust.rules]]\npools = ["a"]\nrequire = "hope"',
    want: [/:5: trust\.rules\.1\.require: must be one of signature, manifest, digest, none, or/],
  },
  {
    name: 'a trust rule that asks for nothing, and says more than it may',
    toml: '[[trust.rules]]\npool = "a"\n[[trust.rules]]\nrequire = []\nformats = ["vmdk"]',
    want: [
      /:1: trust\.rules\.0\.require: must be one of signature/,
      /:2: trust\.rules\.0\.pool: unknown key; allowed here: pools, images, require, formats/,
      /:4: trust\.rules\.1\.require: must be/,
      /:5: trust\.rules\.1\.formats\S*: must be a list of some of "raw", "qcow2"/,
    ],
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

describe('trust rules', () => {
  it('are read in their order, with what is left out', () => {
    const toml = `[[trust.rules]]\npools = ["gold*"]\nrequire = ["signature", "manifest"]
[[trust.rules]]\nrequire = "none"\nformats = ["qcow2"]\nallow_foreign_raw = true`;
    const loaded = parseConfig([{ file: 'siphon.toml', text: toml }]);
    assert.equal(loaded.kind, 'config', JSON.stringify(loaded));
    const both = ['raw', 'qcow2'];
    assert.deepEqual(loaded.config.trust.rules, [
      {
        pools: ['gold*'],
        images: [],
        require: ['signature', 'manifest'],
        formats: both,
        allowForeignRaw: false,
      },
      { pools: [], images: [], require: ['none'], formats: ['qcow2'], allowForeignRaw: true },
    ]);
  });
});

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

describe('several files', () => {
  it('are merged key by key, and the later wins', () => {
    const { cache, clusters, hook } = configOf(
      '[cache]\nlimit = "1GiB"\nreserve = "2GiB"\n[clusters.a]\nuser = { name = "x", keyring = "/x" }\ntimeout = "2s"',
      '[cache]\nlimit = "3GiB"\n[clusters.a]\nuser = { name = "y" }\n[clusters.b]\ndefault = true',
      'cache.limit = "4GiB"\nhook.fill_wait = "1s"',
    );
    assert.deepEqual([cache.limitBytes, cache.reserveBytes], [4 * 2 ** 30, 2 * 2 ** 30]);
    assert.equal(hook.fillWaitMs, 1000);
    assert.deepEqual(
      clusters.map(({ name, isDefault, settings }) => [name, isDefault, settings.timeoutMs]),
      [
        ['a', false, 2000],
        ['b', true, 5000],
      ],
    );
    // One value: the keyring of another user is not kept.
    assert.deepEqual(clusters[0]?.settings.users.fill, { name: 'y' });
  });

  it('are each told their own mistakes, with their own lines, also what a later one would hide', () => {
    assert.deepEqual(
      problemsOf('[cache]\nlimit = 1', '\n\nx = 1\n[cache]\nlimit = "1GiB"', 'a = [').map(
        (problem) => problem.split(': ').slice(0, 2).join(': '),
      ),
      ['siphon.toml:2: cache.limit', 'a.toml:3: x', 'b.toml:1: Invalid TOML document'],
    );
  });

  it('are told what is wrong between them at the file that decides', () => {
    assert.deepEqual(
      problemsOf(
        '[clusters.a]\ndefault = true',
        '[clusters.b]\n[clusters.c]\ndefault = false',
        '\n[clusters.b]\n\ndefault = true',
      ).map((problem) => problem.split(': ', 2).join(': ')),
      ['b.toml:4: clusters.b.default'],
    );
    assert.match(
      problemsOf('', '[cache]\npath = "/a"', '[cache]\n\nmount = "/a"').join(),
      /^b\.toml:3: cache\.mount: must be another path/,
    );
  });

  it('are read in the order of their names from the conf.d beside the first', async () => {
    await using folder = await temporaryFolder();
    const at = (name: string) => join(folder.path, name);
    await mkdir(at('conf.d'));
    await writeFile(at('siphon.toml'), 'cache.limit = "1GiB"');
    await writeFile(at('conf.d/10.toml'), 'cache.limit = "2GiB"');
    await writeFile(at('conf.d/9.toml'), 'cache.limit = "3GiB"');
    for (const name of ['99.conf', '.99.toml', '99.toml~'])
      await writeFile(at(`conf.d/${name}`), 'x');
    const loaded = await loadConfig(at('siphon.toml'));
    assert.equal(loaded.kind === 'config' && loaded.config.cache.limitBytes, 3 * 2 ** 30);
    await mkdir(at('conf.d/folder.toml'));
    await writeFile(at('conf.d/10.toml'), 'x = 1');
    const bad = await loadConfig(at('siphon.toml'));
    assert.deepEqual(bad.kind === 'bad' && bad.problems.map(({ file, line }) => [file, line]), [
      [at('conf.d/folder.toml'), undefined],
      [at('conf.d/10.toml'), 1],
    ]);
  });

  it('may call a cluster what every object has', () => {
    assert.equal(configOf('[clusters.constructor]').clusters[0]?.name, 'constructor');
    assert.match(problemsOf('["__proto__"]\nx = 1').join(), /unknown key/);
    assert.match(problemsOf('["constructor"]\nx = 1').join(), /unknown key/);
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
  const read = () => readFile(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');

  it('is up to date: node scripts/config-reference.ts', async () => {
    const page = await read();
    assert.equal(page, withTables(page));
    assert.deepEqual(missingTables(page), []);
    const keys = [...page.matchAll(/^\| `([a-z_.A-Z]+)` /gm)].map(([, key]) => key);
    assert.deepEqual(new Set(keys), new Set(CONFIG_KEYS.map(({ key }) => key)));
  });

  it('has for each key what is allowed and what it means', () => {
    for (const { key, allowed, description } of CONFIG_KEYS)
      assert.ok(allowed && description, `${key}: ${allowed}, ${description}`);
  });

  it('has examples that are right, and so is the installed default', async () => {
    const examples = [...(await read()).matchAll(/```toml\n([\s\S]*?)```/g)].map(
      ([, toml]) => toml,
    );
    assert.ok(examples.length > 1);
    const installed = new URL('../../../scripts/siphon.toml', import.meta.url);
    for (const toml of [...examples, await readFile(installed, 'utf8')]) configOf(toml ?? '');
  });
});
