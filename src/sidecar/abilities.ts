// What of this host's libraries not every release has. librbd's is looked up by symbol in its worker; libvirt's goes by version,
// since what differs is what its daemon does. Pure.

import type { Ability } from '../wire/vocabulary.ts';

const LIBVIRT = [
  {
    name: 'release-reason',
    since: [10, 5],
    without:
      'why a domain stopped is read from its state, and not known of a transient one: then nothing is taken while a disk of it is open anywhere',
  },
  {
    name: 'rbd-namespace',
    since: [11, 6],
    without: 'domains whose disks are in an RBD namespace do not start',
  },
] as const;

/** Of a libvirt of this version, as `11.3.0`. */
export function libvirtAbilities(version: string): readonly Ability[] {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return LIBVIRT.map(({ name, since: [sinceMajor, sinceMinor], without }) => {
    const isPresent = major > sinceMajor || (major === sinceMajor && minor >= sinceMinor);
    return { of: 'libvirt', name, isPresent, without };
  });
}
