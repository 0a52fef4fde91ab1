// The socket for reading: all that reads, the metrics, and nothing that changes anything.

import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { serveFakes } from './support/served.ts';

const READ = { socket: 'read' } as const;

describe('the socket for reading', () => {
  it('answers what the other does', async () => {
    await using served = await serveFakes((journal) => {
      journal.begin('fill', 'x', {});
      return {
        listBases: () => ({ bases: [] }),
        path: (source) => Promise.resolve({ path: source } as never),
      };
    });
    for (const path of ['/v1/bases', '/v1/jobs', '/v1/path?source=x']) {
      const told = await served.json(path, READ);
      assert.equal(told.status, 200);
      assert.deepEqual(told, await served.json(path));
    }
  });

  it('gives the metrics with their content type', async () => {
    const metrics = {
      text: 'siphon_x 1\n',
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
    };
    await using served = await serveFakes(() => ({ metrics: () => Promise.resolve(metrics) }));
    const answer = await served.send('/metrics', READ);
    assert.equal(answer.headers['content-type'], metrics.contentType);
    assert.equal(await text(answer), metrics.text);
  });

  it('changes nothing: every other method is denied', async () => {
    await using served = await serveFakes(() => ({}));
    const changes = [
      ['POST', '/v1/warm'],
      ['POST', '/v1/evict'],
      ['POST', '/v1/pause'],
      ['POST', '/v1/snapshots'],
      ['DELETE', '/v1/snapshots/x'],
      ['POST', '/v1/snapshots/x/protect'],
      ['POST', '/v1/prune'],
      ['POST', '/v1/jobs/x/cancel'],
    ] as const;
    for (const [method, path] of changes) {
      const body = method === 'POST' ? { body: { dryRun: true } } : {};
      const told = await served.json(path, { ...READ, method, ...body });
      const { error } = told.body as { error: { code: string; hint: string } };
      assert.deepEqual([told.status, error.code], [403, 'denied'], path);
      assert.match(error.hint, /api\.socket/);
    }
    assert.deepEqual(served.defects, []);
    assert.equal((await served.json('/v1/nothing', READ)).status, 404);
  });

  it('shares no place with the hook: its routes are not there', async () => {
    await using served = await serveFakes(() => ({}));
    assert.equal((await served.json('/v1/hook/ready', READ)).status, 404);
    assert.equal((await served.json('/metrics', { socket: 'hook' })).status, 404);
  });
});
