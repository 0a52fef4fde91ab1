// A running siphond takes up its config: by SIGHUP, by itself, when asked; and the command that checks one without a siphond.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { json } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { StatusAnswer } from '../../../src/wire/api.ts';
import { until } from './support/quiet.ts';
import { folderWithConfig, get, ready, run } from './support/siphond-process.ts';

const CLI = fileURLToPath(import.meta.resolve('../../../src/cli/main.ts'));

type Folder = Awaited<ReturnType<typeof folderWithConfig>>;

const statusOf = async (folder: Folder) =>
  (await json(await get(folder.at('api.sock'), '/v1/status'))) as StatusAnswer;

/** Runs `siphon ARGS…` against this siphond. */
function siphon(folder: Folder, ...args: string[]) {
  const env = { ...process.env, SIPHON_SOCKET: folder.at('api.sock') };
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
    encoding: 'utf8',
    env,
  });
  return { status, stdout, stderr };
}

/** Puts a further file in place whole. */
async function further(folder: Folder, name: string, toml: string): Promise<void> {
  await mkdir(folder.at('conf.d'), { recursive: true });
  await writeFile(folder.at('new'), toml);
  await rename(folder.at('new'), folder.at(`conf.d/${name}`));
}

describe('siphond, running', () => {
  it('takes up a changed config by itself and by SIGHUP: limits, waits, levels, clusters, policies', async () => {
    await using folder = await folderWithConfig('hook.fill_wait = "2s"');
    using child = run(folder.config);
    await ready(child);
    const bound = async () => (await readdir(folder.at('bound'))).join();
    assert.equal(await bound(), '2');
    await mkdir(folder.at('other.d'));
    await writeFile(folder.at('other.d/a.toml'), '[[policy]]\nnom = 1\n');
    await further(
      folder,
      '10.toml',
      `cache.limit = "1GiB"
       hook.fill_wait = "7s"
       log.level = "debug"
       snapshot.policies = "${folder.at('other.d')}"
       clusters.none.default = true
       clusters.more = { conf = "${folder.at('more.conf')}", timeout = "1s" }`,
    );
    await until(async () => (await bound()) === '7');
    const status = await statusOf(folder);
    assert.equal(status.cache.limitBytes, 2 ** 30);
    assert.deepEqual(
      status.clusters.map(({ name }) => name),
      ['none', 'more'],
    );
    await until(async () =>
      (await statusOf(folder)).problems.some(({ where }) =>
        where.startsWith(folder.at('other.d/a.toml')),
      ),
    );
    // The folder that is named now is watched, and SIGHUP works without any change on disk.
    await writeFile(folder.at('other.d/a.toml'), '');
    await until(
      async () =>
        !(await statusOf(folder)).problems.some(({ where }) =>
          where.startsWith(folder.at('other.d')),
        ),
    );
    child.kill('SIGHUP');
    await until(() => child.output().includes('the config is unchanged'));
    await rm(folder.at('conf.d/10.toml'));
    await until(async () => (await bound()) === '2');
    await further(folder, '20.toml', 'hook.fill_wait = "4s"');
    child.kill('SIGHUP');
    await until(async () => (await bound()) === '4');
    await rm(folder.at('conf.d/20.toml'));
    await until(async () => (await bound()) === '2');
    assert.equal((await statusOf(folder)).pid, child.pid);
  });

  it('changes nothing for a config with a mistake, says so, and takes up its correction', async () => {
    await using folder = await folderWithConfig();
    using child = run(folder.config);
    await ready(child);
    const before = await statusOf(folder);
    await further(folder, '10.toml', 'cache.limit = "1GiB"\nlog.level = "loud"\nhook.x = 1');
    child.kill('SIGHUP');
    await until(() => child.output().includes('unknown key; allowed here: fill_wait, spool'));
    const { cache, problems } = await statusOf(folder);
    assert.equal(cache.limitBytes, before.cache.limitBytes);
    const told = problems.filter(({ where }) => where.startsWith(folder.at('conf.d/10.toml')));
    assert.deepEqual(
      told.map(({ where, what }) => [where.split(':')[1], what.split(':')[0]]),
      [
        ['2', 'log.level'],
        ['3', 'hook.x'],
      ],
    );
    const refused = siphon(folder, 'reload');
    assert.equal(refused.status, 2);
    assert.match(refused.stderr, /10\.toml:2: log\.level: .*\n.*10\.toml:3: hook\.x: /);
    await further(folder, '10.toml', 'cache.limit = "1GiB"');
    await until(async () => (await statusOf(folder)).cache.limitBytes === 2 ** 30);
    assert.deepEqual((await statusOf(folder)).problems, before.problems);
  });

  it('keeps what a restart takes, and says so until there was one', async () => {
    await using folder = await folderWithConfig();
    using child = run(folder.config);
    await ready(child);
    await further(
      folder,
      '10.toml',
      `cache.limit = "1GiB"\nstate.path = "${folder.at('other.db')}"`,
    );
    // siphond's own watch may come first.
    const reloaded = siphon(folder, 'reload');
    assert.deepEqual([reloaded.status, reloaded.stderr], [0, '']);
    assert.match(
      reloaded.stdout,
      /^(Applied: cache\.limit|Nothing to apply)\.\nWaits for .*restart siphond`: state\.path\.\n$/,
    );
    const waits = async () =>
      (await statusOf(folder)).problems.some(({ what }) => /state\.path has changed/.test(what));
    assert.ok(await waits());
    assert.equal((await statusOf(folder)).cache.limitBytes, 2 ** 30);
    assert.ok(!(await readdir(folder.at('.'))).includes('other.db'));
    assert.match(siphon(folder, 'reload', '--json').stdout, /"applied": \[\]/);
    await further(folder, '10.toml', 'cache.limit = "1GiB"');
    await until(async () => !(await waits()));
  });
});

describe('siphon config check', () => {
  it('needs no siphond, and tells every mistake of every file', async () => {
    await using folder = await folderWithConfig();
    const good = siphon(folder, 'config', 'check', folder.config);
    assert.deepEqual(good, { status: 0, stdout: `${folder.config}: ok\n`, stderr: '' });
    await further(folder, '10.toml', 'x = 1\n\ncache.limit = 1');
    await further(folder, '20.toml', '[hook]\nfill_wait = "11s"');
    const bad = siphon(folder, 'config', 'check', folder.config);
    assert.deepEqual([bad.status, bad.stdout], [2, '']);
    assert.deepEqual(
      bad.stderr
        .trim()
        .split('\n')
        .map((line) => line.split(': ', 2)),
      [
        [folder.at('conf.d/10.toml:1'), 'x'],
        [folder.at('conf.d/10.toml:3'), 'cache.limit'],
        [folder.at('conf.d/20.toml:2'), 'hook.fill_wait'],
      ],
    );
    const told = siphon(folder, 'config', 'check', folder.config, '--json');
    assert.equal(told.status, 2);
    const { file, problems } = JSON.parse(told.stdout) as { file: string; problems: object[] };
    assert.deepEqual([file, problems.length], [folder.config, 3]);
    assert.deepEqual(Object.keys(problems[0] ?? {}), ['file', 'line', 'key', 'what']);
    const absent = siphon(folder, 'config', 'check', folder.at('absent.toml'));
    assert.deepEqual(
      [absent.status, absent.stderr.split('\n')[0]],
      [2, `${folder.at('absent.toml')}: it does not exist`],
    );
  });
});
