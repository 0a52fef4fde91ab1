// What the config names on this host: sockets, spool, disk, policies, siphond and libvirt.

import { formatSize } from '../../wire/size.ts';
import { libvirtAbilities } from '../abilities.ts';
import { checkAbilities } from './check-ceph.ts';
import type { DiskFacts, Facts, SiphondFacts, SiteFacts, SocketFacts } from './facts.ts';
import { type Finding, finding } from './findings.ts';

/** An event is taken up within seconds; one that is older waits for something. */
const SPOOL_MS_MAX = 60_000;
const STATE_BYTES_MIN = 64 * 1024 * 1024;

export function checkSite(facts: Facts, site: SiteFacts): Finding[] {
  return [
    ...site.policyProblems.map(({ where, what }) =>
      finding('policies-mistake', where, what, `editor ${where.split(':')[0]}`),
    ),
    ...site.sockets.flatMap(checkSocket),
    ...checkSpool(facts.nowMs, site),
    ...checkMount(site),
    ...checkSpace(site),
    ...checkLabels(site.disk, site.config.cache.path),
    ...checkSiphond(facts, site.siphond),
    ...checkLibvirt(site),
  ];
}

function checkSocket({ path, mode, modeWanted, group, groupWanted }: SocketFacts): Finding[] {
  const again =
    'systemctl restart siphond.socket siphon-hook.socket siphon-read.socket siphon-libvirt.socket siphond';
  if (mode === undefined) return [finding('socket-missing', path, 'there is no socket', again)];
  if (mode === modeWanted && group === groupWanted) return [];
  const [is, must] = [mode.toString(8), modeWanted.toString(8)];
  const what = `it is ${is} of the group ${group}, not ${must} of ${groupWanted}`;
  const commands = [`chgrp ${groupWanted} '${path}'`, `chmod ${must} '${path}'`];
  return [finding('socket-mode', path, what, ...commands)];
}

function checkSpool(nowMs: number, { spool, config }: SiteFacts): Finding[] {
  const folder = config.hook.spool;
  const found: Finding[] = [];
  const ageMs = nowMs - (spool.oldestMs ?? nowMs);
  if (ageMs > SPOOL_MS_MAX) {
    const what = `${spool.events} events wait, the oldest for ${Math.round(ageMs / 1000)} s`;
    const commands = ['systemctl restart siphond', 'journalctl -u siphond -n 20'];
    found.push(finding('spool-backlog', folder, what, ...commands));
  }
  if (spool.bad > 0) {
    const what = `${spool.bad} files were set aside in ${folder}/bad`;
    found.push(finding('spool-bad', folder, what, `ls -l ${folder}/bad`, `rm -r ${folder}/bad`));
  }
  return found;
}

function checkMount({ disk, config }: SiteFacts): Finding[] {
  const { mount, path } = config.cache;
  if (disk.mount === 'read-only') return [];
  const start = 'systemctl start var-lib-siphon-bases.mount';
  const close = `mount -o remount,bind,ro ${mount}`;
  const found: Record<typeof disk.mount, Finding> = {
    missing: finding('mount-missing', mount, 'nothing is mounted there', start),
    writable: finding('mount-writable', mount, 'it can be written to', close),
    other: finding('mount-other', mount, `it is not a view of ${path}`, `umount ${mount}`, start),
  };
  return [found[disk.mount]];
}

