// The command on the installed siphond where Ceph, overlays or the operator change their mind.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { before, test } from 'node:test';
import type { JobsAnswer } from '../../../src/wire/api.ts';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { overlayOn } from '../support/domains.ts';
import { must, run, until } from '../support/host.ts';
import {
  bigSource,
  fileCleanup,
  freshPool,
  importSource,
  rawFile,
  scratchFolder,
} from '../support/images.ts';
import { siphon, siphondPid, siphonJson } from '../support/siphon.ts';

const context = fileCleanup();
let pool = '';
let scratch = '';

before(async () => {
  pool = await freshPool(context);
  scratch = await scratchFolder(context);
});

async function warmed(name: string): Promise<string> {
  const source = await importSource(await rawFile(`${scratch}/${name}`, 8, [0]), `${pool}/${name}`);
  await siphonJson('warm', source);
  return source;
}

/** The image with all its snapshots. */
async function removeImage(image: string): Promise<void> {
  await must('rbd', 'snap', 'purge', '--no-progress', image);
  await must('rbd', 'rm', '--no-progress', image);
}

test('a base whose source is gone is reached by its name, with Ceph down too', async () => {
  const source = await warmed('gone');
  await removeImage(`${pool}/gone`);
  assert.equal((await siphonJson<Base>('get', source)).state, 'ready');
  await must('systemctl', 'stop', 'ceph-mon-a');
  try {
    assert.equal((await siphonJson<Base[]>('pin', source))[0]?.isPinned, true);
    const pinned = await siphon('evict', source);
    assert.deepEqual([pinned.code, /is pinned/.test(pinned.stderr)], [5, true], pinned.stderr);
    await siphonJson('unpin', source);
    assert.equal((await siphon('evict', source)).code, 0);
  } finally {
    await must('systemctl', 'start', 'ceph-mon-a');
  }
  const answers = async () => (await run('ceph', ['-s'], { seconds: 5 })).code === 0 || undefined;
  await until('Ceph answers', answers, 60);
});

test('of an image that was made anew both bases are named, until Ceph tells', async () => {
  const source = await warmed('twice');
  await removeImage(`${pool}/twice`);
  await warmed('twice');
  const both = (await siphonJson<Base[]>('list')).filter(({ name }) => name.pool === pool);
  const current = await siphonJson<Base>('get', source);
  assert.ok(both.length === 2 && both.some(({ id }) => id === current.id));
  await removeImage(`${pool}/twice`);
  const refused = await siphon('evict', source);
  assert.equal(refused.code, 5);
  for (const { id } of both) {
    assert.ok(refused.stderr.includes(id), refused.stderr);
    assert.equal((await siphon('evict', id)).code, 0);
  }
});

test('an overlay that no domain has keeps its base, also where its source is gone', async () => {
  const source = await warmed('kept');
  const overlay = '/var/lib/libvirt/images/of-no-domain.qcow2';
  await overlayOn(source, overlay, '8M');
  try {
    await removeImage(`${pool}/kept`);
    const kept = await siphon('evict', source);
    assert.equal(kept.code, 5);
    assert.match(kept.stderr, new RegExp(`the overlay ${overlay} refers to it`));
    assert.equal((await siphon('evict', '--dry-run', source)).code, 0);
    await must('qemu-img', 'check', '-q', overlay);
  } finally {
    await must('rm', overlay);
  }
  assert.equal((await siphon('evict', source)).code, 0);
});

test('Ctrl-C leaves the fill to siphond, and gives the terminal back', async () => {
  const source = await bigSource(`${pool}/big`, 512);
  const line = `stty cols 80 rows 24; exec siphon warm ${source}`;
  const child = spawn('script', ['-qec', line, '/dev/null'], { timeout: 60_000 });
  let told = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (told += text));
  const ended = once(child, 'close');
  await until('a bar is there', () => told.includes('% |') || undefined);
  child.stdin.write('\x03');
  assert.deepEqual(await ended, [130, null], told);
  assert.ok(told.includes('\x1b[?25h') && told.includes('\x1b[?7h'), told);
  const [, id] = /siphon jobs --cancel (\S+?)\.?\s/.exec(told) ?? [];
  const isDone = async () => {
    const jobs = await siphonJson<JobsAnswer['jobs']>('jobs', '--limit', '100');
    return jobs.find((job) => job.id === id)?.state === 'done' || undefined;
  };
  await until('the fill is done', isDone, 60);
});

test('a siphond that hangs is found out in 5 s', async () => {
  const pid = String(await siphondPid());
  await must('kill', '-STOP', pid);
  try {
    const from = performance.now();
    assert.equal((await siphon('status')).code, 7);
    assert.ok(performance.now() - from < 8000);
  } finally {
    await must('kill', '-CONT', pid);
  }
});
