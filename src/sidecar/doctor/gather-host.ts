// Looks at units, hook, clock: facts that need no config.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { asUser, look } from './bounds.ts';
import { BYPASS, POLKIT_RULE } from './check-host.ts';
import type { GuardFacts, HookFacts, HostFacts, UnitFacts } from './facts.ts';

export async function gatherHost(): Promise<HostFacts> {
  const [hook, units, clock, missing, apparmor, guard] = await Promise.all([
    lookAtHook(),
    lookAtUnits(),
    look('timedatectl', 'show', '-P', 'NTPSynchronized'),
    missingAccounts(),
    readFile('/sys/module/apparmor/parameters/enabled', 'utf8').catch(() => ''),
    lookAtGuard(),
  ]);
  return {
    hook,
    units,
    ...(clock.code === 0 && { isClockSynchronised: clock.stdout.trim() === 'yes' }),
    missingAccounts: missing,
    isAppArmorActive: apparmor.startsWith('Y'),
    guard,
  };
}

const ACCOUNTS = [
  ['passwd', 'siphon'],
  ['passwd', 'siphon-libvirt'],
  ['group', 'siphon-admin'],
  ['group', 'siphon-read'],
] as const;

async function missingAccounts(): Promise<string[]> {
  const looked = await Promise.all(ACCOUNTS.map((account) => look('getent', ...account)));
  return ACCOUNTS.filter((_, index) => looked[index]?.code !== 0).map(([, name]) => name);
}

const UNITS = [
  'siphond.service',
  'siphond.socket',
  'siphon-hook.socket',
  'siphon-read.socket',
  'siphon-libvirt.socket',
  'var-lib-siphon-bases.mount',
  'siphon-evict.timer',
  'siphon-prune.timer',
  'siphon-scrub.timer',
];

/** Of no domain: to stop what does not run is allowed as any other stop is, and changes nothing. */
const NOBODYS_GUARD = 'siphon-guard@00000000-0000-0000-0000-000000000000.timer';

async function lookAtGuard(): Promise<GuardFacts> {
  const stop = ['systemctl', '--no-ask-password', 'stop', NOBODYS_GUARD];
  const { code, stderr } = await look('setpriv', ...asUser('siphon-libvirt'), ...stop);
  const isRuleThere = existsSync(POLKIT_RULE);
  // A user that is not there is missed elsewhere.
  if (code === 0 || stderr.startsWith('setpriv:')) return { isRuleThere };
  return { isRuleThere, why: stderr.split('\n')[0] || 'systemctl did not answer' };
}

async function lookAtUnits(): Promise<UnitFacts[]> {
  const properties = 'Id,LoadState,ActiveState,UnitFileState,Before';
  const { code, stdout } = await look('systemctl', 'show', '-p', properties, ...UNITS);
  return code === 0 ? parseUnits(stdout) : [];
}

/** `systemctl show` of several units: blocks of `NAME=VALUE`. */
export function parseUnits(text: string): UnitFacts[] {
  return text
    .split('\n\n')
    .map(
      (block) =>
        new Map(
          block
            .trim()
            .split('\n')
            .map((line) => pair(line)),
        ),
    )
    .map((values) => ({
      name: values.get('Id') ?? '',
      isLoaded: values.get('LoadState') === 'loaded',
      isActive: ['active', 'reloading'].includes(values.get('ActiveState') ?? ''),
      isEnabled: ['enabled', 'static', 'alias'].includes(values.get('UnitFileState') ?? ''),
      before: (values.get('Before') ?? '').split(' '),
    }))
    .filter(({ name }) => name !== '');
}

function pair(line: string): [string, string] {
  const at = line.indexOf('=');
  return [line.slice(0, at), line.slice(at + 1)];
}

async function lookAtHook(): Promise<HookFacts> {
  const script = hookScript();
  if (script === undefined) return unknownHook('install-hook.sh is not installed');
  const { code, stdout, stderr } = await look('sh', script, 'status');
  if (code === undefined) return unknownHook('install-hook.sh status did not end');
  return { ...parseHook(code, `${stdout}\n${stderr}`), isBypassed: existsSync(BYPASS) };
}

function unknownHook(words: string): HookFacts {
  return { state: 'unknown', words, copies: [], isBypassed: existsSync(BYPASS) };
}

/** Beside the bundle where it is installed, else in the tree. */
function hookScript(): string | undefined {
  return ['./install-hook.sh', '../../../scripts/install-hook.sh']
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(path));
}

const STATES: readonly (readonly [RegExp, HookFacts['state']])[] = [
  [/not installed:/, 'missing'],
  [/not as an executable/, 'not-executable'],
  [/another version/, 'other-version'],
  [/not seen yet/, 'unseen'],
];

/** What `install-hook.sh status` said. */
export function parseHook(code: number, text: string): Omit<HookFacts, 'isBypassed'> {
  const copies = [...text.matchAll(/^warning: (\S+) is executable/gm)].flatMap(
    ([, path]) => path ?? [],
  );
  const words = text.trim().split('\n').at(-1) ?? '';
  if (code === 0) return { state: 'seen', words, copies };
  const state = STATES.find(([pattern]) => pattern.test(text))?.[1] ?? 'unknown';
  return { state, words, copies };
}