function checkSpace({ disk, config }: SiteFacts): Finding[] {
  const { path, reserveBytes, limitBytes } = config.cache;
  const found: Finding[] = [];
  if (disk.bases === 'missing')
    found.push(
      finding(
        'bases-missing',
        path,
        'there is no such folder',
        `install -d -o siphon -g siphon -m 755 ${path}`,
      ),
    );
  if (disk.bases === 'closed')
    found.push(finding('bases-closed', path, 'not everybody may enter it', `chmod o+x ${path}`));
  const { folder } = config.publish;
  if (disk.isSnapshotsClosed === true && folder !== undefined) {
    const make = `install -d -o siphon -g siphon -m 750 ${folder}`;
    found.push(
      finding(
        'snapshots-folder',
        folder,
        'it is not there, or not writable for the user siphon',
        make,
      ),
    );
  }
  const { freeBytes, totalBytes, stateFreeBytes } = disk;
  if (freeBytes !== undefined && freeBytes < reserveBytes) {
    const what = `${formatSize(freeBytes)} are free, and cache.reserve is ${formatSize(reserveBytes)}`;
    found.push(finding('disk-reserve', path, what, 'siphon evict', `df -h ${path}`));
  }
  if (totalBytes !== undefined && totalBytes < limitBytes) {
    const what = `cache.limit is ${formatSize(limitBytes)} of a disk of ${formatSize(totalBytes)}`;
    found.push(finding('disk-limit', path, what, 'editor /etc/siphon/siphon.toml'));
  }
  if (stateFreeBytes !== undefined && stateFreeBytes < STATE_BYTES_MIN) {
    const what = `${formatSize(stateFreeBytes)} are free`;
    found.push(finding('state-disk-full', config.state.path, what, `df -h ${config.state.path}`));
  }
  return found;
}

const SELINUX_TYPES: readonly string[] = ['virt_image_t', 'virt_content_t', 'svirt_image_t'];

function checkLabels({ selinuxType, canReflink }: DiskFacts, path: string): Finding[] {
  const found: Finding[] = [];
  if (selinuxType !== undefined && !SELINUX_TYPES.includes(selinuxType)) {
    const what = `its type is ${selinuxType}`;
    const label = `semanage fcontext -a -t virt_content_t '${path}(/.*)?'`;
    found.push(finding('selinux-label', path, what, label, `restorecon -R ${path}`));
  }
  if (canReflink !== undefined)
    found.push(finding('reflink', path, canReflink ? 'yes, they can' : 'no, they cannot'));
  return found;
}

function checkSiphond({ version, host }: Facts, siphond: SiphondFacts): Finding[] {
  if (siphond.kind === 'silent') {
    const runs = host.units.some((unit) => unit.name === 'siphond.service' && unit.isActive);
    // One that is down was said to be.
    if (!runs) return [];
    return [finding('siphond-silent', 'siphond', siphond.why, 'systemctl restart siphond')];
  }
  const { status, suspects } = siphond;
  const isOther = status.version !== version;
  const { absent, why } = status.fillGroup;
  return [
    ...(isOther
      ? [
          finding(
            'siphond-other-version',
            'siphond',
            `${status.version} runs, ${version} is installed`,
            'systemctl restart siphond',
          ),
        ]
      : []),
    ...status.problems.map(({ where, what }) =>
      finding('siphond-problem', where, what, 'siphon status'),
    ),
    ...(absent.length > 0
      ? [finding('fill-limits', 'siphond', `no controllers: ${absent.join(', ')}`)]
      : []),
    ...(why === undefined ? [] : [finding('fill-limits', 'siphond', why)]),
    ...suspects.map((base) =>
      finding(
        'base-suspect',
        base,
        'it is set aside, and no domain may use it',
        `siphon evict ${base}`,
        `siphon warm ${base}`,
      ),
    ),
  ];
}

function checkLibvirt({ libvirt, config }: SiteFacts): Finding[] {
  if (libvirt.kind === 'silent')
    return [finding('libvirt-down', config.libvirt.uri, libvirt.why, 'systemctl start libvirtd')];
  const { versions, domains, whyClosed } = libvirt;
  const join = ['usermod -aG libvirt siphon-libvirt', 'systemctl restart siphond'];
  const without = domains.filter((each) => !each.hasAgentChannel).map((each) => each.name);
  const what = `${without.length} of ${domains.length} domains have none: ${without.slice(0, 5).join(', ')}`;
  return [
    ...(whyClosed === undefined
      ? []
      : [finding('libvirt-closed', config.libvirt.uri, `siphon-libvirt: ${whyClosed}`, ...join)]),
    finding('versions', 'libvirt', `libvirt ${versions.libvirt}, QEMU ${versions.hypervisor}`),
    ...checkAbilities(libvirtAbilities(versions.libvirt)),
    ...(without.length > 0 ? [finding('agent-channel', 'guest agent', what)] : []),
  ];
}
