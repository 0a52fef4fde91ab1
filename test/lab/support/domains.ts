// Domains for tests: defined from the tiny guest's XML, destroyed and undefined at the end.

import { mkdtemp, writeFile } from 'node:fs/promises';
import { type Guest, guestXml } from './guest.ts';
import { must, run, sh, until } from './host.ts';
import type { Cleanup } from './images.ts';

/** Installs the hook once; libvirtd learns of it by a reload. */
export const installHook = (): Promise<string> =>
  must('bash', '/usr/lib/siphon/install-hook.sh', 'install');

export async function defineDomain(cleanup: Cleanup, guest: Guest): Promise<string> {
  const folder = await mkdtemp('/tmp/domain-');
  await writeFile(`${folder}/domain.xml`, guestXml(guest));
  await must('virsh', '-q', 'define', `${folder}/domain.xml`);
  cleanup.after(async () => {
    await run('virsh', ['-q', 'destroy', guest.name]);
    await run('virsh', ['-q', 'undefine', '--managed-save', '--nvram', guest.name]);
  });
  return guest.name;
}

export const domainState = async (name: string): Promise<string> =>
  (await must('virsh', 'domstate', name)).split('\n')[0] ?? '';

/** Waits until the guest's agent answers: its disks are mounted and marked then. */
export const guestAnswers = (name: string): Promise<true> =>
  until(
    `the agent of ${name} answers`,
    async () => {
      const ping = ['qemu-agent-command', name, '{"execute":"guest-ping"}', '--timeout', '2'];
      return (await run('virsh', ping)).code === 0 || undefined;
    },
    180,
  );

/** Starts a domain whose base is not here: where the machine is busy, the hook may let a start go before it is filled. */
export const startsFilled = (name: string): Promise<true> =>
  until(
    `${name} starts`,
    async () => (await run('virsh', ['-q', 'start', name])).code === 0 || undefined,
    120,
  );

export const isOff = (name: string): Promise<true> =>
  until(`${name} is off`, async () => (await domainState(name)) === 'shut off' || undefined, 120);

/** An overlay that names its base before the base exists. */
export async function overlayOn(source: string, path: string, size: string): Promise<string> {
  const base = await must('siphon', 'path', source);
  await must(
    'qemu-img',
    'create',
    '-q',
    '-u',
    '-f',
    'qcow2',
    '-F',
    'qcow2',
    '-b',
    base,
    path,
    size,
  );
  return path;
}

/** siphon's snapshots of an image, by `rbd`. */
export async function markedSnapshots(image: string): Promise<string[]> {
  const names = await sh(`rbd snap ls '${image}' --format json | jq -r '.[].name'`);
  return names.split('\n').filter((name) => name.startsWith('siphon.'));
}
