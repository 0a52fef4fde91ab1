// Looks at each cluster as each of its users, through workers of its own.

import { readFile } from 'node:fs/promises';
import type { Pools } from '../../wire/caps.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { Ability } from '../../wire/vocabulary.ts';
import type { CephMethods, CephSettings, ImageAt } from '../../wire/worker-protocol.ts';
import { startWorker, type Worker } from '../../worker/supervisor/index.ts';
import type { ClusterConfig } from '../config/load.ts';
import { workerProgram } from '../worker-program.ts';
import { LOOK_MS_MAX, mayRead } from './bounds.ts';
import type { ClusterFacts, Job, Trial, UserFacts, VmKeyFacts } from './facts.ts';
import { BRIEF, QUIET } from './gather-libvirt.ts';
import { findKey } from './keyring.ts';

/** librados' own end comes before ours, and says more. */
const CEPH_MS_MAX = 3000;

export interface CephLook {
  readonly pools: Pools;
  readonly disks: readonly ImageAt[];
  readonly vmUsers: readonly string[];
}

export async function gatherCluster(
  { name, settings, isTickPoolStated }: ClusterConfig,
  { pools, disks, vmUsers }: CephLook,
): Promise<ClusterFacts> {
  const conf = await readConf(settings.conf);
  const facts = { name, settings, isTickPoolStated, pools, conf: conf.state };
  if (conf.text === undefined)
    return { ...facts, closed: [], users: [], vmKeys: [], abilities: [] };
  const text = conf.text;
  const names = [...new Set(Object.values(settings.users).map((user) => user.name))];
  await using worker = open(settings);
  const [users, vmKeys, abilities] = await Promise.all([
    Promise.all(names.map((user) => gatherUser(worker, settings, text, user, { pools, disks }))),
    gatherVmKeys(settings, text, vmUsers),
    gatherAbilities(worker),
  ]);
  const keyrings = users.flatMap(({ key }) => (key.kind === 'there' ? [key.file] : []));
  const closed = await closedAmong([settings.conf, ...keyrings]);
  return { ...facts, closed, users, vmKeys, abilities };
}

async function gatherAbilities(worker: Worker<CephMethods>): Promise<readonly Ability[]> {
  try {
    return await worker.call('abilities', {}, { deadlineMs: LOOK_MS_MAX });
  } catch (error) {
    // A worker that does not start is told as that by its users.
    if (!(error instanceof OperatingError)) throw error;
    return [];
  }
}

/** Which of these files siphond's user may not read. */
async function closedAmong(files: readonly string[]): Promise<string[]> {
  const looked = await Promise.all(
    [...new Set(files)].map(async (file) => ({ file, isOpen: await mayRead('siphon', file) })),
  );
  return looked.filter(({ isOpen }) => !isOpen).map(({ file }) => file);
}

function open(settings: CephSettings): Worker<CephMethods> {
  return startWorker<CephMethods>({
    role: 'ceph',
    settings: { ...settings, timeoutMs: Math.min(CEPH_MS_MAX, settings.timeoutMs) },
    program: workerProgram(),
    log: QUIET,
    limits: BRIEF,
  });
}

async function readConf(
  file: string,
): Promise<{ readonly state: ClusterFacts['conf']; readonly text?: string }> {
  try {
    return { state: 'readable', text: await readFile(file, 'utf8') };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return { state: code === 'ENOENT' ? 'missing' : 'unreadable' };
  }
}

const JOBS: readonly Job[] = ['fill', 'snapshot', 'publish', 'restore'];

async function gatherUser(
  worker: Worker<CephMethods>,
  { users, tickPool }: CephSettings,
  conf: string,
  name: string,
  { pools, disks }: Pick<CephLook, 'pools' | 'disks'>,
): Promise<UserFacts> {
  const jobs = JOBS.filter((job) => users[job]?.name === name);
  const key = await findKey(conf, users[jobs[0] ?? 'fill'] ?? users.fill);
  const trials = jobs.map(async (job) => {
    if (key.kind !== 'there') return { job, trial: { kind: 'not-tried' } as const };
    const isSnapshot = job === 'snapshot';
    const params = {
      as: job,
      pools: isSnapshot || job === 'restore' ? pools.vms : pools.images,
      disks: isSnapshot ? disks : [],
      ...(isSnapshot && tickPool !== undefined && { tickPool }),
    };
    return { job, trial: await attempt(worker, params) };
  });
  return { name, key, trials: await Promise.all(trials) };
}

async function attempt(
  worker: Worker<CephMethods>,
  params: CephMethods['examine']['params'],
): Promise<Trial> {
  try {
    const examined = await worker.call('examine', params, { deadlineMs: LOOK_MS_MAX });
    return { kind: 'told', examined };
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { kind: 'failed', code: error.code, why: error.why };
  }
}

const ADMIN = { name: 'admin' };

/** As the admin, where its key is on this host: nobody else may read caps. */
async function gatherVmKeys(
  settings: CephSettings,
  conf: string,
  users: readonly string[],
): Promise<VmKeyFacts[]> {
  if (users.length === 0) return [];
  if ((await findKey(conf, ADMIN)).kind !== 'there') return users.map((user) => ({ user }));
  await using worker = open({
    ...settings,
    users: { fill: ADMIN, snapshot: ADMIN, publish: ADMIN },
  });
  return await Promise.all(users.map((user) => capsOf(worker, user)));
}

async function capsOf(worker: Worker<CephMethods>, user: string): Promise<VmKeyFacts> {
  try {
    const asked = { entity: `client.${user}` };
    const { caps } = await worker.call('readCaps', asked, { deadlineMs: LOOK_MS_MAX });
    return caps === undefined ? { user } : { user, monCaps: caps['mon'] ?? '' };
  } catch (error) {
    // A cluster that does not answer is told as that by siphon's own users.
    if (!(error instanceof OperatingError)) throw error;
    return { user };
  }
}
