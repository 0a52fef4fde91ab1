// The notes of what is held, or is about to be: one file a domain, durable before each step, so that whoever comes next (the guard,
// a worker after this one) knows what to undo and what not. In /run: after a boot of the host no guest is held.

import { link, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { OperatingError } from '../../../wire/errors.ts';

/** Of the user of the libvirt worker: its units make it. */
export const HELD_FOLDER = '/run/siphon/held';

export interface Note {
  /** UUID. */
  readonly domain: string;
  /** libvirt's number of this run of the domain; in another run nothing is held. */
  readonly run: number;
  /** The worker's process: what another one holds is that one's while it lives. */
  readonly holder: number;
  /** When the guard lets it go. This and the others are of {@link monotonicMs}. */
  readonly deadlineMs: number;
  /** When the call began; absent: it did not, or is undone. */
  readonly freezingMs?: number;
  readonly suspendingMs?: number;
}

/** ms of CLOCK_MONOTONIC: the same in all processes of this boot, whatever becomes of the host's time of day. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000_000n);

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** A note before it has its name, and the process that writes it. */
const WRITTEN = /\.json\.(\d+)$/;

export class Notes {
  readonly #folder: string;

  constructor(folder = HELD_FOLDER) {
    this.#folder = folder;
  }

  /** @throws OperatingError busy: there is one */
  async create(note: Note): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const written = await this.#write(note);
    try {
      await link(written, this.#path(note.domain));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const fields = { op: 'guard', subject: note.domain, why: 'it is noted as held already' };
      throw new OperatingError({ code: 'busy', ...fields, cause: error });
    } finally {
      await rm(written);
    }
    await this.#sync();
  }

  /** Instead of the note that is there. */
  async replace(note: Note): Promise<void> {
    await rename(await this.#write(note), this.#path(note.domain));
    await this.#sync();
  }

  async read(domain: string): Promise<Note | undefined> {
    const file = this.#path(domain);
    try {
      return JSON.parse(await readFile(file, 'utf8')) as Note;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async remove(domain: string): Promise<void> {
    await rm(this.#path(domain), { force: true });
  }

  /** The domains that have one. */
  async list(): Promise<string[]> {
    const names = await this.#names();
    return names.map((name) => path.basename(name, '.json')).filter((name) => UUID.test(name));
  }

  /** The domains whose holder is this process, or is gone. What such a one was killed in writing is removed. */
  async listOurs(): Promise<string[]> {
    for (const name of await this.#names()) {
      const writer = WRITTEN.exec(name)?.[1];
      if (writer === undefined || isAlive(Number(writer))) continue;
      await rm(path.join(this.#folder, name), { force: true });
    }
    const domains = await this.list();
    const notes = await Promise.all(domains.map((domain) => this.read(domain)));
    return domains.filter((_, index) => {
      const holder = notes[index]?.holder;
      return holder === process.pid || (holder !== undefined && !isAlive(holder));
    });
  }

  async #names(): Promise<string[]> {
    return readdir(this.#folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
  }

  #path(domain: string): string {
    if (UUID.test(domain)) return path.join(this.#folder, `${domain}.json`);
    const why = 'it is not a UUID in lower case';
    throw new OperatingError({ code: 'usage', op: 'note', subject: domain, why });
  }

  /** The note in a file of another name, complete. */
  async #write(note: Note): Promise<string> {
    const file = `${this.#path(note.domain)}.${process.pid}`;
    await using handle = await open(file, 'w', 0o600);
    await handle.writeFile(JSON.stringify(note));
    await handle.sync();
    return file;
  }

  async #sync(): Promise<void> {
    await using folder = await open(this.#folder, 'r');
    await folder.sync();
  }
}

/** A process of this user: a number that was given again, to somebody else, is no worker's. */
function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false; // there is none, or it is another user's
  }
}
