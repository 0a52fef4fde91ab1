// The command as a person meets it: what a wrong call, a refusal, a silent siphond and Ctrl-C look like, and live bars on a
// terminal (of script(1), 80 columns). siphond is stood in for by a server that answers as told.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { EvictAnswer, JobLine } from '../../../src/wire/api.ts';
import type { WireError } from '../../../src/wire/errors.ts';

const MAIN = join(import.meta.dirname, '../../../src/cli/main.ts');
const ID = '7b7e4c4e-6c1a-4b7e-9a55-0d7c5e0a9b11/3/10ab12cd34ef@7';
const NAME = 'rbd:images/debian-13-generic@2026-11';

type Route = (response: http.ServerResponse) => void;

/** A siphond that answers by `METHOD /path`; anything else it leaves unanswered. */
async function standIn(routes: Record<string, Route>) {
  const folder = await mkdtemp(join(tmpdir(), 'siphon-command-'));
  const socket = join(folder, 'api.sock');
  const server = http.createServer((request, response) => {
    routes[`${request.method} ${request.url?.split('?')[0]}`]?.(response);
  });
  server.listen(socket);
  await once(server, 'listening');
  return {
    socket,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await rm(folder, { recursive: true });
    },
  };
}

const json = (value: unknown): Route => {
  return (response) => response.end(JSON.stringify(value));
};

const RUN_MS_MAX = 30_000;

/** A siphon that runs: what it has said so far, and how it ends. */
function begin(socket: string, command: string, args: readonly string[]) {
  const env = { ...process.env, SIPHON_SOCKET: socket };
  const child = spawn(command, args, { env, timeout: RUN_MS_MAX, killSignal: 'SIGKILL' });
  const told = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => (told[name] += text));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...told }));
  const until = async (pattern: RegExp) => {
    while (!pattern.test(told.stdout))
      await Promise.race([
        once(child.stdout, 'data'),
        ended.then(() => assert.match(told.stdout, pattern)),
      ]);
  };
  return { child, ended, until, told };
}

const run = (socket: string, ...args: string[]) =>
  begin(socket, process.execPath, [MAIN, ...args]).ended;

/** On a terminal of 80 columns. */
const onTerminal = (socket: string, ...args: string[]) => {
  const words = [process.execPath, MAIN, ...args].map((word) => `'${word}'`).join(' ');
  return begin(socket, 'script', ['-qec', `stty cols 80 rows 24; exec ${words}`, '/dev/null']);
};

const errorIn = (text: string) => (JSON.parse(text) as { error: WireError }).error;

describe('a wrong call', { concurrency: 2 }, () => {
  const calls = [
    [],
    ['warm'],
    ['lst'],
    ['list', '--bogus'],
    ['jobs', '--limit', 'x'],
    ['warm', NAME, '--sha512', 'ab'],
    ['snapshot'],
  ];
  for (const call of calls) {
    it(`is told as siphon's own error: ${call.join(' ')}`, async () => {
      const { code, stdout, stderr } = await run('/nonexistent', ...call);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, call.length === 0 || call[0] === 'snapshot' ? /^Usage/ : /^siphon: \w/);
      assert.doesNotMatch(stderr, /^error:/m);
    });
    it(`is one object with --json: ${call.join(' ')}`, async () => {
      const { code, stdout, stderr } = await run('/nonexistent', ...call, '--json');
      assert.deepEqual([code, stdout], [2, '']);
      assert.equal(errorIn(stderr).code, 'usage');
      assert.doesNotMatch(errorIn(stderr).why ?? '', /outputHelp|\n/);
    });
  }

  it('is not what asking for help is', async () => {
    const { code, stdout } = await run('/nonexistent', '--help');
    assert.equal(code, 0);
    assert.match(stdout, /130 left by Ctrl-C/);
  });
});

