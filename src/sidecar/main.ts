// siphond's entry point: reads the config, starts, and stops on SIGTERM or SIGINT. A kill -9 is as good: the next start
// takes up what was left.

import { parseArgs } from 'node:util';
import { ERROR_TABLE, OperatingError } from '../wire/errors.ts';
import { VERSION } from '../wire/version.ts';
import { type Config, formatProblem, loadConfig } from './config/load.ts';
import { createLog, type Logger } from './log.ts';
import { notify } from './notify.ts';
import { startSiphond } from './siphond.ts';
import { takeActivation } from './sockets.ts';

const USAGE = `siphond [--config FILE]        serves (default: /etc/siphon/siphon.toml, or the defaults)
siphond --check-config FILE    tells every mistake in FILE, or that there is none
siphond --version`;
/** Then it goes as a kill -9 would have it. */
const STOP_MS_MAX = 10_000;

await main();

async function main(): Promise<void> {
  const options = readOptions();
  if (options === undefined) return end(USAGE, ERROR_TABLE.usage.exit);
  if (options.help) return console.log(USAGE);
  if (options.version) return console.log(VERSION);
  const checked = options['check-config'];
  const config = await readConfig(checked ?? options.config);
  if (config === undefined) return;
  if (checked !== undefined) return console.log(`${checked}: ok`);
  await serve(config);
}

function readOptions() {
  try {
    const text = { type: 'string' } as const;
    const flag = { type: 'boolean' } as const;
    const options = { config: text, 'check-config': text, version: flag, help: flag };
    return parseArgs({ options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    console.error((error as Error).message);
    return undefined;
  }
}

async function readConfig(file: string | undefined): Promise<Config | undefined> {
  const loaded = await loadConfig(file);
  if (loaded.kind === 'config') return loaded.config;
  end(loaded.problems.map(formatProblem).join('\n'), ERROR_TABLE.usage.exit);
  return undefined;
}

function end(message: string, exitCode: number): void {
  console.error(message);
  process.exitCode = exitCode;
}

async function serve(config: Config): Promise<void> {
  const log = createLog(config.log.level);
  const given = takeActivation(process.env, process.pid);
  const onDefect = (error: unknown): never => {
    log.fatal({ err: error }, 'a defect: siphond ends');
    process.exit(1);
  };
  process.on('uncaughtException', onDefect);
  const stopping = Promise.withResolvers<string>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stopping.resolve);
  try {
    const onReady = () => notify('ready', log);
    await using _siphond = await startSiphond({ config, log, given, onDefect, onReady });
    log.info({ version: VERSION, pid: process.pid }, 'siphond is at work');
    const signal = await stopping.promise;
    log.info({ signal }, 'stopping');
    setTimeout(() => endLate(log), STOP_MS_MAX);
    await notify('stopping', log);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    log.fatal({ error: error.toWire() }, 'siphond cannot start');
    process.exit(ERROR_TABLE[error.code].exit);
  }
  log.info('stopped');
  process.exit(0);
}

function endLate(log: Logger): never {
  log.error(`not stopped within ${STOP_MS_MAX} ms: left to the next start`);
  process.exit(0);
}
