// What would happen at an event of a domain, as the policies that are in force and the domain's definition say it. Nothing is done.

import { parseDomain } from '../domain/domain.ts';
import { chooseDisks } from '../snapshot/disks.ts';
import { evaluate, parseEvent } from '../snapshot/evaluate.ts';
import { ownerOf } from '../snapshot/neighbours.ts';
import { shiftOf } from '../snapshot/schedule/due.ts';
import type { PolicyTestAnswer } from '../wire/api.ts';
import { OperatingError } from '../wire/errors.ts';
import type { LibvirtPort } from '../wire/ports.ts';
import type { Calendar, NextRun } from '../wire/schedule.ts';
import { formatImage } from '../wire/source.ts';
import { POLICY_EVENTS, type Policy, RELEASE_REASONS } from '../wire/vocabulary.ts';
import { nextRuns } from './calendar.ts';

export interface PolicyTestParts {
  readonly libvirt: LibvirtPort;
  readonly policies: { readonly current: readonly Policy[] };
  readonly calendar: Calendar;
  readonly now: () => number;
}

const LIBVIRT = { deadlineMs: 10_000 };

/** `name`: of a domain, or its UUID; `word`: as `on` of a policy, or a reason of libvirt's. @throws OperatingError usage, not-found */
export async function testPolicy(
  parts: PolicyTestParts,
  name: string,
  word: string,
): Promise<PolicyTestAnswer> {
  const { libvirt, policies } = parts;
  const event = parseEvent(word);
  if (event === undefined) throw unknownEvent(word);
  const { uuid, isActive } = await libvirt.call('lookUp', { domain: name }, LIBVIRT);
  const asked = { domain: uuid, inactive: !isActive };
  const domain = parseDomain(await libvirt.call('domainXml', asked, LIBVIRT));
  const evaluation = evaluate(policies.current, domain, event);
  const devices = evaluation.kind === 'take' ? evaluation.wanted.devices : [];
  const nextRun = await nextRunOf(parts, uuid, evaluation);
  const { chosen, leftOut } = chooseDisks(domain, devices);
  return {
    domain: { name: domain.name, uuid },
    event: word,
    evaluation,
    disks: chosen.map(({ target, source }) => {
      const owner = ownerOf(source);
      return { target, image: formatImage(source), ...(owner && { owner }) };
    }),
    leftOut,
    ...(nextRun && { nextRun }),
  };
}

async function nextRunOf(
  { policies, calendar, now }: PolicyTestParts,
  uuid: string,
  evaluation: PolicyTestAnswer['evaluation'],
): Promise<NextRun | undefined> {
  const name = evaluation.kind === 'take' ? evaluation.policy?.name : undefined;
  const policy = policies.current.find((each) => each.name === name);
  if (policy?.schedule === undefined) return undefined;
  const shiftMs = shiftOf(policy.schedule, policy.name, uuid);
  const [run] = await nextRuns(calendar, [policy], now() - shiftMs);
  if (run === undefined || run.atMs === null) return run;
  return { ...run, atMs: run.atMs + shiftMs };
}

function unknownEvent(subject: string): OperatingError {
  const words = [...new Set<string>([...POLICY_EVENTS, 'scheduled', ...RELEASE_REASONS])];
  const why = `no such event; there are ${words.join(', ')}`;
  return new OperatingError({ code: 'usage', op: 'test policies', subject, why });
}
