// What a worker may become is said by who starts it, not by who speaks to it: one that systemd starts as another user is not to do
// more for siphond than its unit says.

import { OperatingError } from '../wire/errors.ts';
import type { LibvirtSettings, WorkerRole } from '../wire/worker-protocol.ts';
import type { StartRole } from './role.ts';

type Roles = Readonly<Record<WorkerRole, () => Promise<StartRole>>>;

export interface Bounds {
  /** The only role; undefined: any. */
  readonly role: string | undefined;
  /** The only libvirt URI; undefined: any. A URI may name a command that libvirt then runs. */
  readonly uri: string | undefined;
}

/** The same roles, of which each that is out of bounds answers `denied`. */
export function confine(roles: Roles, { role, uri }: Bounds): Roles {
  const only = (name: WorkerRole) => async (): Promise<StartRole> => {
    if (role !== undefined && role !== name) throw denied(name, `it was started as ${role} alone`);
    const start = await roles[name]();
    return (settings, emit) => {
      if (name === 'libvirt') checkUri(settings as LibvirtSettings, uri);
      return start(settings, emit);
    };
  };
  return {
    ceph: only('ceph'),
    libvirt: only('libvirt'),
    fill: only('fill'),
    transfer: only('transfer'),
  };
}

function checkUri({ uri }: LibvirtSettings, only: string | undefined): void {
  if (only === undefined || uri === only) return;
  const hint = 'State it in ExecStart= as well: systemctl edit siphon-libvirt@.service';
  throw denied(uri, `its unit says ${only}`, hint);
}

function denied(subject: string, why: string, hint?: string): OperatingError {
  const fields = { code: 'denied', op: 'start worker', subject, why } as const;
  return new OperatingError(hint === undefined ? fields : { ...fields, hint });
}
