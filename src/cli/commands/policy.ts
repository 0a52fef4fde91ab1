// siphon policy list|test: which policies are in force, and what they would do.

import type { Command } from 'commander';
import type { PoliciesAnswer, PolicyTestAnswer } from '../../wire/api.ts';
import { formatKeep } from '../../wire/keep.ts';
import type { NextRun } from '../../wire/schedule.ts';
import type { Devices, Policy } from '../../wire/vocabulary.ts';
import { createClient } from '../client.ts';
import { print, printJson, sheet, table, time } from '../output.ts';

interface JsonOption {
  readonly json?: true;
}

export function addPolicy(program: Command): void {
  const policy = program
    .command('policy')
    .description('snapshot policies, /etc/siphon/policies.d/*.toml')
    .helpCommand(false);
  policy
    .command('list')
    .description('the policies in force, in their order, and what is wrong with their files')
    .option('--json', 'print JSON')
    .action(list);
  policy
    .command('test')
    .description('what would happen at an event of a domain, and why; nothing is done')
    .argument('<DOMAIN>', 'name or UUID')
    .argument(
      '<EVENT>',
      "as in a policy's on: shutdown, destroyed, prepare, started, manual, …; or scheduled",
    )
    .option('--json', 'print JSON')
    .action(test);
}

async function list(options: JsonOption): Promise<void> {
  const answer = await createClient().get<PoliciesAnswer>('/v1/policies');
  if (options.json) return printJson(answer);
  const { policies, problems, nextRuns } = answer;
  const rows = policies.map((policy) => {
    return row(
      policy,
      nextRuns.find((each) => each.policy === policy.name),
    );
  });
  print(policies.length === 0 ? 'No policy is in force.' : table(COLUMNS, rows));
  for (const { where, what } of problems) print(`problem: ${where}: ${what}`);
}

const COLUMNS = [
  { head: 'POLICY' },
  { head: 'DOMAINS', drop: 3, isCut: true },
  { head: 'ON', drop: 2, isCut: true },
  { head: 'DEVICES', drop: 5 },
  { head: 'QUIESCE', drop: 4 },
  { head: 'KEEP', drop: 1 },
  { head: 'NEXT', drop: 6 },
];

function row(policy: Policy, nextRun: NextRun | undefined): string[] {
  const { name, domains, uuids, tags, devices, quiesce, schedule } = policy;
  const on = schedule === undefined ? policy.on : [...policy.on, schedule.calendar];
  const selects = [...domains, ...uuids, ...tags.map((tag) => `tag:${tag}`)];
  return [
    name,
    selects.join(' '),
    on.join(' '),
    devicesText(devices),
    quiesce,
    formatKeep(policy),
    schedule === undefined ? '-' : nextText(nextRun),
  ];
}

function nextText(nextRun: NextRun | undefined): string {
  if (nextRun === undefined) return 'unknown';
  return nextRun.atMs === null ? 'never' : time(nextRun.atMs);
}

function devicesText(devices: Devices): string {
  return typeof devices === 'string' ? devices : devices.join(' ');
}

async function test(domain: string, event: string, options: JsonOption): Promise<void> {
  const answer = await createClient().getByCeph<PolicyTestAnswer>('/v1/policies/test', {
    domain,
    event,
  });
  if (options.json) printJson(answer);
  else print(told(answer));
}

const VERDICTS = { first: 'this one', also: 'also', no: 'no' } as const;

function told(answer: PolicyTestAnswer): string {
  const { domain, event, evaluation } = answer;
  const { considered, problem, why } = evaluation;
  const lines = considered.map(({ policy, verdict, why: reason }) => {
    return [VERDICTS[verdict], policy, reason];
  });
  const head = [{ head: 'MATCHES' }, { head: 'POLICY' }, { head: 'WHY', isCut: true, drop: 1 }];
  return [
    sheet([
      ['domain', `${domain.name} (${domain.uuid})`],
      ['at', event],
      ['then', evaluation.kind === 'take' ? 'a set is taken' : 'nothing is taken'],
      ['because', why],
      ...(problem === undefined ? [] : [['problem', `metadata: ${problem}`] as const]),
      ...(evaluation.kind === 'take' ? takenOf(evaluation, answer) : []),
    ]),
    ...(lines.length === 0 ? [] : ['', table(head, lines)]),
  ].join('\n');
}

function takenOf(
  { wanted, policy }: Extract<PolicyTestAnswer['evaluation'], { kind: 'take' }>,
  { disks, leftOut, nextRun }: PolicyTestAnswer,
): (readonly [string, string])[] {
  const images = disks.map(({ target, image, owner }) => {
    return `${target}=${image}${owner === undefined ? '' : ` (${owner}'s)`}`;
  });
  return [
    ['disks', images.length === 0 ? 'none' : images.join(' ')],
    ...leftOut.map(({ target, why }) => ['left out', `${target}: ${why}`] as const),
    ['quiesce', wanted.quiesce],
    ['instant', wanted.instant],
    ...(nextRun === undefined ? [] : [['next by schedule', nextText(nextRun)] as const]),
    ['keeps', policy === undefined ? 'it, until it is deleted' : formatKeep(policy)],
  ];
}
