// A reload: all or nothing, one at a time, and told.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Config, parseConfig } from '../../../src/sidecar/config/load.ts';
import { createReload } from '../../../src/sidecar/reload.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { keptLog } from './support/quiet.ts';

function setUp(first = '') {
  const state = { toml: first, failure: undefined as OperatingError | undefined };
  const read = () => parseConfig([{ file: '/e/siphon.toml', text: state.toml }]);
  const loaded = read();
  assert.equal(loaded.kind, 'config');
  const { log, lines } = keptLog();
  const applied: Config[] = [];
  const reload = createReload({
    file: '/e/siphon.toml',
    load: async () => read(),
    checked: loaded.checked,
    apply: async (config) => {
      if (state.failure !== undefined) throw state.failure;
      applied.push(config);
    },
    log,
  });
  let taken = 0;
  reload.onTaken(() => (taken += 1));
  return { state, reload, applied, lines, taken: () => taken };
}

describe('a reload', () => {
  it('applies what can be, keeps what waits for a restart, and says it until it is taken back', async () => {
    const { state, reload, applied } = setUp();
    state.toml = 'cache.limit = "1GiB"\nstate.path = "/other"';
    const answer = { applied: ['cache.limit'], needsRestart: ['state.path'] };
    assert.deepEqual(await reload.run(), answer);
    assert.equal(applied[0]?.cache.limitBytes, 2 ** 30);
    assert.equal(applied[0]?.state.path, '/var/lib/siphon/siphon.db');
    const [problem] = reload.problems;
    assert.equal(problem?.where, '/e/siphon.toml');
    assert.match(problem.what, /state\.path has changed.*systemctl restart siphond/);
    assert.deepEqual(await reload.run(), { applied: [], needsRestart: ['state.path'] });
    assert.equal(applied.length, 1);
    state.toml = 'cache.limit = "1GiB"';
    await reload.run();
    assert.deepEqual(reload.problems, []);
    assert.equal(applied.length, 1);
  });

  it('changes nothing where anything is wrong, and tells each mistake until it is corrected', async () => {
    const { state, reload, applied, lines, taken } = setUp();
    state.toml = 'cache.limit = "1GiB"\nlog.level = "loud"\nhook.x = 1';
    const refused = { code: 'usage', message: /siphon\.toml:2: log\.level.*\n.*:3: hook\.x/ };
    await assert.rejects(reload.run(), refused);
    assert.deepEqual([applied.length, taken()], [0, 0]);
    assert.deepEqual(
      reload.problems.map(({ where }) => where),
      ['/e/siphon.toml', '/e/siphon.toml:2', '/e/siphon.toml:3'],
    );
    const errors = lines.filter((line) => line.startsWith('<3>'));
    assert.equal(errors.length, 2);
    assert.match(errors.join(), /siphon\.toml:2: log\.level: must be/);
    state.toml = 'cache.limit = "1GiB"';
    await reload.run();
    assert.deepEqual([reload.problems, applied.length, taken()], [[], 1, 1]);
  });

  it('that cannot be applied is not in force, and is tried as a whole again', async () => {
    const { state, reload, applied } = setUp();
    state.toml = 'cache.limit = "1GiB"';
    state.failure = new OperatingError({ code: 'exhausted', op: 'x', subject: 'y' });
    await assert.rejects(reload.run(), { code: 'exhausted' });
    state.failure = undefined;
    assert.deepEqual((await reload.run()).applied, ['cache.limit']);
    assert.equal(applied.length, 1);
  });

  it('comes after the one that runs, and sees what was written meanwhile', async () => {
    const { state, reload, applied } = setUp();
    state.toml = 'cache.limit = "1GiB"';
    const first = reload.run();
    const second = reload.run();
    await first;
    state.toml = 'cache.limit = "2GiB"';
    await Promise.all([second, reload.run()]);
    assert.equal(applied.at(-1)?.cache.limitBytes, 2 * 2 ** 30);
  });
});
