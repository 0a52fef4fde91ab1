// Has a call of librados, librbd or libvirt fail in the installed siphon, of which nothing is changed but the package by which it
// calls C.

import { closeSync, constants, openSync, readSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { transform } from 'esbuild';
import type { StatusAnswer } from '../../../src/wire/api.ts';
import { CALLS, FOLDER, PLAN, type Plan } from './faulty-koffi.ts';
import { must, sh, until } from './host.ts';
import type { Cleanup } from './images.ts';
import { answering, siphonJson } from './siphon.ts';

const KOFFI = '/usr/lib/siphon/node_modules/koffi';
/** Found by the name `koffi` from the one that stands in its place, and from nowhere else. */
const REAL = `${KOFFI}/node_modules/koffi`;

export type Fault = NonNullable<Plan['fails']>;

export interface Errors {
  /** Until it is withdrawn. */
  plan(fault?: Fault): Promise<void>;
  /** Which calls were made since the plan began, in their order, each with its number. Those of an earlier plan are forgotten. */
  withdraw(): Promise<readonly Pick<Fault, 'symbol' | 'number'>[]>;
}

/** Until the file's end; siphond is restarted for it, and after it. */
export async function errors(cleanup: Cleanup): Promise<Errors> {
  await sh(`rm -rf ${FOLDER}; mkdir -m 755 ${FOLDER}; mkfifo ${CALLS}; chmod 666 ${CALLS}`);
  const calls = openSync(CALLS, constants.O_RDWR | constants.O_NONBLOCK);
  cleanup.after(async () => closeSync(calls));
  cleanup.after(async () => {
    await sh(
      `rm -rf ${FOLDER}; ! [ -d ${REAL} ] || { mv ${REAL} ${KOFFI}.real; rm -r ${KOFFI}; mv ${KOFFI}.real ${KOFFI}; }`,
    );
    await restart();
  });
  await sh(`mv ${KOFFI} ${KOFFI}.real; mkdir -p ${KOFFI}/node_modules; mv ${KOFFI}.real ${REAL}`);
  await writeFile(`${KOFFI}/package.json`, '{"type":"module","main":"./index.js"}\n');
  const source = await readFile(path.join(import.meta.dirname, 'faulty-koffi.ts'), 'utf8');
  await writeFile(`${KOFFI}/index.js`, (await transform(source, { loader: 'ts' })).code);
  await restart();
  let count = 0;
  let id = '';
  return {
    async plan(fails) {
      id = `p${++count}`;
      const plan: Plan = { id, ...(fails && { fails }) };
      await writeFile(`${PLAN}.new`, JSON.stringify(plan));
      await rename(`${PLAN}.new`, PLAN);
    },
    async withdraw() {
      await rm(PLAN, { force: true });
      const lines = drain(calls)
        .split('\n')
        .map((line) => line.split(' '));
      return lines
        .filter(([of]) => of === id)
        .map(([, symbol = '', number]) => ({ symbol, number: Number(number) }));
    },
  };
}

/** With libvirt, too. */
export async function restart(): Promise<void> {
  await must('systemctl', 'restart', 'siphond');
  await answering();
  const isConnected = async () => {
    return (await siphonJson<StatusAnswer>('status')).libvirt.state === 'connected';
  };
  await until('libvirt is connected', isConnected);
}

/** What is in the pipe now. */
function drain(fd: number): string {
  const buffer = Buffer.alloc(1 << 16);
  let text = '';
  for (;;) {
    try {
      text += buffer.toString('latin1', 0, readSync(fd, buffer));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return text;
      throw error;
    }
  }
}
