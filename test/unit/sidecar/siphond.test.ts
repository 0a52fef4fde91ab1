// The whole of siphond as a process, on a host without Ceph and without libvirt: it is ready all the same, and it stops.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { json, text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import Database from 'better-sqlite3';
import type { StatusAnswer } from '../../../src/wire/api.ts';
import { ERROR_TABLE } from '../../../src/wire/errors.ts';
import type { FromWorker, ToWorker } from '../../../src/wire/worker-protocol.ts';
import { openChannel } from '../../../src/worker/channel.ts';
import { breachesOf, parseExposition, valueOf } from '../../support/exposition.ts';
import { until } from './support/quiet.ts';
import { exitOf, folderWithConfig, get, MAIN, ready, run } from './support/siphond-process.ts';

describe('siphond', () => {
  it('serves, catches up with its spool, allows starts, and stops, with neither Ceph nor libvirt', async () => {
    await using folder = await folderWithConfig();
    await mkdir(folder.at('spool'));
    const xml = '<domain><name>g</name><uuid>0b3f3c3e-6a39-4f5c-9d0e-6f3c8f1d2a11</uuid></domain>';
    await writeFile(folder.at('spool/1700000000000000001-9-release.end.shutdown.xml'), xml);
    using child = run(folder.config);
    await ready(child);
    assert.deepEqual(await readdir(folder.at('spool')), []);
    const status = (await json(await get(folder.at('api.sock'), '/v1/status'))) as StatusAnswer;
    assert.equal(status.clusters[0]?.state, 'unavailable');
    assert.equal(status.libvirt.state, 'unavailable');
    assert.deepEqual(
      status.problems.map(({ where }) => where),
      [folder.at('bases')],
    );
    const at = '/v1/hook/prepare?subop=begin&extra=none&pid=1';
    assert.match(await text(await get(folder.at('hook.sock'), at, xml)), /^ +allow\n$/);
    const scraped = parseExposition(await text(await get(folder.at('read.sock'), '/metrics')));
    assert.deepEqual(breachesOf(scraped), []);
    assert.equal(valueOf(scraped, 'siphon_cluster_connected', { cluster: 'none' }), 0);
    const hooked = { operation: 'prepare', verdict: 'allow' };
    assert.equal(valueOf(scraped, 'siphon_hook_duration_seconds_count', hooked), 1);
    // A policy with a mistake is a problem as soon as it is there.
    await writeFile(folder.at('policies.d/a.toml'), '[[policy]]\nnom = 1\n');
    await until(async () => {
      const now = (await json(await get(folder.at('api.sock'), '/v1/status'))) as StatusAnswer;
      return now.problems.some(({ where }) => where.startsWith(folder.at('policies.d/a.toml')));
    });
    const stoppedAtMs = performance.now();
    child.kill('SIGTERM');
    assert.equal(await exitOf(child), 0, child.output());
    assert.ok(performance.now() - stoppedAtMs < 10_000);
    assert.deepEqual(
      (await readdir(folder.at('.'))).filter((name) => name.endsWith('.sock')),
      [],
    );
  });

  it('lets guests go that an earlier life has left held, however soon libvirt is there', async () => {
    await using folder = await folderWithConfig();
    const domain = '0b3f3c3e-6a39-4f5c-9d0e-6f3c8f1d2a11';
    const released = Promise.withResolvers<unknown>();
    const worker = createServer((stream) => {
      const channel = openChannel<FromWorker>(stream, {
        closed: () => undefined,
        message(message) {
          const asked = message as ToWorker;
          if (asked.kind === 'init') {
            channel.send({ kind: 'ready' });
            channel.send({ kind: 'event', event: { what: 'connected' } });
          }
          if (asked.kind !== 'call') return;
          if (asked.method === 'release') released.resolve(asked.params);
          const result = ['listHeld', 'listDomains'].includes(asked.method) ? [] : null;
          const held = asked.method === 'listHeld' ? [{ domain }] : result;
          channel.send({ kind: 'result', id: asked.id, result: held });
        },
      });
    });
    const socket = folder.at('libvirt.sock');
    await once(worker.listen(socket), 'listening');
    using _ = { [Symbol.dispose]: () => void worker.close() };
    using child = run(folder.config, { SIPHON_LIBVIRT_WORKER: socket });
    await ready(child);
    const late = AbortSignal.timeout(10_000);
    late.addEventListener('abort', () => released.reject(new Error(child.output())));
    assert.deepEqual(await released.promise, { domain });
  });

  it('does not start beside another, nor with a config that is wrong, and says why', async () => {
    await using folder = await folderWithConfig();
    using first = run(folder.config);
    await ready(first);
    using second = run(folder.config);
    assert.equal(await exitOf(second), 6, second.output());
    assert.match(second.output(), /another siphond has it/);
    await using bad = await folderWithConfig('hook.fill_wate = "5s"');
    using third = run(bad.config);
    assert.equal(await exitOf(third), 2);
    assert.match(
      third.output(),
      /siphon\.toml:\d+: hook\.fill_wate: unknown key; allowed here: fill_wait, spool/,
    );
  });

  it('checks a config, and starts nothing', async () => {
    await using folder = await folderWithConfig();
    const check = (file: string) =>
      spawnSync(process.execPath, [MAIN, '--check-config', file], { encoding: 'utf8' });
    const good = check(folder.config);
    assert.deepEqual([good.status, good.stdout], [0, `${folder.config}: ok\n`]);
    await writeFile(folder.config, '[cache]\nlimit = 1\n[log]\nlevel = 1\n');
    const wrong = check(folder.config);
    assert.equal(wrong.status, 2);
    assert.equal(wrong.stderr.trim().split('\n').length, 2);
    assert.deepEqual((await readdir(folder.at('.'))).toSorted(), ['policies.d', 'siphon.toml']);
  });

  it('refuses the catalogue of a newer siphon in words, and leaves it as it is', async () => {
    await using folder = await folderWithConfig();
    const db = new Database(folder.at('siphon.db'));
    db.pragma('user_version = 9000');
    db.exec('CREATE TABLE of_the_future (x)');
    db.close();
    using child = run(folder.config);
    assert.equal(await exitOf(child), ERROR_TABLE.mismatch.exit, child.output());
    assert.match(child.output(), /its schema is version 9000, and this siphon knows up to \d+/);
    assert.match(child.output(), /A newer siphon wrote it: install that one again/);
    const left = new Database(folder.at('siphon.db'), { readonly: true });
    const tables = left.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck();
    assert.deepEqual(
      [left.pragma('user_version', { simple: true }), tables.all()],
      [9000, ['of_the_future']],
    );
    left.close();
  });
});
