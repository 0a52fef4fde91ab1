import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openFillGroup } from '../../../src/systemd/fill-group.ts';
import { groupOf, planFillGroup, planScrubGroup } from '../../../src/systemd/fill-group-plan.ts';
import { temporaryFolder } from '../sidecar/support/quiet.ts';

const LIMITS = { memoryBytes: 2 ** 31, tasks: 1024, cpuWeight: 50, ioWeight: 40 };

test('what the host can limit is limited, and the rest is named', () => {
  assert.deepEqual(planFillGroup(['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids'], LIMITS), {
    enable: ['cpu', 'io', 'memory', 'pids'],
    limits: [
      { file: 'cpu.weight', value: '50' },
      { file: 'io.weight', value: 'default 40' },
      { file: 'memory.max', value: '2147483648' },
      { file: 'pids.max', value: '1024' },
    ],
    absent: [],
  });
  assert.deepEqual(planFillGroup(['pids'], LIMITS), {
    enable: ['pids'],
    limits: [{ file: 'pids.max', value: '1024' }],
    absent: ['cpu', 'io', 'memory'],
  });
});

test('a scrub is idle for disks and processors', () => {
  const { enable, limits } = planScrubGroup(['cpu', 'io']);
  assert.deepEqual(enable, ['cpu', 'io']);
  assert.deepEqual(
    limits.map(({ file, value }) => `${file}=${value}`),
    ['cpu.weight=1', 'io.weight=default 1', 'io.prio.class=idle'],
  );
});

test('the place in the one hierarchy is found beside those of the old ones', () => {
  assert.equal(
    groupOf('12:pids:/x\n0::/system.slice/siphond.service\n'),
    '/system.slice/siphond.service',
  );
  assert.equal(groupOf('0::/\n'), '/');
  assert.equal(groupOf('12:pids:/x\n'), undefined);
});

/** A folder that looks like the tree where this process is. */
async function treeWith(controllers: string) {
  const folder = await temporaryFolder();
  const group = groupOf(readFileSync('/proc/self/cgroup', 'utf8')) ?? '/';
  const root = path.join(folder.path, group);
  mkdirSync(root, { recursive: true });
  writeFileSync(path.join(root, 'cgroup.controllers'), controllers);
  const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
  return { tree: folder.path, read, [Symbol.asyncDispose]: folder[Symbol.asyncDispose] };
}

test('siphond goes into one leaf, a fill worker into the limited one', async () => {
  await using at = await treeWith('memory pids\n');
  const env = { SIPHON_DELEGATED_CGROUP: 'yes' };
  let limits = LIMITS;
  const group = openFillGroup({
    limits: () => limits,
    env,
    tree: at.tree,
    warn: assert.fail,
  });
  assert.deepEqual(group.standing, {
    limits: ['memory.max=2147483648', 'pids.max=1024'],
    absent: ['cpu', 'io'],
    scrubs: ['memory.max=536870912', 'pids.max=256'],
  });
  group.adoptIdle(4710);
  assert.equal(at.read('scrubs/cgroup.procs'), '4710');
  group.adopt(4711);
  assert.equal(at.read('siphond/cgroup.procs'), String(process.pid));
  assert.equal(at.read('fills/cgroup.procs'), '4711');
  assert.equal(at.read('fills/memory.max'), '2147483648');
  // Changed limits are in force from the next fill on.
  limits = { ...LIMITS, tasks: 99 };
  group.adopt(4712);
  assert.equal(at.read('fills/pids.max'), '99');
  assert.deepEqual(group.standing.limits, ['memory.max=2147483648', 'pids.max=99']);
});

test('without a group of its own, or a tree that it may change, fills go on and it is said', async () => {
  await using at = await treeWith('');
  const parts = { limits: () => LIMITS, tree: at.tree };
  const byHand = openFillGroup({ ...parts, env: {}, warn: assert.fail });
  assert.match(byHand.standing.why ?? '', /not given a control group/);
  byHand.adopt(4711);
  const warned: string[] = [];
  const warn = (text: string) => void warned.push(text);
  const env = { SIPHON_DELEGATED_CGROUP: 'yes' };
  const absent = openFillGroup({ limits: () => LIMITS, env, tree: '/proc/none', warn });
  assert.match(absent.standing.why ?? '', /ENOENT/);
  assert.equal(warned.length, 1);
});
