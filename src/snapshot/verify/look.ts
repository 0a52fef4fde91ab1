// A guest booted from clones of a set, and looked at: until its agent answers, and then at its filesystems.

import { OperatingError } from '../../wire/errors.ts';
import type { Job } from '../../wire/journal.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import type { ProofPlan } from './data.ts';
import type { Boot, Checks, Seen } from './judge.ts';
import type { ProofParts } from './ports.ts';
import { CHECK_SCRIPT, plain, readChecks } from './script.ts';

const AGAIN_MS = 500;
/** libvirt's hooks, and QEMU that opens its disks. */
const START = { deadlineMs: 90_000 };
/** The agent's three answers. */
const LOOK = { deadlineMs: 45_000 };
const ATTACH = { deadlineMs: 30_000 };
/** For all filesystems of a guest; of larger ones it is said that it was too long. */
export const CHECK_MS = 10 * 60_000;

/** @throws OperatingError: it cannot be told */
export async function lookAtGuest(parts: ProofParts, job: Job, plan: ProofPlan): Promise<Seen> {
  const boot = await boots(parts, job, plan);
  const none: Checks = { kind: 'not', why: 'it did not come up' };
  if (boot.kind !== 'up') return { boot, checks: none };
  job.step('checking');
  return { boot, checks: await check(parts, job, plan, boot) };
}

async function boots(parts: ProofParts, job: Job, plan: ProofPlan): Promise<Boot> {
  const { libvirt, wait } = parts;
  const { uuid, xml } = plan.domain;
  job.step('booting');
  const started = await libvirt.call('startProof', { xml }, START);
  if (started.kind === 'not') return { kind: 'not-begun', why: started.why };
  const fromMs = performance.now();
  for (;;) {
    if (job.signal.aborted) throw job.signal.reason;
    const found = await libvirt.call('lookAtProof', { domain: uuid }, LOOK);
    const afterMs = performance.now() - fromMs;
    if (found.kind === 'gone') return { kind: 'ended', afterMs };
    if (found.kind === 'answers') return { kind: 'up', afterMs, answer: found };
    if (afterMs > plan.bootMs) return { kind: 'silent', afterMs, why: found.why };
    await wait(AGAIN_MS, job.signal);
  }
}

async function check(
  { libvirt }: ProofParts,
  { signal }: Job,
  { domain: { uuid }, checks }: ProofPlan,
  { answer }: Extract<Boot, { kind: 'up' }>,
): Promise<Checks> {
  if (answer.whyNoExec !== undefined) return { kind: 'not', why: answer.whyNoExec };
  try {
    for (const { xml, of } of checks) {
      const attached = await libvirt.call('attachToProof', { domain: uuid, xml }, ATTACH);
      if (attached.kind === 'not') {
        return { kind: 'not', why: `${of} could not be attached a second time: ${attached.why}` };
      }
    }
    const targets = checks.map(({ of }) => of);
    const asked = { domain: uuid, script: CHECK_SCRIPT, args: targets, timeoutMs: CHECK_MS };
    const bounds = { deadlineMs: CHECK_MS + LOOK.deadlineMs, signal };
    const ran = await libvirt.call('execInProof', asked, bounds);
    if (ran.kind === 'not') return ran;
    if (ran.exitCode !== 0) return { kind: 'not', why: `the guest's sh: ${plain(ran.output)}` };
    return { kind: 'looked', found: readChecks(ran.output, targets) };
  } catch (error) {
    // What was seen before it ended counts.
    if (!(error instanceof OperatingError) || error.code !== 'not-found') throw error;
    return { kind: 'not', why: 'the guest ended while its filesystems were looked at' };
  }
}

/** Whoever starts it again would take it from its clones: ended before these go. @throws OperatingError */
export async function endGuest({ libvirt }: ProofParts, plan: ProofPlan): Promise<void> {
  await libvirt.call('endProof', { domain: plan.domain.uuid }, DEADLINE_MS.list);
}
