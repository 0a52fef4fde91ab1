// Whether a domain may be held, what is done to let one go, and the notes that say what is held: without libvirt.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { DomainStatus } from 'node-libvirt';
import {
  type DomainFacts,
  isFrozenAlready,
  judgeHoldable,
  type Left,
  nextLetGoStep,
} from '../../../src/worker/roles/libvirt/decide-hold.ts';
import { monotonicMs, Notes } from '../../../src/worker/roles/libvirt/notes.ts';
import { Turns } from '../../../src/worker/roles/libvirt/turns.ts';

const RUNNING: DomainFacts = {
  status: { state: 'running', reason: 1 },
  blockJobs: [],
  freeze: { kind: 'thawed' },
};
const paused = (reason: number) => ({ state: 'paused', reason }) as const;

const HOLDABLE = [
  ['it runs', {}, 'running', undefined],
  ['its agent is silent', { freeze: { kind: 'silent', why: 'x' } }, 'running', undefined],
  ['it has no agent', { freeze: { kind: 'absent', why: 'x' } }, 'running', undefined],
  ['it is off', { status: { state: 'shutoff', reason: 1 } }, 'off', undefined],
  ['the operator has paused it', { status: paused(1) }, 'busy', /paused already: user/],
  ['an I/O error has', { status: paused(5) }, 'busy', /I\/O error/],
  ['it comes from another host', { status: paused(2) }, 'busy', /migration/],
  ['newer libvirt says why', { status: paused(99) }, 'busy', /unknown/],
  ['it goes to another host', { job: 'migration out' }, 'busy', /migration out/],
  ['it is backed up', { job: 'backup' }, 'busy', /backup/],
  ['a copy', { blockJobs: [{ disk: 'vdb', type: 'copy' }] }, 'busy', /on vdb: copy/],
  ['the operator has frozen it', { freeze: { kind: 'frozen' } }, 'busy', /frozen already/],
  ['it shuts down', { status: { state: 'shutdown', reason: 0 } }, 'busy', /shutting down/],
  ['it crashed', { status: { state: 'crashed', reason: 0 } }, 'busy', /crashed/],
  ['it sleeps', { status: { state: 'pmsuspended', reason: 0 } }, 'busy', /sleeps/],
] as const satisfies readonly (readonly [
  string,
  Partial<DomainFacts>,
  string,
  RegExp | undefined,
])[];

for (const [name, facts, kind, why] of HOLDABLE) {
  test(`whether it may be held: ${name}`, () => {
    const judged = judgeHoldable({ ...RUNNING, ...facts });
    assert.equal(judged.kind, kind);
    if (why) assert.match(judged.kind === 'busy' ? judged.why : '', why);
  });
}

const BOTH = { resume: true, thaw: true };
const FROZEN = { resume: false, thaw: true };
const SUSPENDED = { resume: true, thaw: false };
const running: DomainStatus = { state: 'running', reason: 1 };

const STEPS = [
  ['resumed before it is thawed', BOTH, paused(1), 'resume'],
  ['libvirtd does not know why it is paused', BOTH, paused(0), 'resume'],
  ['a suspend may still come', BOTH, running, 'resume'],
  ['thawed when it runs', FROZEN, running, 'thaw'],
  ['somebody else paused what is frozen', FROZEN, paused(1), 'wait'],
  ['an I/O error has paused it since', SUSPENDED, paused(5), 'leave-paused'],
  ['it is being saved', SUSPENDED, paused(3), 'wait'],
  ['it shuts down', BOTH, { state: 'shutdown', reason: 0 }, 'wait'],
  ['it is off', BOTH, { state: 'shutoff', reason: 1 }, 'end'],
  ['it is gone, or another run of it', BOTH, undefined, 'end'],
  ['it crashed', BOTH, { state: 'crashed', reason: 1 }, 'end'],
  ['nothing was begun, and it is paused', { resume: false, thaw: false }, paused(1), 'end'],
] as const;

