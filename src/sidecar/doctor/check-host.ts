// Units, the hook, the clock: what stands on every host that has siphon, whatever its config says.

import type { Facts, GuardFacts, HookFacts, UnitFacts } from './facts.ts';
import { type Finding, finding } from './findings.ts';

const INSTALL_HOOK = '/usr/lib/siphon/install-hook.sh install';
const HOOK = '/etc/libvirt/hooks/qemu.d/50-siphon';

export function checkHost({ host, configProblems }: Facts): Finding[] {
  return [
    ...configProblems.map((what) =>
      finding('config-mistake', 'config', what, 'siphon config check'),
    ),
    ...host.units.flatMap(checkUnit),
    ...checkHook(host.hook),
    ...host.missingAccounts.map((name) =>
      finding('account-missing', name, 'there is none', 'systemd-sysusers siphon.conf'),
    ),
    ...checkGuard(host.guard),
    ...(host.isClockSynchronised === false
      ? [finding('clock-unsynchronised', 'clock', 'NTPSynchronized=no')]
      : []),
    ...(host.isAppArmorActive
      ? [finding('apparmor', 'AppArmor', 'it is active; files named *.qcow2 need no rule')]
      : []),
  ];
}

export const POLKIT_RULE = '/usr/share/polkit-1/rules.d/50-siphon.rules';

function checkGuard({ why, isRuleThere }: GuardFacts): Finding[] {
  if (why === undefined) return [];
  if (!isRuleThere) {
    const again = 'apt-get install --reinstall siphon';
    return [finding('guard-rule-missing', POLKIT_RULE, 'there is no such file', again)];
  }
  const commands = [
    'systemctl unmask polkit',
    'systemctl restart polkit',
    'systemctl status polkit',
  ];
  return [
    finding('guard-refused', 'polkit', `siphon-libvirt may set no guard: ${why}`, ...commands),
  ];
}

const SERVICE = 'siphond.service';

function checkUnit(unit: UnitFacts): Finding[] {
  const { name } = unit;
  if (!unit.isLoaded) {
    const what = 'systemd knows no such unit';
    return [
      finding('unit-missing', name, what, 'bash scripts/install.sh', 'systemctl daemon-reload'),
    ];
  }
  const found: Finding[] = [];
  if (!unit.isEnabled)
    found.push(finding('unit-disabled', name, 'it is not enabled', `systemctl enable ${name}`));
  if (name !== SERVICE) return found;
  if (!unit.isActive) {
    const commands = ['systemctl start siphond', 'journalctl -u siphond -n 20'];
    found.push(finding('siphond-down', name, 'it does not run', ...commands));
  }
  if (!unit.before.includes('libvirtd.service')) {
    const what = 'it is not ordered before libvirtd.service';
    found.push(finding('unit-order', name, what, 'systemctl revert siphond.service'));
  }
  return found;
}

function checkHook({ state, words, copies, isBypassed }: HookFacts): Finding[] {
  return [
    ...copies.map((path) =>
      finding('hook-copy', path, 'libvirt runs it as well', `chmod -x '${path}'`),
    ),
    ...(isBypassed ? [finding('hook-bypassed', BYPASS, 'the file is there', `rm ${BYPASS}`)] : []),
    ...hookState(state, words),
  ];
}

export const BYPASS = '/run/siphon/bypass';

function hookState(state: HookFacts['state'], words: string): Finding[] {
  if (state === 'seen') return [];
  const found: Record<typeof state, Finding> = {
    missing: finding('hook-missing', HOOK, 'it is not installed', INSTALL_HOOK),
    'not-executable': finding('hook-not-executable', HOOK, 'no executable file', INSTALL_HOOK),
    'other-version': finding('hook-other-version', HOOK, 'it is of another version', INSTALL_HOOK),
    unseen: finding('hook-unseen', HOOK, words, 'systemctl reload libvirtd'),
    unknown: finding('hook-unknown', HOOK, words, HOOK_STATUS),
  };
  return [found[state]];
}

const HOOK_STATUS = '/usr/lib/siphon/install-hook.sh status';
