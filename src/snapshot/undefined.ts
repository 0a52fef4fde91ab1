// A domain that libvirt has undefined: whoever did that may go on to delete its disks, and a snapshot that is left on them keeps
// Nova and Cinder from it.

import { OperatingError } from '../wire/errors.ts';
import { DEADLINE_MS } from './deadlines.ts';
import type { SnapshotParts } from './ports.ts';
import type { Prune } from './prune.ts';

/**
 * Nova undefines a domain and defines it anew each time that it starts it (nova/virt/libvirt/driver.py, _hard_reboot); when it deletes
 * one, it tries to delete the disk for a minute (rbd_destroy_volume_retries).
 */
export const UNDEFINED_SETTLE_MS = 15_000;

/** `ended`: a set of its last stop that is under way. */
export async function afterUndefine(
  parts: Pick<SnapshotParts, 'libvirt' | 'wait' | 'log'>,
  prune: Prune,
  domainUuid: string,
  ended: Promise<unknown> | undefined,
): Promise<void> {
  await parts.wait(UNDEFINED_SETTLE_MS, new AbortController().signal);
  await ended?.catch(() => undefined); // its own job says how it ended
  if (!(await isGone(parts, domainUuid))) return;
  const sets = prune.clearWay(domainUuid);
  const said = 'sets on disks of Nova or Cinder whose domain is undefined are removed';
  if (sets > 0) parts.log.info({ domain: domainUuid, sets }, said);
}

async function isGone(
  { libvirt, log }: Pick<SnapshotParts, 'libvirt' | 'log'>,
  domain: string,
): Promise<boolean> {
  try {
    await libvirt.call('lookUp', { domain }, DEADLINE_MS.libvirt);
    return false;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    if (error.code === 'not-found') return true;
    // Then they go by their age.
    log.warn({ domain, error: error.toWire() }, 'whether a domain is gone could not be told');
    return false;
  }
}
