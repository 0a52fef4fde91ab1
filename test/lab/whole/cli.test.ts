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
import { answering, siphon, siphondPid, siphonJson } from '../support/siphon.ts';

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

/** What a new user types, and what siphon says: what is wrong, and in its second line what to do. */
const MISUSES = (of: string) =>
  [
    [['warm', 'debian-12'], 2, /does not begin with rbd:.*\n.*rbd:POOL/],
    [['warm', of.replace(/@.*/, '')], 2, /names no snapshot.*\n.*@SNAP/],
    [['warm', 'rbd:no-pool/image@snap'], 4, /no pool 'no-pool'.*\n.*ceph osd pool ls/],
    [['warm', `${of}x`], 4, /no snapshot 'snapx'.*\n.*rbd snap ls/],
    [
      ['warm', 'rbd://00000000-0000-4000-8000-000000000000/images/i/snap'],
      4,
      /no configured cluster.*\n.*siphon\.toml/,
    ],
    [['warm', of, '--sha256', 'xyz'], 2, /64 hex digits.*\n.*--help/],
    [['warm', of, '--properties', '/nowhere'], 4, /\/nowhere.*\n.*openstack image show/],
    [['warm', of, '--properties', '/etc'], 2, /directory.*\n.*openstack image show/],
    [['describe', of, '--remove', '--remove-manifest'], 2, /--properties FILE.*\n.*Give one/],
    [['get', 'x'], 4, /x: this host has no such base.*\n.*siphon list/],
    [['pin', of], 4, /this host has no such base.*\n.*siphon warm/],
    [['evict', 'x'], 4, /x: this host has no such base.*\n.*siphon list/],
    [['start', 'nobody'], 4, /nobody: this host has no such domain.*\n.*virsh list/],
    [['snapshot', 'create', 'nobody'], 4, /nobody: this host has no such domain.*\n.*virsh list/],
    [['snapshot', 'delete', 'no-set'], 4, /no-set: no such set.*\n.*siphon snapshot list/],
    [['jobs', '--cancel', 'no-job'], 4, /no-job: siphond knows no such job.*\n.*siphon jobs/],
    [['pause', 'all-of-it'], 2, /fills, snapshots, all.*\n.*--help/],
    [['reload', 'now'], 2, /too many arguments.*\n.*--help/],
  ] as const;

test('a wrong call is told what is wrong, and what to do', async () => {
  const never = await importSource(await rawFile(`${scratch}/never`, 8, [0]), `${pool}/never`);
  for (const [call, code, told] of MISUSES(never)) {
    const ran = await siphon(...call);
    assert.deepEqual([ran.code, ran.stdout], [code, ''], call.join(' '));
    assert.match(ran.stderr, told);
    assert.match(ran.stderr, /^siphon: /);
  }
  assert.equal(
    (await siphon('snapshot', 'list', 'nobody')).stdout,
    'No snapshot sets of nobody.\n',
  );
});

test('Ceph or siphond that is down is told, and what to do', async () => {
  const never = `rbd:${pool}/never@snap`;
  await siphon('path', never); // its ids are known from here on, so that the fill itself meets the dead cluster
  await must('systemctl', 'stop', 'ceph-mon-a');
  try {
    const warmed = await siphon('warm', never);
    assert.deepEqual(
      [warmed.code, /\n.*cluster.*up/.test(warmed.stderr)],
      [7, true],
      warmed.stderr,
    );
  } finally {
    await must('systemctl', 'start', 'ceph-mon-a');
  }
  const units = ['siphond.service', 'siphond.socket', 'siphon-hook.socket', 'siphon-read.socket'];
  await must('systemctl', 'stop', ...units);
  try {
    for (const call of [['status'], ['warm', never], ['snapshot', 'list']]) {
      const { code, stderr } = await siphon(...call);
      assert.equal(code, 7);
      assert.match(stderr, /^siphon: reach siphond: .*\n.*systemctl start siphond/);
    }
    assert.equal((await siphon('config', 'check')).code, 0);
  } finally {
    await must('systemctl', 'start', 'siphond');
  }
  await answering();
});

test('a siphond that hangs is found out in 5 s', async () => {
  const pid = String(await siphondPid());
  await must('kill', '-STOP', pid);
  try {
    const from = performance.now();
    const { code, stderr } = await siphon('status');
    assert.deepEqual([code, /\n.*systemctl restart siphond/.test(stderr)], [7, true], stderr);
    assert.ok(performance.now() - from < 8000);
  } finally {
    await must('kill', '-CONT', pid);
  }
});