for (const [name, left, status, step] of STEPS) {
  test(`how it is let go: ${name}`, () => {
    assert.equal(nextLetGoStep(left, status).step, step);
  });
}

test('what letting go does leads to its end, whoever else resumes and thaws', () => {
  for (const first of [BOTH, FROZEN, SUSPENDED]) {
    for (const status of [paused(1), running]) {
      const steps = stepsFrom(first, status);
      const isNotOurs = first === FROZEN && status !== running;
      assert.equal(steps.at(-1), isNotOurs ? 'wait' : 'end', steps.join());
    }
  }
});

/** The steps where each does what it says. */
function stepsFrom(first: Left, status: DomainStatus): string[] {
  const steps: string[] = [];
  for (let [left, seen] = [first, status]; ; ) {
    const { step } = nextLetGoStep(left, seen);
    steps.push(step);
    if (step === 'end' || step === 'wait') return steps;
    if (step === 'resume') [left, seen] = [{ ...left, resume: false }, running];
    if (step === 'thaw') left = { ...left, thaw: false };
    assert.ok(steps.length < 5, steps.join());
  }
}

test('a guest that somebody else froze is told by the agent’s words', () => {
  const words =
    "unable to execute QEMU agent command 'guest-fsfreeze-freeze': Command guest-fsfreeze-freeze has been disabled";
  assert.ok(isFrozenAlready(`${words}: the agent is in frozen state`));
  assert.ok(!isFrozenAlready(`${words}: the command is not allowed`));
});

test('a domain is noted once, by whole files', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'held-'));
  try {
    const notes = new Notes(path.join(folder, 'held'));
    const domain = '0a1b2c3d-0000-4000-8000-000000000001';
    assert.deepEqual(await notes.list(), []);
    assert.equal(await notes.read(domain), undefined);
    const note = { domain, run: 3, holder: process.pid, deadlineMs: monotonicMs() + 5000 };
    await notes.create(note);
    await assert.rejects(notes.create(note), { code: 'busy' });
    await notes.replace({ ...note, freezingMs: 7 });
    assert.deepEqual(await notes.read(domain), { ...note, freezingMs: 7 });
    assert.deepEqual(await notes.list(), [domain]);
    assert.deepEqual(await notes.listOurs(), [domain]);
    await notes.replace({ ...note, holder: process.ppid });
    assert.deepEqual(await notes.listOurs(), [], 'another worker that lives');
    const { pid: gone } = spawnSync('true');
    await notes.replace({ ...note, holder: gone });
    assert.deepEqual(await notes.listOurs(), [domain], 'of one that is gone');
    // Whoever was killed while it wrote one.
    const [half, living] = [gone, process.ppid].map((pid) => `${domain}.json.${pid}`);
    for (const name of [half, living]) await writeFile(path.join(folder, 'held', name ?? ''), '{');
    assert.deepEqual(await notes.listOurs(), [domain]);
    assert.deepEqual(await readdir(path.join(folder, 'held')), [`${domain}.json`, living]);
    await rm(path.join(folder, 'held', living ?? ''));
    await notes.replace(note);
    assert.deepEqual(await readdir(path.join(folder, 'held')), [`${domain}.json`]);
    await notes.remove(domain);
    await notes.remove(domain);
    assert.deepEqual(await notes.list(), []);
    await assert.rejects(notes.read('../secret'), { code: 'usage' });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('the turns of a key come one after the other, also after a failure; other keys do not wait', async () => {
  const turns = new Turns();
  const said: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = turns.take('a', async () => {
    await gate.promise;
    said.push('first');
    throw new Error('fails');
  });
  const second = turns.take('a', async () => said.push('second'));
  await turns.take('b', async () => said.push('other'));
  gate.resolve();
  await assert.rejects(first, /fails/);
  await second;
  assert.deepEqual(said, ['other', 'first', 'second']);
});
