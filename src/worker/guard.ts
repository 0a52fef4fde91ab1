// The guard of one held domain, started by PID 1 and told nothing by anybody: it reads the domain's note, waits for its deadline, and
// lets the domain go, whoever of siphon's lives then. It fails if it could not, and is started again.

import { setTimeout as delay } from 'node:timers/promises';
import { Connection } from 'node-libvirt';
import { OperatingError } from '../wire/errors.ts';
import { exitNow } from './exit.ts';
import { askWith } from './roles/libvirt/ask.ts';
import { type LetGo, letGo } from './roles/libvirt/let-go.ts';
import { monotonicMs, type Note, Notes } from './roles/libvirt/notes.ts';
import { during } from './translate-error.ts';

/** Longer than libvirt lets a call wait for another (30 s): none of ours is left on its way. */
const ATTEMPT_MS = 40_000;
const LOOK_AGAIN_MS = 50;

export async function runGuard(uri: string, domain: string): Promise<never> {
  try {
    const done = await guard(uri, domain);
    console.log(done);
    return await exitNow(0);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    console.error(`${error.message}; it is tried again`);
    return await exitNow(1);
  }
}

/** @throws OperatingError unavailable */
async function guard(uri: string, domain: string): Promise<string> {
  const notes = new Notes();
  // Before it is needed: the domain is not to wait for it.
  const connecting = during({ op: 'connect', subject: uri }, () => Connection.open(uri));
  connecting.catch(() => undefined);
  const note = await atDeadline(notes, domain);
  if (!note) return `${domain} was let go before its deadline`;
  const connection = await connecting;
  const ask = askWith(() => connection);
  const gone = await Promise.race([
    letGo(ask, note, monotonicMs() + ATTEMPT_MS),
    connection.closed.then((why) => lost(uri, why)),
  ]);
  await notes.remove(domain);
  return `${domain} was held over its deadline: ${whatWasDone(gone)}`;
}

/** The next start connects anew. */
function lost(subject: string, why: string): never {
  throw new OperatingError({ code: 'unavailable', op: 'let domain go', subject, why });
}

/** Undefined: its note is gone before. */
async function atDeadline(notes: Notes, domain: string): Promise<Note | undefined> {
  for (;;) {
    const note = await notes.read(domain);
    if (!note || note.deadlineMs <= monotonicMs()) return note;
    await delay(Math.min(LOOK_AGAIN_MS, note.deadlineMs - monotonicMs()));
  }
}

function whatWasDone({ wasSuspended, wasFrozen }: LetGo): string {
  const done = [wasSuspended && 'resumed', wasFrozen && 'thawed'].filter((each) => each !== false);
  return done.length === 0 ? 'nothing was left to undo' : done.join(' and ');
}
