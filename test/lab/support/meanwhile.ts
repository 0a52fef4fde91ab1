// What else goes on in a lab host: commits of the monitors that are somebody else's, and load.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** A Python program that goes on, once it has begun, until it is disposed. */
async function meanwhile(program: string): Promise<AsyncDisposable> {
  const argv = ['-c', `print('begun', flush=True)\n${program}`];
  const child = spawn('python3', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
  return {
    [Symbol.asyncDispose]: async () => {
      assert.equal(child.exitCode, null, 'it ended by itself');
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** Three commits a second that are not of the OSD map. */
export const otherCommits = (): Promise<AsyncDisposable> =>
  meanwhile(`
import json, rados, random, time
c = rados.Rados(conffile='/etc/ceph/ceph.conf'); c.connect()
while True:
    code, _, why = c.mon_command(json.dumps({'prefix': 'config-key set', 'key': 'noise', 'val': str(random.random())}), b'')
    if code != 0: raise RuntimeError(why)
    time.sleep(random.uniform(0.1, 0.5))`);

/** A processor's worth. */
export const load = (): Promise<AsyncDisposable> => meanwhile('while True: pass');
