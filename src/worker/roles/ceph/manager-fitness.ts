// Which managers may be asked to flatten: one that dies of it takes the cluster's other work along. Pure.

/** Of one daemon, as `ceph mgr metadata` tells. */
export interface ManagerMetadata {
  readonly name?: string;
  readonly ceph_version?: string;
  readonly distro?: string;
  readonly distro_version?: string;
}

/**
 * Why none is asked, or undefined. Any of them may become the active one. Debian 13's Ceph 18 runs on Python 3.13, for which that Ceph was
 * not made: at the first task's progress the whole ceph-mgr ends by a segmentation fault in libpython (seen with 18.2.7).
 */
export function whyUnfit(managers: readonly ManagerMetadata[]): string | undefined {
  const found = managers.find(({ ceph_version, distro, distro_version }) => {
    const isEighteen = ceph_version?.startsWith('ceph version 18.') === true;
    return isEighteen && distro === 'debian' && distro_version === '13';
  });
  if (found === undefined) return undefined;
  return `manager ${found.name ?? ''} is Debian 13's Ceph 18, which dies of such tasks`;
}
