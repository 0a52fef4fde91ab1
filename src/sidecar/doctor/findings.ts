// What can be wrong on a host: each finding's code, how much it matters, and why. The checks add where, what, and what to type.

/** `wrong`: something of siphon does not work. `risk`: it will not, or a guest may be harmed. `note`: good to know, no finding. */
export type Severity = 'wrong' | 'risk' | 'note';

export interface FindingKind {
  readonly severity: Severity;
  readonly why: string;
}

const wrong = (why: string) => ({ severity: 'wrong', why }) as const;
const risk = (why: string) => ({ severity: 'risk', why }) as const;
const note = (why: string) => ({ severity: 'note', why }) as const;

/** Every finding that there is; docs/doctor.md lists them. */
export const FINDINGS = {
  'config-mistake': wrong('siphond neither starts with it nor takes up a change'),
  'policies-mistake': wrong('no snapshot is taken by a policy that cannot be read'),
  'siphond-down': wrong('no fill, no snapshot: domains start as without siphon'),
  'siphond-silent': wrong('it runs and does not answer: the hook spools and goes on'),
  'siphond-other-version': risk('an old siphond runs beside new files'),
  'siphond-problem': wrong('siphond itself reports it'),
  'unit-missing': wrong('siphon is not installed whole'),
  'unit-disabled': risk('it does not come back at the next boot'),
  'unit-order': risk('domains that start at boot would not find siphon'),
  'socket-missing': wrong('nobody reaches siphond on it'),
  'socket-mode': risk('modes and groups are the access control'),
  'account-missing': wrong('siphon runs as users of its own, and its groups say who may reach it'),
  'spool-backlog': risk('what the hook told while siphond was away is not taken up'),
  'spool-bad': risk('events that nobody could read were set aside: a snapshot may be missing'),
  'hook-missing': wrong('domains neither wait for their bases nor leave snapshots'),
  'hook-not-executable': wrong('libvirt does not run it'),
  'hook-other-version': risk('hook and siphond may not understand each other'),
  'hook-unseen': wrong('libvirt looks for its first hook only when it starts or is reloaded'),
  'hook-copy': risk('libvirt runs every executable file of its folder: twice the work'),
  'hook-bypassed': risk('the hook leaves at once: nothing is filled nor snapshotted'),
  'hook-unknown': wrong("the hook's state cannot be told"),
  'mount-missing': wrong('overlays name bases under it: their domains do not start'),
  'mount-writable': risk('libvirt could change the owner of a base, or commit into it'),
  'mount-other': wrong('guests see another folder than the one siphond fills'),
  'bases-missing': wrong('there is nowhere to fill a base'),
  'bases-closed': wrong("QEMU's user cannot reach the bases"),
  'snapshots-folder': wrong('no disk of a set becomes a file'),
  'disk-reserve': wrong('every fill is refused until space is free'),
  'disk-limit': risk('the disk is full before anything is evicted'),
  'state-disk-full': wrong('siphond cannot write down what it is about to do, so it does nothing'),
  'base-suspect': risk("the file under a base's name is not what it must be"),
  'selinux-label': risk('QEMU may not read files of this label'),
  'libvirt-down': wrong('domains are neither seen nor started'),
  'guard-rule-missing': wrong(
    'a running domain is only held under a guard: no set of one is taken',
  ),
  'guard-refused': wrong('a running domain is only held under a guard: no set of one is taken'),
  'libvirt-closed': wrong('the libvirt worker is another user than root, and is not let in'),
  'conf-missing': wrong('without it there is no cluster'),
  'conf-malformed': wrong('librados cannot read it'),
  'keyring-unreadable': wrong('this user cannot connect'),
  'ceph-file-closed': wrong('siphond and its workers are the user siphon, who may not read it'),
  'key-missing': wrong('this user cannot connect'),
  'key-type': wrong('the client that is installed cannot read a key of this type'),
  'key-wrong': wrong('the monitors do not accept it'),
  'fsid-wrong': wrong('siphon refuses to work with another cluster than the one that was meant'),
  'monitors-silent': wrong('nothing can be filled nor snapshotted'),
  'ceph-untold': wrong('whether this user may do its work could not be told'),
  'pool-missing': wrong('what siphon is to read or write is not there'),
  'caps-missing': wrong('this user may not do its work there'),
  'tick-pool-missing': risk(
    'snapshot ids that foresee commits are of a disk’s pool, whose placement groups trim each',
  ),
  'tick-pool-closed': risk(
    'snapshot ids that foresee commits are of a disk’s pool, whose placement groups trim each',
  ),
  'may-blocklist': risk('librbd would then blocklist a QEMU that hangs: its disk is lost to it'),
  'vm-key-cannot-break-locks': risk(
    "the domain's writes fail for good after a client of its disk died",
  ),
  'cluster-unhealthy': risk('fills and snapshots may hang until their deadlines'),
  'clock-skew': risk('keys expire by the clock: connections fail'),
  'disk-missing': risk('the domain does not start, and cannot be snapshotted'),
  'disk-without-lock': risk('whether somebody writes to the disk cannot be told'),
  apparmor: note('a base under a qcow2 image that is in RBD needs a rule'),
  'agent-channel': note('without one a guest cannot freeze its file systems'),
  'clock-unsynchronised': note("systemd knows of nothing that keeps this host's clock"),
  'fill-limits': note('this host does not limit what fills take of it'),
  'cluster-warning': note('the cluster warns of something that does not touch siphon'),
  'pools-unknown': note('no pool is known to be used: name them with --images and --vms'),
  'vm-key-unchecked': note(
    'only a user that may read keys can look: run it where the admin key is',
  ),
  reflink: note('whether copies of a base can share its blocks'),
  abilities: note('what this release of librbd or libvirt does not have'),
  versions: note('what is installed'),
} as const satisfies Record<string, FindingKind>;

export type FindingCode = keyof typeof FINDINGS;

export interface Finding extends FindingKind {
  readonly code: FindingCode;
  /** What it is about: a file, a unit, a user, a pool. */
  readonly subject: string;
  readonly what: string;
  /** Commands, in their order; none for a note. */
  readonly type: readonly string[];
}

export function finding(
  code: FindingCode,
  subject: string,
  what: string,
  ...type: readonly string[]
): Finding {
  return { code, ...FINDINGS[code], subject, what, type };
}

/** Findings proper: all but notes. */
export function isWrong({ severity }: Finding): boolean {
  return severity !== 'note';
}
