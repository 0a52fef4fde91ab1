// The API on its socket: one face of errors, strict bodies, watched jobs, and a slow request that holds up no other.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { ERROR_TABLE, type ErrorCode, OperatingError } from '../../../src/wire/errors.ts';
import { until } from './support/quiet.ts';
import { serveFakes } from './support/served.ts';

const SHA256 = 'ab'.repeat(32);

describe('errors', () => {
  for (const [code, { http }] of Object.entries(ERROR_TABLE)) {
    it(`${code} is ${http}, with all that is known`, async () => {
      const error = { code: code as ErrorCode, op: 'warm', subject: 'x', why: 'so', hint: 'Do.' };
      await using served = await serveFakes(() => ({
        warm: () => Promise.reject(new OperatingError(error)),
      }));
      const answer = await served.json('/v1/warm', { body: { source: 'x' } });
      assert.deepEqual(answer, { status: http, body: { error } });
    });
  }

  const WRONG: readonly [name: string, path: string, body: string | object, why: RegExp][] = [
    ['no source', '/v1/warm', {}, /source/],
    ['a key too many', '/v1/warm', { source: 'x', sha265: SHA256 }, /sha265/],
    ['a digest of the wrong length', '/v1/warm', { source: 'x', sha256: 'ab' }, /64 hex digits/],
    [
      'a property that is none of ours',
      '/v1/warm',
      { source: 'x', properties: { a: '1' } },
      /properties/,
    ],
    [
      'a status that Glance has not',
      '/v1/describe',
      { source: 'x', change: { status: 'Deactivated' } },
      /status/,
    ],
    ['a number for a source', '/v1/warm', { source: 5 }, /source/],
    ['a source over 4096', '/v1/warm', { source: 'x'.repeat(4097) }, /source/],
    ['a manifest that is no text', '/v1/manifest', { source: 'x', envelope: {} }, /envelope/],
    [
      'a manifest over 16 MiB',
      '/v1/manifest',
      { source: 'x', envelope: 'x'.repeat(2 ** 24 + 1) },
      /envelope/,
    ],
    ['dryRun left out', '/v1/evict', {}, /dryRun/],
    ['no base in a list of bases', '/v1/scrub', { bases: [] }, /bases/],
    [
      'two ways to restore',
      '/v1/restores',
      { set: 's', rollback: true, as: 'x' },
      /one of them at most/,
    ],
    ['a clone to nowhere', '/v1/restores', { set: 's', clone: 'vda' }, /clone goes with to/],
    ['a new domain of no name', '/v1/restores', { set: 's', as: '../x' }, /letters, digits/],
    ['a body over 1 MiB', '/v1/warm', { source: 'x'.repeat(2 ** 20) }, /too large/],
  ];
  for (const [name, path, body, why] of WRONG) {
    it(`a request with ${name} is usage`, async () => {
      await using served = await serveFakes(() => ({}));
      const { status, body: told } = await served.json(path, { body });
      const { error } = told as { error: { code: string; why: string } };
      assert.deepEqual([status, error.code], [400, 'usage']);
      assert.match(error.why, why);
      assert.deepEqual(served.defects, []);
    });
  }

  it('what is not JSON is usage', async () => {
    await using served = await serveFakes(() => ({}));
    const { status } = await served.json('/v1/pin', { body: '{', method: 'POST' });
    assert.equal(status, 400);
  });

  it('a defect is told as one, to the caller and to the process', async () => {
    const error = new TypeError('undefined is not a function');
    await using served = await serveFakes(() => ({
      status: () => {
        throw error;
      },
    }));
    const { status } = await served.json('/v1/status');
    assert.equal(status, 503);
    assert.deepEqual(served.defects, [error]);
  });

  it('a path that is none is not found', async () => {
    await using served = await serveFakes(() => ({}));
    const { status, body } = await served.json('/v1/nothing?x=1');
    assert.deepEqual(
      [status, body],
      [404, { error: { code: 'not-found', op: 'find route', subject: 'GET /v1/nothing' } }],
    );
  });
});

