// What commander says of a wrong call, as siphon says its errors: `siphon: …`, or with --json one object on standard error.

import type { Command, CommanderError } from 'commander';
import { ERROR_TABLE, OperatingError } from '../wire/errors.ts';

const HINT = 'siphon --help lists the commands; siphon COMMAND --help tells about one.';

/** Commander then prints no error itself, and with --json no help in its place. To be called before commands are added. */
export function quietErrors(program: Command, isJson: boolean): void {
  program.configureOutput({
    outputError: () => undefined, // reportUsage tells it
    ...(isJson && { writeErr: () => undefined }),
  });
}

/** Prints what was wrong with the call; gives the exit code, which is 0 where help or the version was asked for. */
export function reportUsage({ exitCode, code, message }: CommanderError, isJson: boolean): number {
  if (exitCode === 0) return 0;
  const isHelp = code === 'commander.help';
  const why = isHelp ? 'a command is missing' : message.replace(/^error: /, '');
  const fields = { code: 'usage', op: 'read arguments', subject: 'siphon', hint: HINT } as const;
  const error = new OperatingError({ ...fields, why: why.replaceAll('\n', ' ') });
  if (isJson) process.stderr.write(`${JSON.stringify({ error: error.toWire() })}\n`);
  else if (!isHelp) process.stderr.write(`siphon: ${error.why}\n  ${HINT}\n`);
  return ERROR_TABLE.usage.exit;
}
