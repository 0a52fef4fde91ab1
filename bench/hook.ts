// What the hook costs: a domain's start with it against without it, and its answer when all bases are here.

import { spawn } from 'node:child_process';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { overlayOn } from '../test/lab/support/domains.ts';
import { guestXml } from '../test/lab/support/guest.ts';
import { must, run, sh, timed } from '../test/lab/support/host.ts';
import { importSource, rawFile } from '../test/lab/support/images.ts';
import { type BenchRow, median, pairedRatio, quantile, shuffled } from './row.ts';

const HOOK = '/etc/libvirt/hooks/qemu.d/50-siphon';
const ASIDE = '/etc/libvirt/hooks/50-siphon.aside';
const WORK = '/var/lib/siphon/bench-hook';
const START_TARGET = 1.1;
const CLIENT_MS_MAX = 150;
const BYPASS_MS_MAX = 3;
/** Another's hook, which does nothing. */
const EMPTY = '/etc/libvirt/hooks/qemu.d/90-none';

export async function benchHook(options: { readonly rounds: number }): Promise<BenchRow[]> {
  await sh(`mkdir -p ${WORK}; bash /usr/lib/siphon/install-hook.sh install`);
  // libvirt looks for hooks at its start: with a second one, ours can come and go without a reload.
  await writeFile(EMPTY, '#!/bin/sh\nexit 0\n', { mode: 0o755 });
  await must('systemctl', 'reload-or-restart', 'libvirtd');
  const xml = await defineHit();
  return [
    await benchStart(options.rounds),
    await benchAnswer(xml, options.rounds * 10),
    await benchBypass(xml, options.rounds * 10),
    await benchClient(options.rounds * 2),
  ];
}

/** A domain whose overlay's base is in the cache. */
async function defineHit(): Promise<string> {
  const source = await importSource(
    await rawFile(`${WORK}/base.raw`, 64, [0, 9]),
    'images/bench-hook',
  );
  await must('siphon', 'warm', source);
  await overlayOn(source, `${WORK}/vm.qcow2`, '64M');
  const xml = guestXml({ name: 'bench-hook', disks: [{ kind: 'file', path: `${WORK}/vm.qcow2` }] });
  await writeFile(`${WORK}/vm.xml`, xml);
  await must('virsh', '-q', 'define', `${WORK}/vm.xml`);
  return xml;
}

async function benchStart(rounds: number): Promise<BenchRow> {
  const times = { with: [] as number[], without: [] as number[] };
  for (let round = 0; round < rounds + 1; round += 1) {
    for (const way of shuffled(['with', 'without'] as const)) {
      if (way === 'without') await rename(HOOK, ASIDE);
      try {
        const { ms } = await timed(() => must('virsh', '-q', 'start', 'bench-hook'));
        if (round > 0) times[way].push(ms);
        await must('virsh', '-q', 'destroy', 'bench-hook');
      } finally {
        if (way === 'without') await rename(ASIDE, HOOK);
      }
    }
  }
  const ratio = pairedRatio(times.with, times.without);
  return {
    case: 'domain start, all bases in the cache',
    against: 'no siphon hook',
    ratio,
    target: START_TARGET,
    met: ratio <= START_TARGET,
    n: rounds,
    note: `with ${describe(times.with)}, without ${describe(times.without)}; virsh start of a TCG domain; another no-op hook stands in both`,
  };
}

async function benchAnswer(xml: string, rounds: number): Promise<BenchRow> {
  const times = { answered: [] as number[], bypassed: [] as number[] };
  for (let round = 0; round < rounds + 1; round += 1) {
    for (const way of shuffled(['answered', 'bypassed'] as const)) {
      if (way === 'bypassed') await writeFile('/run/siphon/bypass', '');
      const { ms } = await timed(() => callHook(xml));
      if (round > 0) times[way].push(ms);
      if (way === 'bypassed') await must('rm', '/run/siphon/bypass');
    }
  }
  return {
    case: "the hook's answer on a hit",
    against: 'the same call bypassed (the cost of starting sh)',
    ratio: median(times.bypassed) / median(times.answered),
    target: null,
    met: null,
    n: rounds,
    note: `answered ${describe(times.answered)}, bypassed ${describe(times.bypassed)}; process start included`,
  };
}

/** What the bypassed hook costs beyond a script that does nothing, each called as libvirtd does. */
async function benchBypass(xml: string, rounds: number): Promise<BenchRow> {
  const times = { bypassed: [] as number[], empty: [] as number[] };
  await writeFile('/run/siphon/bypass', '');
  try {
    for (let round = 0; round < rounds + 1; round += 1) {
      for (const way of shuffled(['bypassed', 'empty'] as const)) {
        const { ms } = await timed(() => callHook(xml, way === 'empty' ? EMPTY : HOOK));
        if (round > 0) times[way].push(ms);
      }
    }
  } finally {
    await must('rm', '/run/siphon/bypass');
  }
  const extra = times.bypassed.map((ms, round) => ms - (times.empty[round] ?? Number.NaN));
  const extraMs = median(extra);
  return {
    case: 'the bypassed hook',
    against: `${BYPASS_MS_MAX} ms beyond an empty hook`,
    ratio: BYPASS_MS_MAX / Math.max(extraMs, 0.01),
    target: 1,
    met: extraMs < BYPASS_MS_MAX,
    n: rounds,
    note: `${extraMs.toFixed(2)} ms more, the median of the rounds; bypassed ${describe(times.bypassed)}, empty ${describe(times.empty)}`,
  };
}

/** The client as installed: what it costs before it asks anything, and a whole command. */
async function benchClient(rounds: number): Promise<BenchRow> {
  const ways = {
    version: ['siphon', '--version'],
    status: ['siphon', 'status'],
    node: ['/usr/lib/siphon/bin/node', '-e', '0'],
  } as const;
  const times = { version: [] as number[], status: [] as number[], node: [] as number[] };
  for (let round = 0; round < rounds + 1; round += 1) {
    for (const way of shuffled(['version', 'status', 'node'] as const)) {
      const [command, ...args] = ways[way];
      const { ms } = await timed(() => must(command, ...args));
      if (round > 0) times[way].push(ms);
    }
  }
  const ratio = CLIENT_MS_MAX / median(times.version);
  return {
    case: "the client's start-up",
    against: `${CLIENT_MS_MAX} ms`,
    ratio,
    target: 1,
    met: ratio >= 1,
    n: rounds,
    note: `siphon --version ${describe(times.version)}; siphon status, asked and answered, ${describe(times.status)}; an empty Node ${describe(times.node)}`,
  };
}

const describe = (times: readonly number[]) =>
  `p50 ${median(times).toFixed(1)} ms, p99 ${quantile(times, 0.99).toFixed(1)} ms`;

/** Calls the installed hook as libvirtd does; it must allow. */
function callHook(xml: string, hook = HOOK): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(hook, ['bench-hook', 'prepare', 'begin', '-'], {
      stdio: ['pipe', 'ignore', 'inherit'],
      timeout: 20_000,
    });
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`the hook said ${code}`)),
    );
    child.stdin.on('error', () => {}); // a bypassed hook does not read
    child.stdin.end(xml);
  });
}

/** Removes what the benchmark made. */
export async function cleanUpHook(): Promise<void> {
  await run('virsh', ['-q', 'undefine', 'bench-hook']);
  await run('rm', ['-rf', WORK, EMPTY]);
  await readFile(HOOK).catch(() => rename(ASIDE, HOOK));
}
