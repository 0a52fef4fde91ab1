// Why a domain stopped, where libvirt does not tell with `release` (before 10.5.0): its state says so while the domain is defined
// and off. Of one that is gone nobody knows; what its disks show then decides.

import { parseDomain } from '../domain/domain.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Job } from '../wire/journal.ts';
import type { ReleaseReason } from '../wire/vocabulary.ts';
import type { Control } from './control.ts';
import { DEADLINE_MS } from './deadlines.ts';
import { evaluate } from './evaluate.ts';
import type { Draft } from './job-data.ts';
import type { SnapshotParts } from './ports.ts';

/** The draft with its reason and the policy that names it. @throws OperatingError refused: none is to be taken; unavailable */
export async function learnReason(
  parts: SnapshotParts,
  job: Job,
  draft: Draft,
  control: Control,
): Promise<Draft> {
  if (draft.event !== 'release' || draft.policy !== undefined) return draft;
  const domain = parseDomain(draft.domainXml);
  const told = await control.asking(() => askReason(parts, domain.uuid, draft));
  if (told === 'active') throw skipped(draft, 'the domain runs again');
  const reason = told ?? 'unknown';
  // Where even libvirt cannot tell it, whichever policy asks for any reason is meant.
  const asked = evaluate(parts.policies(), domain, {
    event: 'release',
    ...(told !== undefined && { reason: told }),
  });
  const { wanted = draft.wanted, policy } = asked.kind === 'take' ? asked : {};
  const known = { ...draft, reason, wanted, ...(policy && { policy }) };
  job.step('looking', { draft: known });
  if (asked.kind === 'nothing') throw skipped(draft, asked.why);
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