describe('long work', () => {
  it('is told from its job line to its result', async () => {
    await using served = await serveFakes((journal) => ({
      async warm({ source }) {
        const job = journal.begin('fill', source, {});
        setImmediate(() => {
          job.progress({ doneBytes: 1, totalBytes: 2 });
          job.done({ id: 'base' });
        });
        return { kind: 'job', id: job.id };
      },
    }));
    const lines = await served.lines('/v1/warm', {
      body: { source: 'rbd:a/b@c', sha256: SHA256.toUpperCase() },
    });
    assert.deepEqual(
      lines.map((line) => line.kind),
      ['job', 'progress', 'done'],
    );
    assert.deepEqual(lines.at(-1), { kind: 'done', result: { id: 'base' } });
  });

  it('is one line where nobody waits', async () => {
    await using served = await serveFakes((journal) => ({
      warm: async () => ({ kind: 'job', id: journal.begin('fill', 'x', {}).id }),
    }));
    const lines = await served.lines('/v1/warm', { body: { source: 'x', wait: false } });
    assert.deepEqual(
      lines.map((line) => line.kind),
      ['job'],
    );
  });

  it('is a scrub, with the audit of what it is of', async () => {
    await using served = await serveFakes((journal) => ({
      async scrub(request) {
        assert.deepEqual(request, { bases: ['a', 'b'], isReportOnly: true });
        const job = journal.begin('scrub', '2 bases', {});
        setImmediate(() => job.done({ bases: [] }));
        return { kind: 'job', id: job.id };
      },
    }));
    const body = { bases: ['a', 'b'], isReportOnly: true };
    const lines = await served.lines('/v1/scrub', { body });
    assert.deepEqual(lines.at(-1), { kind: 'done', result: { bases: [] } });
  });

  it('that is done already is its result', async () => {
    await using served = await serveFakes(() => ({
      warm: async () => ({ kind: 'done', result: 7 }),
    }));
    assert.deepEqual(await served.lines('/v1/warm', { body: { source: 'x' } }), [
      { kind: 'done', result: 7 },
    ]);
  });

  it('says within 3 s that it lives, also before its job has begun', async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    await using served = await serveFakes(() => ({ warm: () => promise }));
    const answer = await served.send('/v1/warm', {
      body: { source: 'x' },
      signal: AbortSignal.timeout(3000),
    });
    assert.equal(answer.statusCode, 200);
    reject(new OperatingError({ code: 'not-found', op: 'warm', subject: 'x' }));
    const chunks: Buffer[] = [];
    for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk);
    assert.match(Buffer.concat(chunks).toString(), /"kind":"failed".*"not-found"/);
  });

  it('goes on when its watcher leaves', async () => {
    await using served = await serveFakes(() => ({}));
    const job = served.journal.begin('fill', 'x', {});
    const leaving = new AbortController();
    const answer = await served.send(`/v1/jobs/${job.id}/watch`, { signal: leaving.signal });
    await once(answer, 'data');
    answer.on('error', () => undefined);
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    answer.on('close', resolve);
    leaving.abort();
    await closed;
    const again = served.lines(`/v1/jobs/${job.id}/watch`);
    assert.equal(job.signal.aborted, false);
    setImmediate(() => job.done());
    assert.equal((await again).at(-1)?.kind, 'done');
  });

  it('never loses its end to a thousand lines of progress', async () => {
    await using served = await serveFakes(() => ({}));
    const job = served.journal.begin('fill', 'x', {});
    const lines = served.lines(`/v1/jobs/${job.id}/watch`);
    await until(() => served.logged.length > 0);
    setTimeout(() => {
      for (let i = 0; i < 1000; i += 1) job.progress({ doneBytes: i, totalBytes: 1000 });
      job.done();
    }, 20);
    const told = await lines;
    assert.equal(told.at(-1)?.kind, 'done');
    assert.ok(told.length < 20, `${told.length} lines`);
  });

  it('holds up no other request', async () => {
    const { promise: never } = Promise.withResolvers<never>();
    await using served = await serveFakes(() => ({
      path: () => never,
      listBases: () => ({ bases: [] }),
    }));
    const leaving = new AbortController();
    const slow = served.send('/v1/path?source=x', { signal: leaving.signal });
    assert.deepEqual((await served.json('/v1/bases')).body, { bases: [] });
    leaving.abort();
    await assert.rejects(slow, { name: 'AbortError' });
  });
});

describe('jobs', () => {
  it('are listed with their progress, shown, and cancelled', async () => {
    await using served = await serveFakes(() => ({}));
    const job = served.journal.begin('fill', 'x', { a: 1 });
    job.progress({ doneBytes: 1, totalBytes: 2 });
    const { body } = await served.json('/v1/jobs?limit=5');
    const [listed] = (body as { jobs: { id: string; progress: unknown }[] }).jobs;
    assert.deepEqual([listed?.id, listed?.progress], [job.id, { doneBytes: 1, totalBytes: 2 }]);
    assert.equal((await served.json(`/v1/jobs/${job.id}`)).status, 200);
    assert.equal((await served.json(`/v1/jobs/${job.id}/cancel`, { method: 'POST' })).status, 200);
    assert.equal(job.signal.aborted, true);
    assert.equal((await served.json('/v1/jobs/none')).status, 404);
    assert.equal((await served.json('/v1/jobs/none/watch')).status, 404);
    assert.equal((await served.json('/v1/jobs?limit=0')).status, 400);
  });
});

describe('a stop', () => {
  it('ends watches and lets the sockets go within its bound', async () => {
    const served = await serveFakes(() => ({}));
    const job = served.journal.begin('fill', 'x', {});
    const answer = await served.send(`/v1/jobs/${job.id}/watch`);
    answer.on('error', () => undefined).resume();
    const startMs = performance.now();
    await served.stop();
    assert.ok(performance.now() - startMs < 3000);
    await assert.rejects(served.send('/v1/jobs'), { code: 'ENOENT' });
  });
});
