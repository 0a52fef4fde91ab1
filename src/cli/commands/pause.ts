// siphon pause, resume: whether fills and snapshot sets may begin.

import { Argument, type Command } from 'commander';
import type { PauseAnswer, PauseRequest } from '../../wire/api.ts';
import { PAUSABLE, type Pause } from '../../wire/pause.ts';
import { createClient } from '../client.ts';
import { print, printJson, time } from '../output.ts';

const ABOUT = {
  pause: 'let no fill or snapshot set begin until resume, also across restarts; what runs goes on',
  resume: 'undo pause',
} as const;

export function addPause(program: Command): void {
  for (const verb of ['pause', 'resume'] as const) {
    program
      .command(verb)
      .description(ABOUT[verb])
      .addArgument(
        new Argument('[WHAT]', 'what of siphon').choices([...PAUSABLE, 'all']).default('all'),
      )
      .option('--json', 'print JSON')
      .action((what: PauseRequest['what'], options: { readonly json?: true }) =>
        setPause(verb, what, options.json === true),
      );
  }
}

async function setPause(
  verb: 'pause' | 'resume',
  what: PauseRequest['what'],
  isJson: boolean,
): Promise<void> {
  const request: PauseRequest = { what };
  const { paused } = await createClient().post<PauseAnswer>(`/v1/${verb}`, request);
  if (isJson) printJson(paused);
  else print(`Paused: ${pausesText(paused)}.`);
}

/** `fills since 2026-11-20 23:15:00Z (claimed by alice)`, or `nothing`. */
export function pausesText(paused: readonly Pause[]): string {
  if (paused.length === 0) return 'nothing';
  return paused
    .map(({ work, sinceMs, claimedBy }) => {
      const by = claimedBy === undefined ? '' : ` (claimed by ${claimedBy})`;
      return `${work} since ${time(sinceMs)}${by}`;
    })
    .join(', ');
}
