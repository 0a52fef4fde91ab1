// Looks at libvirt's domains, through a worker of its own.

import { setTimeout as delay } from 'node:timers/promises';
import { parseDomain } from '../../domain/domain.ts';
import type { LibvirtEvent, LibvirtMethods } from '../../wire/worker-protocol.ts';
import { startWorker, type Worker, type WorkerProgram } from '../../worker/supervisor/index.ts';
import { workerProgram } from '../worker-program.ts';
import { asUser, LOOK_MS_MAX } from './bounds.ts';
import type { DomainFacts, LibvirtFacts } from './facts.ts';

/** Of more domains the rest is left out. */
const DOMAINS_MAX = 200;

export const QUIET = { info: () => undefined, warn: () => undefined };
/** An examination leaves nothing behind: a worker that does not end at once is killed. */
export const BRIEF = { startMs: LOOK_MS_MAX, graceMs: 500, endMs: 500 };

/** As the user of siphond's libvirt worker; as root where that one is not let in, so that all the rest is seen. */
export async function gatherLibvirt(uri: string): Promise<LibvirtFacts> {
  const { execPath, args } = workerProgram();
  const own = [...asUser('siphon-libvirt'), execPath, ...args];
  const asWorker = await lookAs({ execPath: 'setpriv', args: own }, uri);
  if (asWorker.kind === 'answers') return asWorker;
  const asRoot = await lookAs({ execPath, args }, uri);
  return asRoot.kind === 'answers' ? { ...asRoot, whyClosed: asWorker.why } : asRoot;
}

async function lookAs(program: WorkerProgram, uri: string): Promise<LibvirtFacts> {
  const first = Promise.withResolvers<LibvirtEvent>();
  await using worker = startWorker<LibvirtMethods, LibvirtEvent>({
    role: 'libvirt',
    settings: { uri },
    program,
    log: QUIET,
    limits: BRIEF,
    onEvent: first.resolve,
  });
  const endMs = performance.now() + LOOK_MS_MAX;
  const late = { what: 'closed', why: `no answer within ${LOOK_MS_MAX / 1000} s` } as const;
  const stop = new AbortController();
  const event = await Promise.race([
    first.promise,
    delay(LOOK_MS_MAX, late, { signal: stop.signal }),
  ]);
  stop.abort();
  if (event.what === 'closed') return { kind: 'silent', why: event.why };
  try {
    return await ask(worker, () => ({ deadlineMs: Math.max(100, endMs - performance.now()) }));
  } catch (error) {
    return { kind: 'silent', why: (error as Error).message };
  }
}

async function ask(
  worker: Worker<LibvirtMethods>,
  soon: () => { readonly deadlineMs: number },
): Promise<LibvirtFacts> {
  const [versions, summaries] = await Promise.all([
    worker.call('versions', {}, soon()),
    worker.call('listDomains', {}, soon()),
  ]);
  const domains = await Promise.all(
    summaries.slice(0, DOMAINS_MAX).map(async ({ uuid, isPersistent }) => {
      const asked = { domain: uuid, inactive: isPersistent };
      return factsOf(await worker.call('domainXml', asked, soon()));
    }),
  );
  return { kind: 'answers', versions, domains };
}

/** A domain's XML to what the doctor needs of it. */
export function factsOf(xml: string): DomainFacts {
  const { name, disks } = parseDomain(xml);
  const rbd = disks.flatMap(({ source }) => (source.kind === 'rbd' ? [source] : []));
  return {
    name,
    hasAgentChannel: /name=['"]org\.qemu\.guest_agent\.0['"]/.test(xml),
    disks: rbd.map(({ pool, namespace, image, user }) => ({
      pool,
      namespace,
      image,
      ...(user !== undefined && { user }),
    })),
  };
}
