// siphon: a client of siphond's socket. One file a command; exit codes by kind of error (docs/cli.md).

import { Command, CommanderError } from 'commander';
import { VERSION } from '../wire/version.ts';
import { addBaseCommands } from './commands/bases.ts';
import { addCheck } from './commands/check.ts';
import { addConfig } from './commands/config.ts';
import { addDescribe } from './commands/describe.ts';
import { addDoctor } from './commands/doctor.ts';
import { addEvict } from './commands/evict.ts';
import { addJobs } from './commands/jobs.ts';
import { addPause } from './commands/pause.ts';
import { addPolicy } from './commands/policy.ts';
import { addFlatten, addPublish } from './commands/publish.ts';
import { addReconcile } from './commands/reconcile.ts';
import { addRestore } from './commands/restore.ts';
import { addScrub } from './commands/scrub.ts';
import { addSign } from './commands/sign.ts';
import { addSnapshot } from './commands/snapshot.ts';
import { addStart } from './commands/start.ts';
import { addStatus } from './commands/status.ts';
import { addTransfer } from './commands/transfer.ts';
import { addTrust } from './commands/trust.ts';
import { addVerifyRestore } from './commands/verify.ts';
import { addWarm } from './commands/warm.ts';
import { reportError } from './output.ts';
import { quietErrors, reportUsage } from './usage.ts';

const EXITS = `
SOURCE is rbd:POOL/[NAMESPACE/]IMAGE@SNAP, or rbd://FSID/POOL/IMAGE/SNAP with each part URL-escaped.
BASE is a base's id or path as 'siphon list' shows it, or a SOURCE.

Exit codes: 0 done, 2 wrong request, 4 not there, 5 refused, 6 busy, 7 could not tell (siphond or Ceph is down),
8 no space, 9 bytes are not what they must be, 10 not what was meant, 11 cancelled, 12 not allowed, 130 left by Ctrl-C (siphond goes on with it).

On a terminal tables show what fits its width; into a pipe they go whole.`;

const isJson = process.argv.includes('--json');
const program = new Command('siphon')
  .description('Base images and snapshots of this hypervisor. A client of siphond.')
  .version(VERSION)
  .helpCommand(false)
  // A command has a --version of its own: of what it signs.
  .enablePositionalOptions()
  .addHelpText('after', EXITS)
  .exitOverride();
quietErrors(program, isJson);
for (const add of [
  addWarm,
  addDescribe,
  addSign,
  addBaseCommands,
  addEvict,
  addScrub,
  addStart,
  addSnapshot,
  addRestore,
  addVerifyRestore,
  addTransfer,
  addPublish,
  addFlatten,
  addReconcile,
  addPolicy,
  addTrust,
  addJobs,
  addPause,
  addConfig,
  addDoctor,
  addStatus,
  addCheck,
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
  process.exitCode =
    error instanceof CommanderError ? reportUsage(error, isJson) : reportError(error, isJson);
}
