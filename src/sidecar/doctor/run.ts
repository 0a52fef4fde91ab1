// siphond --doctor: looks, judges, prints. Exit code 0: nothing was found, 1: something was.

import { ERROR_TABLE } from '../../wire/errors.ts';
import { loadConfig } from '../config/load.ts';
import { formatProblem } from '../config/problems.ts';
import { lookAtPolicies } from '../policies.ts';
import { capsCommands, capsText } from './caps.ts';
import { diagnose } from './diagnose.ts';
import { isWrong } from './findings.ts';
import { flattenedByCluster, gather, type NamedPools } from './gather.ts';
import { report } from './report.ts';

export interface DoctorOptions {
  readonly configFile: string;
  readonly isJson: boolean;
  /** Print the least caps instead. */
  readonly isCaps: boolean;
  readonly pools: NamedPools;
}

/** Prints, and gives the exit code. */
export async function runDoctor(options: DoctorOptions): Promise<number> {
  return options.isCaps ? await tellCaps(options) : await tellFindings(options);
}

async function tellFindings({ configFile, isJson, pools }: DoctorOptions): Promise<number> {
  if (process.getuid?.() !== 0) {
    console.error('siphon doctor looks at what only root may read: run it as root');
    return ERROR_TABLE.denied.exit;
  }
  const findings = diagnose(await gather(await loadConfig(configFile), pools));
  const wrong = findings.filter(isWrong);
  const notes = findings.filter((each) => !isWrong(each));
  console.log(isJson ? JSON.stringify({ findings: wrong, notes }, null, 2) : report(wrong, notes));
  return wrong.length === 0 ? 0 : 1;
}

const USUAL = { images: ['images'], vms: ['vms'] };

async function tellCaps({ configFile, isJson, pools }: DoctorOptions): Promise<number> {
  const loaded = await loadConfig(configFile);
  if (loaded.kind === 'bad') {
    console.error(loaded.problems.map(formatProblem).join('\n'));
    return ERROR_TABLE.usage.exit;
  }
  const { current } = await lookAtPolicies(loaded.config.snapshot.policies);
  const tasks = flattenedByCluster(current);
  const caps = capsCommands(loaded.config.clusters, { ...USUAL, ...pools, tasks });
  console.log(isJson ? JSON.stringify({ clusters: caps }, null, 2) : capsText(caps));
  return 0;
}