const decision = (what: 'evict' | 'keep', reason: string) => {
  return { base: ID, name: NAME, allocatedBytes: 2 ** 30, decision: what, reason };
};
const evicted = (...decisions: EvictAnswer['decisions']) => {
  return json({ dryRun: false, decisions, quarantine: [], freedBytes: 0 } satisfies EvictAnswer);
};

describe('evict', () => {
  it('of a named base that stays is refused, and says why', async () => {
    await using at = await standIn({ 'POST /v1/evict': evicted(decision('keep', 'it is pinned')) });
    const named = await run(at.socket, 'evict', NAME);
    assert.equal(named.code, 5);
    assert.match(named.stderr, /^siphon: evict: rbd:.*: it is pinned\n.*siphon unpin/);
    assert.match(named.stdout, /keep .* it is pinned/);
    const asJson = await run(at.socket, 'evict', NAME, '--json');
    assert.deepEqual([asJson.code, errorIn(asJson.stderr).why], [5, 'it is pinned']);
    assert.equal((JSON.parse(asJson.stdout) as EvictAnswer).decisions.length, 1);
    assert.equal((await run(at.socket, 'evict')).code, 0);
  });

  it('of one that goes, and a dry run, are done', async () => {
    const decisions = [decision('keep', 'it is pinned')];
    const dry: EvictAnswer = { dryRun: true, decisions, quarantine: [], freedBytes: 0 };
    await using asked = await standIn({ 'POST /v1/evict': json(dry) });
    assert.equal((await run(asked.socket, 'evict', '--dry-run', NAME)).code, 0);
    await using at = await standIn({ 'POST /v1/evict': evicted(decision('evict', 'asked')) });
    assert.equal((await run(at.socket, 'evict', NAME)).code, 0);
  });

  it('of a base and of what failed its check at once is no call', async () => {
    const both = await run('/nonexistent', 'evict', NAME, '--quarantined');
    assert.equal(both.code, 2);
    assert.match(both.stderr, /has no base to be named by/);
  });
});

describe('scrub', () => {
  const base = { base: ID, name: NAME, readBytes: 2 ** 20 };
  const answered = (...bases: readonly object[]): Route => {
    const done: JobLine = { kind: 'done', result: { bases } };
    return (response) => response.end(`${JSON.stringify(done)}\n`);
  };

  it('of what is good, or was mended, is done', async () => {
    const mend = { way: 'mend', chunks: 2, readBytes: 8 * 2 ** 20 };
    const mended = { ...base, outcome: 'mended', why: 'its file is not it', mend };
    await using at = await standIn({
      'POST /v1/scrub': answered({ ...base, outcome: 'good' }, mended),
    });
    const { code, stdout } = await run(at.socket, 'scrub');
    assert.equal(code, 0);
    assert.match(stdout, /^good .*1\.0 MiB/m);
    assert.match(stdout, /^mended .*2 chunks mended, 8\.0 MiB read of Ceph/m);
    assert.equal((await run(at.socket, 'scrub', '--due', '--json')).code, 0);
  });

  it('of what stays damaged is exit code 9, and says why it was not mended', async () => {
    const error = { code: 'not-found', op: 'open image', subject: NAME, why: 'there is none' };
    const damaged = { ...base, outcome: 'damaged', why: '1 chunk', error };
    await using at = await standIn({ 'POST /v1/scrub': answered(damaged) });
    const { code, stdout, stderr } = await run(at.socket, 'scrub', NAME);
    assert.equal(code, 9);
    assert.match(stdout, /^damaged .*1 chunk/m);
    assert.match(stderr, /there is none/);
  });

  it('of what could not be read has the exit code of that', async () => {
    const error = { code: 'busy', op: 'scrub', subject: NAME, why: 'it was changed' };
    const failed = { ...base, outcome: 'failed', why: 'it was changed', error };
    await using at = await standIn({ 'POST /v1/scrub': answered(failed) });
    assert.equal((await run(at.socket, 'scrub')).code, 6);
  });

  it('of nothing says so', async () => {
    await using at = await standIn({ 'POST /v1/scrub': answered() });
    assert.match((await run(at.socket, 'scrub', '--due')).stdout, /Nothing to scrub/);
  });
});

