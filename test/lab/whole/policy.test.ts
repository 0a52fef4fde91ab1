// Which sets are taken, with real domains: by policies, by the domains' own metadata, and what is said of both.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import type {
  PoliciesAnswer,
  PolicyTestAnswer,
  SnapshotsAnswer,
  StatusAnswer,
} from '../../../src/wire/api.ts';
import { defineDomain, installHook, markedSnapshots } from '../support/domains.ts';
import { must, run, until } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import { answering, siphon, siphonJson } from '../support/siphon.ts';

type Sets = SnapshotsAnswer['sets'];
const cleanup = fileCleanup();
const FILE = '/etc/siphon/policies.d/policy-test.toml';
const POLICIES = `[[policy]]
name = "tagged"
tags = ["backup"]
on = ["destroyed"]
devices = "root"
keep_last = 1

[[policy]]
name = "others"
domains = ["policy-*"]
on = ["shutdown", "destroyed"]
keep_last = 3
`;
const NAME = 'policy-a';
const IMAGES = [0, 1].map((index) => `vms/${NAME}-${index}`);

before(async () => {
  await answering();
  await installHook();
  for (const image of IMAGES) {
    await must('rbd', 'create', '--size', '16M', image);
    cleanup.after(async () => {
      await run('rbd', ['snap', 'purge', '--no-progress', image]);
      await run('rbd', ['rm', '--no-progress', image]);
    });
  }
  const disks = IMAGES.map((image) => ({ kind: 'rbd' as const, image }));
  await defineDomain(cleanup, { name: NAME, disks });
  await writeFile(FILE, POLICIES);
  cleanup.after(() => run('rm', ['-f', FILE]));
  await inForce((names) => names.includes('tagged') && names.includes('others'));
});

const inForce = (is: (names: readonly string[], answer: PoliciesAnswer) => boolean) =>
  until('the policies are in force', async () => {
    const answer = await siphonJson<PoliciesAnswer>('policy', 'list');
    return is(
      answer.policies.map(({ name }) => name),
      answer,
    );
  });

const say = (element: string) =>
  must(
    'virsh',
    '-q',
    'metadata',
    NAME,
    'urn:siphon:domain:1',
    '--config',
    '--key',
    'siphon',
    '--set',
    element,
  );

const tested = (event: string) => siphonJson<PolicyTestAnswer>('policy', 'test', NAME, event);

async function destroyed(count: number): Promise<Sets> {
  await must('virsh', '-q', 'start', NAME);
  await must('virsh', '-q', 'destroy', NAME);
  return await until(
    `${count} sets, and no open job`,
    async () => {
      const { jobsOpen } = await siphonJson<StatusAnswer>('status');
      const sets = await siphonJson<Sets>('snapshot', 'list', NAME);
      return jobsOpen === 0 && sets.length === count ? sets : undefined;
    },
    60,
  );
}

test('a tag in the metadata chooses the policy, which says of what the set is', async () => {
  await say("<domain tags='backup'/>");
  const { evaluation, disks } = await tested('destroyed');
  assert.equal(evaluation.kind === 'take' && evaluation.policy?.name, 'tagged');
  const verdicts = evaluation.considered.filter(({ policy }) =>
    ['tagged', 'others'].includes(policy),
  );
  assert.deepEqual(
    verdicts.map(({ verdict }) => verdict),
    ['first', 'also'],
  );
  assert.deepEqual(
    disks.map(({ image }) => image),
    IMAGES.slice(0, 1),
  );
  const [set] = await destroyed(1);
  assert.deepEqual([set?.policy, set?.event, set?.wanted.devices], ['tagged', 'release', 'root']);
  assert.deepEqual(
    set?.disks.map(({ target }) => target),
    ['vda'],
  );
  assert.deepEqual(set?.leftOut, [{ target: 'vdb', why: 'not asked for' }]);
  assert.equal((await markedSnapshots(IMAGES[0] ?? '')).length, 1);
  assert.deepEqual(await markedSnapshots(IMAGES[1] ?? ''), []);
});

test('off in the metadata leaves none; what overrides a policy is taken as it says', async () => {
  await say("<domain policy='off'/>");
  assert.equal((await tested('destroyed')).evaluation.kind, 'nothing');
  await destroyed(1);
  await say("<domain policy='others' devices='vdb' quiesce='none'/>");
  const [newest] = await destroyed(2);
  assert.deepEqual([newest?.policy, newest?.wanted.devices], ['others', ['vdb']]);
  assert.deepEqual(
    newest?.disks.map(({ target }) => target),
    ['vdb'],
  );
});

test('a mistake in the metadata is a problem of siphon status, and the policies apply', async () => {
  await say("<domain policy='othres'/>");
  const [newest] = await destroyed(3);
  assert.deepEqual([newest?.policy, newest?.wanted.quiesce], ['others', 'none']);
  await until('the mistake is told', async () => {
    const { problems } = await siphonJson<StatusAnswer>('status');
    return problems.some(({ where, what }) => where.includes(NAME) && what.includes("'othres'"));
  });
  const { code, stdout } = await siphon('check');
  assert.deepEqual([code, stdout.includes('WARNING') && stdout.includes('othres')], [1, true]);
  await say('<domain/>');
});

test('a mistake in a file changes nothing and is told with its line', async () => {
  await writeFile(FILE, POLICIES.replace('keep_last = 3', 'keep_lst = 3'));
  await inForce((names, { problems }) => {
    const isTold = problems.some(
      ({ where, what }) => where === `${FILE}:12` && /keep_lst/.test(what),
    );
    return isTold && names.includes('others');
  });
  assert.equal((await tested('destroyed')).evaluation.kind, 'take');
  const { code, stderr } = await siphon('policy', 'test', NAME, 'restroyed');
  assert.deepEqual([code, /lifecycle:suspended/.test(stderr)], [2, true]);
});
