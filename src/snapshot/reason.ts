// Why a domain stopped, where libvirt does not tell with `release` (before 10.5.0): its state says so while the domain is defined
// and off. Of one that is gone nobody knows; what its disks show then decides.

import { parseDomain } from '../domain/domain.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Job } from '../wire/journal.ts';
import type { ReleaseReason } from '../wire/vocabulary.ts';
import type { Control } from './control.ts';
import { DEADLINE_MS } from './deadlines.ts';
import { whyNever } from './decide.ts';
import type { Draft } from './job-data.ts';
import { matchPolicy, type Policy } from './policy.ts';
import type { SnapshotParts } from './ports.ts';

/** What a set keeps of the policy that asked for it. */
export function keptBy({ name, keepLast }: Policy): NonNullable<Draft['policy']> {
  return { name, keepLast };
}

/** The draft with its reason and the policy that names it. @throws OperatingError refused: none is to be taken; unavailable */
export async function learnReason(
  parts: SnapshotParts,
  job: Job,
  draft: Draft,
  control: Control,
): Promise<Draft> {
  if (draft.event !== 'release' || draft.policy !== undefined) return draft;
  const { uuid, name } = parseDomain(draft.domainXml);
  const told = await control.asking(() => askReason(parts, uuid, draft));
  if (told === 'active') throw skipped(draft, 'the domain runs again');
  const policy = matchPolicy(parts.policies(), name, told);
  const reason = told ?? 'unknown';
  const known = { ...draft, reason, ...(policy && { policy: keptBy(policy) }) };
  job.step('looking', { draft: known });
  const never = whyNever(reason);
  if (never !== undefined) throw skipped(draft, never);
  if (policy === undefined) throw skipped(draft, `no policy asks for a set after '${reason}'`);
  return known;
}

async function askReason(
  { libvirt }: SnapshotParts,
  uuid: string,
  { isLate }: Draft,
): Promise<ReleaseReason | 'active' | undefined> {
  try {
    const stop = await libvirt.call('lastStop', { domain: uuid }, DEADLINE_MS.libvirt);
    return stop.isActive ? 'active' : stop.reason;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    // It was transient, or is undefined by now.
    if (error.code === 'not-found') return undefined;
    // libvirtd goes down with its host, and after the next boot the guest runs again: now or never.
    if (error.code === 'unavailable' && !isLate) return undefined;
    throw error;
  }
}

function skipped({ setId }: Draft, why: string): OperatingError {
  const fields = { code: 'refused', op: 'take snapshot set', subject: setId } as const;
  return new OperatingError({ ...fields, why: `skipped: ${why}` });
}