describe('a siphond that does not answer', { concurrency: true }, () => {
  for (const command of [['status'], ['list'], ['get', NAME], ['path', NAME]]) {
    it(`is found out within 5 s: ${command[0]}`, async () => {
      await using at = await standIn({});
      const { code, stderr } = await run(at.socket, ...command);
      assert.equal(code, 7);
      assert.match(stderr, /said nothing for 5 s\n.*systemctl restart siphond/);
    });
  }
});

const lineOf = (line: JobLine) => `${JSON.stringify(line)}\n`;
const progress = (doneBytes: number): JobLine => {
  return { kind: 'progress', progress: { doneBytes, totalBytes: 2 ** 30 } };
};
/** A fill that is half done, and ends when it is told to. */
function openFill() {
  const { promise, resolve } = Promise.withResolvers<void>();
  const route: Route = (response) => {
    response.write(lineOf({ kind: 'job', id: 'job-1', subject: NAME }));
    response.write(lineOf(progress(2 ** 29)));
    const base = {
      id: ID,
      format: 'qcow2',
      allocatedBytes: 1,
      verification: { kind: 'unverified' },
    };
    void promise.then(() => response.end(lineOf({ kind: 'done', result: base })));
  };
  return { routes: { 'POST /v1/warm': route, 'POST /v1/start': route }, finish: resolve };
}

/** The cursor is shown and lines wrap again. */
const isRestored = (told: string) => told.includes('\x1b[?25h') && told.includes('\x1b[?7h');

describe('on a terminal', () => {
  it('a bar shows how far a fill is while it runs', async () => {
    const fill = openFill();
    await using at = await standIn(fill.routes);
    const warm = onTerminal(at.socket, 'warm', NAME);
    await warm.until(/50% \| 512\.0 MiB of 1\.0 GiB/);
    fill.finish();
    const { code, stdout } = await warm.ended;
    assert.equal(code, 0);
    assert.match(stdout, /100% \| 1\.0 GiB of 1\.0 GiB/);
    assert.ok(isRestored(stdout));
    assert.ok(stdout.includes(ID));
  });

  for (const command of [
    ['warm', NAME],
    ['start', 'g1'],
  ]) {
    it(`Ctrl-C gives the terminal back and says what goes on: ${command[0]}`, async () => {
      await using at = await standIn(openFill().routes);
      const left = onTerminal(at.socket, ...command);
      await left.until(/50%/);
      left.child.stdin.write('\x03');
      const { code, stdout } = await left.ended;
      assert.equal(code, 130);
      assert.ok(isRestored(stdout));
      assert.match(stdout, /goes on[^]*siphon jobs --cancel job-1/);
    });
  }

  it('tables fit, and nothing is left out in a pipe', async () => {
    await using at = await standIn({
      'POST /v1/evict': evicted(
        decision('keep', `the overlay /var/lib/${'x'.repeat(80)} refers to it`),
      ),
    });
    const { stdout } = await onTerminal(at.socket, 'evict').ended;
    const lines = stdout.replaceAll('\r', '').split('\n');
    assert.ok(
      lines.every((line) => line.length <= 80),
      stdout,
    );
    assert.ok(stdout.includes(NAME) && stdout.includes('the overlay'));
    assert.ok((await run(at.socket, 'evict')).stdout.includes(ID));
  });
});

it('a signal without a terminal says the same, as JSON if asked', async () => {
  const fill = openFill();
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  await using at = await standIn({
    'POST /v1/warm': (response) => {
      fill.routes['POST /v1/warm'](response);
      resolve();
    },
  });
  const left = begin(at.socket, process.execPath, [MAIN, 'warm', NAME, '--json']);
  await asked;
  left.child.kill('SIGTERM');
  const { code, stderr } = await left.ended;
  assert.equal(code, 143);
  assert.equal(errorIn(stderr).code, 'cancelled');
});
