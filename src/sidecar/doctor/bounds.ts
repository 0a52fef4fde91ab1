// Every look has an end: a command, a question to siphond, a call of a worker.

import { request } from 'node:http';
import { execa } from 'execa';

export const LOOK_MS_MAX = 5000;

export interface Ran {
  /** undefined: it did not end by itself, or could not begin. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command; never throws. */
export async function look(command: string, ...args: readonly string[]): Promise<Ran> {
  const ran = await execa(command, args, {
    reject: false,
    timeout: LOOK_MS_MAX,
    forceKillAfterDelay: 500,
    stdin: 'ignore',
    env: { LC_ALL: 'C' },
  });
  return { code: ran.exitCode, stdout: ran.stdout, stderr: ran.stderr };
}

/** Whether that user may read a file; true also where there is no such user, who is missed elsewhere. */
export async function mayRead(user: string, file: string): Promise<boolean> {
  const { code, stderr } = await look('setpriv', ...asUser(user), 'test', '-r', file);
  return code === 0 || stderr !== '';
}

/** Whether that user may make files in a folder. */
export async function mayWriteIn(user: string, folder: string): Promise<boolean> {
  const may = await look(
    'setpriv',
    ...asUser(user),
    'test',
    '-d',
    folder,
    '-a',
    '-w',
    folder,
    '-a',
    '-x',
    folder,
  );
  return may.code === 0;
}

/** Arguments of setpriv(1): a user with the groups that it has, and nothing of root's. */
export function asUser(user: string): string[] {
  return [`--reuid=${user}`, `--regid=${user}`, '--init-groups', '--inh-caps=-all', '--'];
}

/** An answer of siphond's. @throws Error with why there is none */
export function getJson<T>(socketPath: string, path: string): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const signal = AbortSignal.timeout(LOOK_MS_MAX);
  const asked = request({ socketPath, path, signal, agent: false }, (answer) => {
    let text = '';
    answer.setEncoding('utf8');
    answer.on('data', (part: string) => (text += part));
    answer.on('error', reject);
    answer.on('end', () => {
      if (answer.statusCode === 200) resolve(JSON.parse(text) as T);
      else reject(new Error(`it answers ${path} with ${answer.statusCode}`));
    });
  });
  asked.on('error', (error) =>
    reject(signal.aborted ? new Error(`no answer within ${LOOK_MS_MAX / 1000} s`) : error),
  );
  asked.end();
  return promise;
}
