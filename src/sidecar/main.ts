// siphond's entry point: reads the config, starts, and stops on SIGTERM or SIGINT. A kill -9 is as good: the next start
// takes up what was left.

import path from 'node:path';
import { parseArgs } from 'node:util';
import { keepCapabilities } from '../systemd/ambient.ts';
import { tellSystemd } from '../systemd/notify.ts';
import { CONFIG_PATH } from '../wire/api.ts';
import { ERROR_TABLE, OperatingError } from '../wire/errors.ts';
import { VERSION } from '../wire/version.ts';
import { type LoadedConfig, loadConfig } from './config/load.ts';
import { type ConfigProblem, formatProblem } from './config/problems.ts';
import { runDoctor } from './doctor/run.ts';
import { createLog, type Logger } from './log.ts';
import { lookAtPolicies } from './policies.ts';
import { startSiphond } from './siphond.ts';
import { takeActivation } from './sockets.ts';
import { runTrust } from './trust/run.ts';

const USAGE = `siphond [--config FILE]               serves (default: ${CONFIG_PATH}, or the defaults);
                                      SIGHUP reads the config again
siphond --check-config FILE [--json]  tells every mistake in FILE and the conf.d beside it, or that there is none
siphond --doctor [--images POOL[/NAMESPACE],…] [--vms …] [--caps] [--config FILE] [--json]
                                      tells what is wrong on this host; --caps: the least cephx caps
siphond --trust list|add|revoke [--what FILE|UUID|KEY] [--uuid U | --anchor | --crl] [--replace] [--config FILE]
                                      the trust folder, for siphon trust
siphond --version`;
/** Then it goes as a kill -9 would have it. Below the unit's TimeoutStopSec. */
const STOP_MS_MAX = 15_000;

await main();

async function main(): Promise<void> {
  const options = readOptions();
  if (options === undefined) return end(USAGE, ERROR_TABLE.usage.exit);
  if (options.help) return console.log(USAGE);
  if (options.version) return console.log(VERSION);
  const asked = options['check-config'];
  if (asked !== undefined)
    return tellChecked(asked, await findProblems(asked), options.json === true);
  const configFile = path.resolve(options.config ?? CONFIG_PATH);
  if (options.doctor === true) return doctor(configFile, options);
  if (options.trust !== undefined) return trust(configFile, options.trust, options);
  const loaded = await loadConfig(configFile);
  if (loaded.kind === 'bad') return tellChecked(configFile, loaded.problems, false);
  await serve(configFile, loaded);
}

function readOptions() {
  try {
    const text = { type: 'string' } as const;
    const flag = { type: 'boolean' } as const;
    const check = { 'check-config': text, json: flag };
    const doctor = { doctor: flag, caps: flag, images: text, vms: text };
    const trust = { trust: text, what: text, uuid: text, anchor: flag, crl: flag, replace: flag };
    const options = { config: text, ...check, ...doctor, ...trust, version: flag, help: flag };
    return parseArgs({ options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    console.error((error as Error).message);
    return undefined;
  }
}

type Options = NonNullable<ReturnType<typeof readOptions>>;

async function doctor(configFile: string, options: Options): Promise<void> {
  const { images, vms, json = false, caps = false } = options;
  const list = (text: string) => text.split(',').filter(Boolean);
  const pools = {
    ...(images !== undefined && { images: list(images) }),
    ...(vms !== undefined && { vms: list(vms) }),
  };
  process.exitCode = await runDoctor({ configFile, isJson: json, isCaps: caps, pools });
}

async function trust(configFile: string, verb: string, options: Options): Promise<void> {
  const { what, uuid, anchor = false, crl = false, replace = false } = options;
  if (!['list', 'add', 'revoke'].includes(verb)) return end(USAGE, ERROR_TABLE.usage.exit);
  const named = { ...(what !== undefined && { what }), ...(uuid !== undefined && { uuid }) };
  const kind = { isAnchor: anchor, isCrl: crl, isReplaced: replace };
  process.exitCode = await runTrust({ configFile, verb, ...named, ...kind });
}

/** Of a config, and of the policies that it names. */
async function findProblems(file: string): Promise<readonly ConfigProblem[]> {
  const loaded = await loadConfig(file);
  if (loaded.kind === 'bad') return loaded.problems;
  const { problems: found } = await lookAtPolicies(loaded.config.snapshot.policies);
  return found.map(({ where, what }): ConfigProblem => {
    const [, at = where, line] = /^(.*):(\d+)$/.exec(where) ?? [];
    return { file: at, ...(line !== undefined && { line: Number(line) }), key: '', what };
  });
}

function tellChecked(file: string, problems: readonly ConfigProblem[], isJson: boolean): void {
  if (problems.length > 0) process.exitCode = ERROR_TABLE.usage.exit;
  if (isJson) return console.log(JSON.stringify({ file, problems }, null, 2));
  if (problems.length === 0) return console.log(`${file}: ok`);
  console.error(problems.map(formatProblem).join('\n'));
}

function end(message: string, exitCode: number): void {
  console.error(message);
  process.exitCode = exitCode;
}

type Good = Extract<LoadedConfig, { kind: 'config' }>;

async function serve(configFile: string, { config, checked }: Good): Promise<void> {
  const log = createLog(config.log.level);
  // Before the first wait: a SIGHUP ends a process that does not take it.
  let reload = () => {};
  process.on('SIGHUP', () => reload());
  const onHangup = (listener: () => void) => (reload = listener);
  await keepCapabilities();
  const given = takeActivation(process.env, process.pid);
  const onDefect = (error: unknown): never => {
    log.fatal({ err: error }, 'a defect: siphond ends');
    process.exit(1);
  };
  process.on('uncaughtException', onDefect);
  const stopping = Promise.withResolvers<string>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stopping.resolve);
  try {
    const onReady = () => tell('READY=1', log);
    const world = { log, given, onDefect, onReady, onHangup };
    await using _siphond = await startSiphond({ configFile, checked, ...world });
    log.info({ version: VERSION, pid: process.pid }, 'siphond is at work');
    const signal = await stopping.promise;
    log.info({ signal }, 'stopping');
    setTimeout(() => endLate(log), STOP_MS_MAX);
    await tell('STOPPING=1', log);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    log.fatal({ error: error.toWire() }, 'siphond cannot start');
    process.exit(ERROR_TABLE[error.code].exit);
  }
  log.info('stopped');
  process.exit(0);
}

/** A failure is logged: siphond works on, and systemd's own timeout decides. */
async function tell(state: string, log: Logger): Promise<void> {
  await tellSystemd(state).catch((err: unknown) => log.warn({ err }, 'systemd was not told'));
}

function endLate(log: Logger): never {
  log.error(`not stopped within ${STOP_MS_MAX} ms: left to the next start`);
  process.exit(0);
}
