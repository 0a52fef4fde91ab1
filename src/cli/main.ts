// siphon: a client of siphond's socket. One file a command; exit codes by kind of error (docs/cli.md).

import { Command, CommanderError } from 'commander';
import { VERSION } from '../wire/version.ts';
import { addBaseCommands } from './commands/bases.ts';
import { addDescribe } from './commands/describe.ts';
import { addEvict } from './commands/evict.ts';
import { addJobs } from './commands/jobs.ts';
import { addSnapshot } from './commands/snapshot.ts';
import { addStart } from './commands/start.ts';
import { addStatus } from './commands/status.ts';
import { addWarm } from './commands/warm.ts';
import { reportError } from './output.ts';

const EXITS = `
SOURCE is rbd:POOL/[NAMESPACE/]IMAGE@SNAP, or rbd://FSID/POOL/IMAGE/SNAP with each part URL-escaped.
BASE is a base's id or path as 'siphon list' shows it, or a SOURCE.

Exit codes: 0 done, 2 wrong request, 4 not there, 5 refused, 6 busy, 7 could not tell (siphond or Ceph is down),
8 no space, 9 bytes are not what they must be, 10 not what was meant, 11 cancelled, 12 not allowed.`;

const program = new Command('siphon')
  .description('Base images and snapshots of this hypervisor. A client of siphond.')
  .version(VERSION)
  .helpCommand(false)
  .showHelpAfterError('(siphon --help lists the commands)')
  .addHelpText('after', EXITS)
  .exitOverride();
for (const add of [
  addWarm,
  addDescribe,
  addBaseCommands,
  addEvict,
  addStart,
  addSnapshot,
  addJobs,
  addStatus,
]) {
  add(program);
}

// A reader that leaves early (`siphon list | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  // commander has printed its message already; its own exit codes are 0 (help) and 1 (a wrong call).
  process.exitCode =
    error instanceof CommanderError
      ? error.exitCode === 0
        ? 0
        : 2
      : reportError(error, process.argv.includes('--json'));
}
