// The installed libvirt worker, asked as siphond asks it, and what others see of a domain that it holds.

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import type { LibvirtEvent, LibvirtMethods } from '../../../src/wire/worker-protocol.ts';
import { startWorker, type Worker } from '../../../src/worker/supervisor/index.ts';
import { domainState } from './domains.ts';
import { must, run, sh, until } from './host.ts';
import type { GuestShell } from './shell.ts';

const soon = { deadlineMs: 60_000 };

/** A worker of its own, beside siphond's, behind the same socket: the same unit, user and sandbox. */
export async function holdingWorker(): Promise<Worker<LibvirtMethods>> {
  let isConnected = false;
  const worker = startWorker<LibvirtMethods, LibvirtEvent>({
    role: 'libvirt',
    settings: { uri: 'qemu:///system' },
    program: { socketPath: '/run/siphon/libvirt-worker.sock' },
    log: { info: () => undefined, warn: (_fields, text) => console.error(text) },
    onEvent: (event) => (isConnected ||= event.what === 'connected'),
  });
  await until('the worker is connected to libvirt', () => isConnected);
  return worker;
}

/** The calls of one domain. */
export function holderOf(worker: Worker<LibvirtMethods>, domain: string) {
  return {
    holdable: () => worker.call('holdable', { domain }, soon),
    guard: (deadlineMs: number) => worker.call('guard', { domain, deadlineMs }, soon),
    hold: (
      quiesce: LibvirtMethods['hold']['params']['quiesce'],
      suspends = true,
      timeoutMs = 10_000,
    ) => worker.call('hold', { domain, quiesce, suspends, timeoutMs, deadlineMs: 60_000 }, soon),
    release: () => worker.call('release', { domain }, soon),
  };
}

/** What the agent says, as virsh asks it. */
export async function freezeStatus(name: string): Promise<string> {
  const ask = ['qemu-agent-command', name, '{"execute":"guest-fsfreeze-status"}', '--timeout', '5'];
  const { code, stdout, stderr } = await run('virsh', ask);
  return code === 0 ? (JSON.parse(stdout) as { return: string }).return : stderr;
}

export const stateOf = async (name: string): Promise<{ state: string; filesystems: string }> => {
  const state = await domainState(name);
  return { state, filesystems: state === 'running' ? await freezeStatus(name) : '' };
};

export const FREE = { state: 'running', filesystems: 'thawed' };

export const guardsLeft = (): Promise<string> =>
  sh("systemctl list-units --all --plain --no-legend 'siphon-guard@*'");

export const notesLeft = (): Promise<string[]> => readdir('/run/siphon/held');

/** Neither a note, nor a timer, nor its service. */
export async function nothingIsLeft(seconds = 10): Promise<void> {
  await until(
    'no note and no guard is left',
    async () => (await notesLeft()).length === 0 && (await guardsLeft()) === '',
    seconds,
  );
}

/** The main processes of the libvirt workers. */
export async function libvirtWorkers(): Promise<number[]> {
  const { stdout } = await run('pgrep', ['-u', 'siphon-libvirt', '-f', 'worker.mjs libvirt']);
  return stdout.split('\n').filter(Boolean).map(Number);
}

/** The worker's process: the one that was not there before. */
export async function workerWithPid(): Promise<{ worker: Worker<LibvirtMethods>; pid: number }> {
  const before = await libvirtWorkers();
  const worker = await holdingWorker();
  const pid = (await libvirtWorkers()).find((each) => !before.includes(each));
  assert.ok(pid !== undefined);
  return { worker, pid };
}

export const qemuPid = async (name: string): Promise<number> =>
  Number(await must('cat', `/run/libvirt/qemu/${name}.pid`));

/**
 * Has a guest's agent replaced by a few lines of shell, which answer as told: `status` before and after a freeze, and how many
 * seconds a freeze takes. Until {@link restoreAgent}.
 */
export async function replaceAgent(
  shell: GuestShell,
  says: { readonly frozen: string; readonly freezeSeconds: number },
): Promise<void> {
  await shell.run('kill -CONT $(cat /run/qemu-ga.pid); kill $(cat /run/qemu-ga.pid)');
  const agent = `exec 3<>/dev/virtio-ports/org.qemu.guest_agent.0; s=thawed; while usleep 50000; do while read -r l <&3; do
    case $l in
    *guest-sync*) i=\${l##*:}; case $l in *delimited*) printf '\\377' >&3 ;; esac; echo "{\\"return\\": \${i%%\\}*}}" ;;
    *fsfreeze-status*) echo "{\\"return\\": \\"$s\\"}" ;;
    *fsfreeze-freeze*) sleep ${says.freezeSeconds}; s=${says.frozen}; echo '{"return": 2}' ;;
    *fsfreeze-thaw*) s=thawed; echo '{"return": 2}' ;;
    *) echo '{"return": {}}' ;; esac >&3; done; done`;
  const line = agent.replaceAll(/\n\s*/g, ' ');
  await shell.run(
    `until (: <>/dev/virtio-ports/org.qemu.guest_agent.0) 2>/dev/null; do usleep 50000; done`,
  );
  await shell.run(`(${line}) & echo $! >/run/liar.pid`);
}

export async function restoreAgent(shell: GuestShell): Promise<void> {
  await shell.run('kill $(cat /run/liar.pid)');
  await startAgent(shell);
}

export async function startAgent(shell: GuestShell): Promise<void> {
  const port = '/dev/virtio-ports/org.qemu.guest_agent.0';
  await shell.run(`until (: <>${port}) 2>/dev/null; do usleep 50000; done`);
  await shell.run(`qemu-ga -m virtio-serial -p ${port} -t /run/qga -d -f /run/qemu-ga.pid`);
}
