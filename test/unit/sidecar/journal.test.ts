// The journal over the real catalogue: durable steps, one end a job, and a stop that leaves jobs open.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openCatalogue } from '../../../src/cache/catalogue/open.ts';
import { createJournal } from '../../../src/sidecar/journal.ts';
import type { JobLine } from '../../../src/wire/api.ts';
import type { OperatingError } from '../../../src/wire/errors.ts';
import { keptLog, temporaryFolder } from './support/quiet.ts';

async function open() {
  const folder = await temporaryFolder();
  const file = join(folder.path, 'siphon.db');
  const catalogue = openCatalogue(file);
  let nowMs = 1000;
  const { log, lines } = keptLog();
  const ends: [subject: string, state: string, readBytes: number][] = [];
  const journal = createJournal({
    rows: catalogue.jobs,
    log,
    now: () => (nowMs += 1),
    onEnd: ({ subject, state }, readBytes) => ends.push([subject, state, readBytes]),
  });
  return {
    journal,
    file,
    logged: lines,
    ends,
    close: () => catalogue[Symbol.dispose](),
    async [Symbol.asyncDispose]() {
      catalogue[Symbol.dispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function linesOf(journal: ReturnType<typeof createJournal>, id: string): JobLine[] {
  const told: JobLine[] = [];
  journal.watch(id, (line) => told.push(line));
  return told;
}

const cancelled = { code: 'cancelled', op: 'fill', subject: 'x', why: 'asked' } as const;

describe('the journal', () => {
  it('keeps each step through the end of its process', async () => {
    await using at = await open();
    // A process that is killed, with no chance to close anything.
    const program = `
      import { openCatalogue } from '${import.meta.resolve('../../../src/cache/catalogue/open.ts')}';
      import { createJournal } from '${import.meta.resolve('../../../src/sidecar/journal.ts')}';
      import { createLog } from '${import.meta.resolve('../../../src/sidecar/log.ts')}';
      const rows = openCatalogue(process.argv[1]).jobs;
      const job = createJournal({ rows, log: createLog('error') }).begin('fill', 'rbd:a/b@c', { at: 0 });
      job.step('rename', { at: 1 });
      process.kill(process.pid, 'SIGKILL');`;
    const file = `${at.file}.killed`;
    const ran = spawnSync(process.execPath, ['--input-type=module', '-e', program, file]);
    assert.equal(ran.signal, 'SIGKILL', ran.stderr.toString());
    using catalogue = openCatalogue(file);
    const journal = createJournal({ rows: catalogue.jobs, log: keptLog().log });
    const [record, ...more] = journal.open();
    assert.equal(more.length, 0);
    assert.deepEqual([record?.state, record?.step, record?.data], ['open', 'rename', { at: 1 }]);
    journal.resume(record?.id ?? '').done({ ok: true });
    assert.deepEqual(journal.open(), []);
    assert.deepEqual(journal.get(record?.id ?? '')?.result, { ok: true });
  });

  it('tells a watcher the job, its progress and its end, and one that comes late the end alone', async () => {
    await using at = await open();
    const job = at.journal.begin('fill', 'rbd:a/b@c', {});
    job.progress({ doneBytes: 1, totalBytes: 9 });
    const told = linesOf(at.journal, job.id);
    job.progress({ doneBytes: 5, totalBytes: 9 });
    job.done('base');
    const first = { kind: 'job', id: job.id, subject: 'rbd:a/b@c' };
    assert.deepEqual(told, [
      first,
      { kind: 'progress', progress: { doneBytes: 1, totalBytes: 9 } },
      { kind: 'progress', progress: { doneBytes: 5, totalBytes: 9 } },
      { kind: 'done', result: 'base' },
    ]);
    assert.deepEqual(linesOf(at.journal, job.id), [first, { kind: 'done', result: 'base' }]);
    assert.equal(at.journal.progressOf(job.id), undefined);
  });

  it('tells nothing to a watcher that left', async () => {
    await using at = await open();
    const job = at.journal.begin('fill', 'x', {});
    const told: JobLine[] = [];
    at.journal.watch(job.id, (line) => told.push(line))[Symbol.dispose]();
    job.done();
    assert.deepEqual(
      told.map((line) => line.kind),
      ['job'],
    );
  });

  it('ends a cancelled job as cancelled, a failed one as failed', async () => {
    await using at = await open();
    const job = at.journal.begin('fill', 'x', {});
    assert.equal(job.signal.aborted, false);
    at.journal.cancel(job.id);
    assert.equal((job.signal.reason as OperatingError).code, 'cancelled');
    job.failed(cancelled);
    assert.equal(at.journal.get(job.id)?.state, 'cancelled');
    assert.equal(at.journal.get(job.id)?.error?.why, 'an operator cancelled it');
    const other = at.journal.begin('fill', 'y', {});
    other.failed({ ...cancelled, code: 'corrupt' });
    assert.equal(at.journal.get(other.id)?.state, 'failed');
  });

  it('refuses to cancel what has ended, and does not find what never was', async () => {
    await using at = await open();
    const job = at.journal.begin('fill', 'x', {});
    job.done();
    assert.throws(() => at.journal.cancel(job.id), { code: 'refused' });
    assert.throws(() => at.journal.cancel('none'), { code: 'not-found' });
    assert.throws(() => at.journal.watch('none', () => undefined), { code: 'not-found' });
  });

  it('lets a job end once', async () => {
    await using at = await open();
    const job = at.journal.begin('fill', 'x', {});
    job.done();
    assert.throws(() => job.step('more'), { name: 'AssertionError' });
  });

  it('leaves open, at a stop, what ends early, and keeps what got done', async () => {
    await using at = await open();
    const slow = at.journal.begin('fill', 'slow', {});
    const quick = at.journal.begin('fill', 'quick', {});
    at.journal.stop();
    assert.deepEqual([slow.signal.aborted, quick.signal.aborted], [true, true]);
    const told = linesOf(at.journal, slow.id);
    slow.failed(cancelled);
    quick.done();
    const end = told.at(-1);
    assert.equal(end?.kind === 'failed' && end.error.why, 'siphond stops');
    assert.deepEqual(
      at.journal.open().map((record) => record.subject),
      ['slow'],
    );
    assert.equal(at.journal.begin('fill', 'late', {}).signal.aborted, true);
  });

  it('tells each end for good, with what was read, and none that waits for the next start', async () => {
    await using at = await open();
    const done = at.journal.begin('fill', 'done', {});
    done.progress({ doneBytes: 8, totalBytes: 9, readBytes: 4 });
    done.done({ sourceSizeBytes: 9, verification: { kind: 'unverified' } });
    assert.match(
      at.logged.at(-1) ?? '',
      /"ms":1,"bytes":9,"readBytes":4,"verdict":"unverified","msg":"done"/,
    );
    at.journal.begin('fill', 'failed', {}).failed({ ...cancelled, code: 'corrupt' });
    const left = at.journal.begin('fill', 'left', {});
    at.journal.stop();
    left.failed(cancelled);
    assert.deepEqual(at.ends, [
      ['done', 'done', 4],
      ['failed', 'failed', 0],
    ]);
  });

  it('lists the newest first, within a bound', async () => {
    await using at = await open();
    for (const subject of ['a', 'b', 'c']) at.journal.begin('fill', subject, {}).done();
    assert.deepEqual(
      at.journal.list(2).map((record) => record.subject),
      ['c', 'b'],
    );
  });

  it('names the job in each of its lines', async () => {
    await using at = await open();
    const job = at.journal.begin('fill', 'x', {});
    job.step('one');
    job.done();
    assert.equal(at.logged.length, 3);
    for (const line of at.logged) assert.ok(line.includes(`"job":"${job.id}"`), line);
  });
});
