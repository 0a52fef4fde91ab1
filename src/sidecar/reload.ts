// A config that changed while siphond runs: read, checked, and taken up as a whole or not at all.

import type { Logger } from 'pino';
import type { ReloadAnswer, StatusAnswer } from '../wire/api.ts';
import { OperatingError } from '../wire/errors.ts';
import { type Config, type LoadedConfig, toConfig } from './config/load.ts';
import { type ConfigProblem, formatProblem, placeOf, saying } from './config/problems.ts';
import type { ConfigFile } from './config/schema.ts';
import { planReload, type ReloadPlan } from './reload-plan.ts';

type Problem = StatusAnswer['problems'][number];

export interface ReloadParts {
  /** The main file, for messages. */
  readonly file: string;
  readonly load: () => Promise<LoadedConfig>;
  /** What is in force. */
  readonly checked: ConfigFile;
  /** Puts a config in force. Where it rejects, it has changed nothing. */
  readonly apply: (config: Config) => Promise<void>;
  readonly log: Logger;
}

export interface Reload {
  /** What is wrong with the files as they were last read, or waits for a restart. */
  readonly problems: readonly Problem[];
  /** Takes up what the files say now; one at a time. @throws OperatingError `usage` with every mistake: nothing has changed */
  run(): Promise<ReloadAnswer>;
  /** Calls back after each config that was taken up. */
  onTaken(listener: () => void): void;
}

export function createReload(parts: ReloadParts): Reload {
  const { file, load, apply, log } = parts;
  const listeners: (() => void)[] = [];
  let inForce = parts.checked;
  let problems: readonly Problem[] = [];
  let last: Promise<unknown> = Promise.resolve();
  const once = async (): Promise<ReloadAnswer> => {
    const loaded = await load();
    if (loaded.kind === 'bad') {
      problems = problemsOfBad(file, loaded.problems);
      for (const problem of loaded.problems)
        log.error({ problem: formatProblem(problem) }, 'the config has an error');
      throw refused(file, loaded.problems);
    }
    const plan = planReload(inForce, loaded.checked);
    if (plan.apply.length > 0) await apply(toConfig(plan.inForce));
    inForce = plan.inForce;
    problems = plan.needsRestart.map((key) => waiting(file, key));
    tell(plan, log);
    for (const listener of listeners) listener();
    return { applied: plan.apply, needsRestart: plan.needsRestart };
  };
  return {
    get problems() {
      return problems;
    },
    run() {
      const run = last.then(once);
      last = run.catch(() => undefined); // its caller hears of it
      return run;
    },
    onTaken: (listener) => void listeners.push(listener),
  };
}

function problemsOfBad(file: string, problems: readonly ConfigProblem[]): Problem[] {
  const what = `it has errors and was not taken up: the config from before stays in force`;
  return [
    { where: file, what },
    ...problems.map((each) => ({ where: placeOf(each), what: saying(each) })),
  ];
}

function refused(file: string, problems: readonly ConfigProblem[]): OperatingError {
  const why = problems.map(formatProblem).join('\n');
  const hint = 'Nothing has changed. Correct it; `siphon config check` tells all that is wrong.';
  return new OperatingError({ code: 'usage', op: 'reload config', subject: file, why, hint });
}

function waiting(where: string, key: string): Problem {
  return { where, what: `${key} has changed: that takes \`systemctl restart siphond\`` };
}

function tell({ unchanged, apply, needsRestart }: ReloadPlan, log: Logger): void {
  if (unchanged) return log.debug('the config is unchanged');
  log.info({ applied: apply }, 'the config was reloaded');
  if (needsRestart.length > 0) log.warn({ needsRestart }, 'changes that wait for a restart');
}
