// What libvirt and the guest's agent say of a domain that is to be held.

import {
  blockJob,
  type Domain,
  freezeStatus,
  isLibvirtError,
  jobStatistics,
  LibvirtError,
  VIR_ERR,
} from 'node-libvirt';
import { parseDomain } from '../../../domain/domain.ts';
import type { DomainFacts, FreezeFacts } from './decide-hold.ts';

export async function lookAt(domain: Domain, agentSeconds: number): Promise<DomainFacts> {
  const status = await domain.status();
  if (status.state !== 'running') {
    return { status, blockJobs: [], freeze: { kind: 'silent', why: 'it does not run' } };
  }
  const job = await jobOf(domain);
  const blockJobs = await blockJobsOf(domain);
  const freeze = await freezeOf(domain, agentSeconds);
  return { status, ...(job !== undefined && { job }), blockJobs, freeze };
}

/** The job that runs; asks no QEMU where there is none. */
export async function jobOf(domain: Domain): Promise<string | undefined> {
  const { type, operation } = await jobStatistics(domain);
  return type === 'bounded' || type === 'unbounded' ? operation : undefined;
}

async function blockJobsOf(domain: Domain): Promise<DomainFacts['blockJobs']> {
  const { disks } = parseDomain(await domain.xml());
  const found = [];
  for (const { target } of disks) {
    const job = await blockJob(domain, target);
    if (job) found.push({ disk: target, type: job.type });
  }
  return found;
}

/** Whatever an agent answers that is no status: it did not say. */
export async function freezeOf(domain: Domain, seconds: number): Promise<FreezeFacts> {
  try {
    return { kind: await freezeStatus(domain, seconds) };
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    const isAbsent = isLibvirtError(error, VIR_ERR.ARGUMENT_UNSUPPORTED);
    return { kind: isAbsent ? 'absent' : 'silent', why: error.message };
  }
}
