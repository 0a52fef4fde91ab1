// npm run demo: a lab comes up, both of siphon's jobs are done in it on real parts, and it goes down again.

import { command, labFor, ROOT } from './command.ts';

const SECONDS_MAX = 300;

async function demo(): Promise<number> {
  console.log('A hypervisor with systemd, libvirtd, QEMU and a real Ceph comes up …');
  const built = await command(['node', 'scripts/build.ts'], SECONDS_MAX);
  if (built !== 0) return built;
  await using lab = await labFor('demo');
  return await lab.exec(['node', `${ROOT}/scripts/demo/steps.ts`], SECONDS_MAX, {
    // Colours only where somebody looks.
    DEMO_COLOURS: process.stdout.isTTY ? '1' : '',
  });
}

const from = performance.now();
const code = await demo();
const seconds = ((performance.now() - from) / 1000).toFixed(0);
console.log(
  code === 0
    ? `\nAll of it worked, in ${seconds} s.`
    : `\nThe demo FAILED (${code}) after ${seconds} s.`,
);
process.exitCode ||= code;
