// siphon start DOMAIN: warms the bases that the domain needs, then starts it.

import type { Command } from 'commander';
import { createClient } from '../client.ts';
import { print, printJson } from '../output.ts';
import { createScreen, follow } from '../watch.ts';

export function addStart(program: Command): void {
  program
    .command('start')
    .description("warm the bases that a domain needs, then start it: no hook's budget to beat")
    .argument('<DOMAIN>', 'name or UUID')
    .option('--json', 'print JSON')
    .action(async (domain: string, options: { readonly json?: true }) => {
      using screen = createScreen(options.json === true);
      const result = await follow(createClient().watch('/v1/start', { domain }), domain, screen);
      screen[Symbol.dispose]();
      if (options.json) printJson(result);
      else print(`Domain ${domain} started.`);
    });
}
