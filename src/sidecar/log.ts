// The log: JSON lines on stdout, each behind the `<N>` by which journald takes its priority (sd-daemon(3)). Never a secret,
// never a domain's XML.

import { type Logger, pino } from 'pino';
import type { Config } from './config/load.ts';

/** syslog priorities (syslog.h) of pino's levels. */
const PRIORITIES: readonly (readonly [least: number, priority: number])[] = [
  [60, 2],
  [50, 3],
  [40, 4],
  [30, 6],
  [0, 7],
];

/** What is struck out wherever somebody logs an object that holds it. */
const SECRETS = ['xml', 'domainXml', 'password', 'secret', 'key', 'keyring', 'token'];

export interface LogSink {
  write(text: string): unknown;
}

export function createLog(level: Config['log']['level'], sink: LogSink = process.stdout): Logger {
  const stream = {
    lastLevel: 30,
    write(line: string) {
      sink.write(`<${priorityOf(this.lastLevel)}>${line}`);
    },
    // pino tells a stream the level of each line it is about to write where the stream asks for its metadata.
    [Symbol.for('pino.metadata')]: true,
  };
  return pino(
    {
      level,
      base: null,
      timestamp: false, // journald has its own
      formatters: { level: (label: string) => ({ level: label }) },
      serializers: { err: pino.stdSerializers.err },
      redact: {
        paths: SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]),
        censor: '[struck out]',
      },
    },
    stream,
  );
}

function priorityOf(level: number): number {
  return PRIORITIES.find(([least]) => level >= least)?.[1] ?? 7;
}

export type { Logger };
