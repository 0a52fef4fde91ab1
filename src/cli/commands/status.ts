// siphon status: is siphond well, and what does it hold?

import type { Command } from 'commander';
import type { StatusAnswer } from '../../wire/api.ts';
import { formatSize } from '../../wire/size.ts';
import { createClient } from '../client.ts';
import { print, printJson, sheet, time } from '../output.ts';
import { pausesText } from './pause.ts';

export function addStatus(program: Command): void {
  program
    .command('status')
    .description('is siphond well, and what does it hold?')
    .option('--json', 'print JSON')
    .action(async (options: { readonly json?: true }) => {
      const status = await createClient().get<StatusAnswer>('/v1/status');
      if (options.json) printJson(status);
      else print(sheet(pairs(status)));
    });
}

function pairs(status: StatusAnswer): (readonly [string, string])[] {
  const { cache, trust } = status;
  return [
    ['siphond', `${status.version}, pid ${status.pid}, since ${time(status.startedAtMs)}`],
    ...status.clusters.map(
      (one) =>
        [`cluster ${one.name}`, [one.state, one.fsid, one.why].filter(Boolean).join(', ')] as const,
    ),
    ['libvirt', [status.libvirt.state, status.libvirt.why].filter(Boolean).join(', ')],
    [
      'cache',
      `${cache.bases} bases, ${formatSize(cache.allocatedBytes)} of ${formatSize(cache.limitBytes)}, ${formatSize(cache.freeBytes)} free on disk`,
    ],
    [
      'bases at',
      `${cache.path}${cache.isMountedReadOnly ? '' : ' (NOT a read-only mount: guests could change bases)'}`,
    ],
    ...(trust.unverified === 0 ? [] : [['unverified', `${trust.unverified} bases`] as const]),
    ['paused', pausesText(status.paused)],
    ['open jobs', String(status.jobsOpen)],
    ['spooled events', String(status.spooled)],
    ...[...status.problems, ...trust.problems].map(
      (one) => ['problem', `${one.where}: ${one.what}`] as const,
    ),
  ];
}
