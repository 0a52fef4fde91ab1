// siphon doctor: what is wrong on this host, and what to type. siphond's own looks, run without one: it must work while siphond is
// down.

import path from 'node:path';
import type { Command } from 'commander';
import { CONFIG_PATH } from '../../wire/api.ts';
import { runSiphond } from './config.ts';

interface Options {
  readonly caps?: true;
  readonly images?: string;
  readonly vms?: string;
  readonly config: string;
  readonly json?: true;
}

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('what is wrong on this host, and what to type; exit code 1 where anything is')
    .option('--caps', 'print the least cephx caps, as the commands that give them')
    .option('--images <pools>', 'the pools of source images, POOL[/NAMESPACE],…')
    .option('--vms <pools>', "the pools of domains' disks, POOL[/NAMESPACE],…")
    .option('--config <file>', "siphond's config", CONFIG_PATH)
    .option('--json', 'print JSON')
    .action(doctor);
}

async function doctor({ caps, images, vms, config, json }: Options): Promise<void> {
  await runSiphond('examine host', config, [
    '--doctor',
    `--config=${path.resolve(config)}`,
    ...(caps ? ['--caps'] : []),
    ...(images === undefined ? [] : [`--images=${images}`]),
    ...(vms === undefined ? [] : [`--vms=${vms}`]),
    ...(json ? ['--json'] : []),
  ]);
}
