// `siphon start DOMAIN`: warms what the domain stands on, with no hook's budget to beat, then starts it.

import { parseDomain } from '../domain/domain.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Job, JobProgress, Journal } from '../wire/journal.ts';
import type { LibvirtPort } from '../wire/ports.ts';
import type { DomainSummary } from '../wire/worker-protocol.ts';
import type { DomainBases } from './bases-port.ts';
import { deadline, orAborted } from './deadline.ts';

const LOOK_MS_MAX = 40_000;
const WALK_MS_MAX = 30_000;
/** A start may wait for the hook's whole budget, and for a slow QEMU. */
const START_MS_MAX = 180_000;

export interface StartParts {
  readonly libvirt: LibvirtPort;
  readonly journal: Journal;
  readonly bases: Pick<DomainBases, 'needsOf' | 'warm'>;
  /** A programmer's error in the background. */
  readonly onDefect: (error: unknown) => void;
}

/** Begins the job, once libvirt knows the domain. @throws OperatingError: not-found, refused (it runs already) */
export async function startDomain(
  parts: StartParts,
  name: string,
): Promise<{ kind: 'job'; id: string }> {
  const found = await parts.libvirt.call('lookUp', { domain: name }, { deadlineMs: LOOK_MS_MAX });
  if (found.isActive) {
    throw new OperatingError({
      code: 'refused',
      op: 'start',
      subject: found.name,
      why: 'it runs already',
    });
  }
  const job = parts.journal.begin('start', found.name, { uuid: found.uuid });
  run(parts, job, found).then(
    () => job.done({ domain: found.name }),
    (error: unknown) => {
      if (error instanceof OperatingError) job.failed(error.toWire());
      else parts.onDefect(error);
    },
  );
  return { kind: 'job', id: job.id };
}

async function run(
  { libvirt, bases }: StartParts,
  job: Job,
  { uuid }: DomainSummary,
): Promise<void> {
  const { signal } = job;
  const xml = await libvirt.call(
    'domainXml',
    { domain: uuid, inactive: true },
    { deadlineMs: LOOK_MS_MAX, signal },
  );
  using walking = deadline(WALK_MS_MAX, { op: 'read chains', subject: uuid }, signal);
  const needs = await orAborted(bases.needsOf(parseDomain(xml), walking.signal), walking.signal);
  job.step('warm', { uuid });
  const ids = new Set(needs.flatMap((disk) => disk.bases.map((base) => base.id)));
  const progress = new Map<string, JobProgress>();
  const tell = (id: string, each: JobProgress) => {
    progress.set(id, each);
    job.progress(sum([...progress.values()]));
  };
  // A cancel leaves the fills to themselves: others may wait for them.
  await orAborted(
    Promise.all([...ids].map((id) => bases.warm(id, (each) => tell(id, each)))),
    signal,
  );
  job.step('start', { uuid });
  await libvirt.call('start', { domain: uuid }, { deadlineMs: START_MS_MAX, signal });
}

function sum(all: readonly JobProgress[]): JobProgress {
  const of = (key: 'doneBytes' | 'totalBytes') => all.reduce((total, each) => total + each[key], 0);
  const bytes = { doneBytes: of('doneBytes'), totalBytes: of('totalBytes') };
  // They pass at the same time: the longest tells. One that does not tell makes all of them unknown.
  const remaining = all.map((each) => each.remainingMs);
  if (!remaining.every((each) => each !== undefined)) return bytes;
  return { ...bytes, remainingMs: Math.max(...remaining) };
}
