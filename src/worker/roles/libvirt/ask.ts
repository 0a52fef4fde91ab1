// One question to libvirt about one domain, with an end. libvirt's own calls have none (a suspend of a QEMU that is stopped waits as
// long as that), so a call that is late goes on alone, and until it has returned that domain is asked nothing more.

import { setTimeout as delay } from 'node:timers/promises';
import { type Connection, type Domain, lookUpDomainByUuid } from 'node-libvirt';
import { OperatingError } from '../../../wire/errors.ts';
import { during } from '../../translate-error.ts';

export interface Question {
  /** UUID. */
  readonly domain: string;
  /** Verb first. */
  readonly op: string;
  readonly boundMs: number;
}

/** @throws OperatingError unavailable: not in time, or an earlier one has not returned; not-found */
export type Ask = <T>(question: Question, body: (domain: Domain) => Promise<T>) => Promise<T>;

export function askWith(connection: () => Connection): Ask {
  const late = new Set<string>();
  return async (question, body) => {
    const { domain, op, boundMs } = question;
    if (late.has(domain)) throw unanswered(question, 'an earlier call has not returned yet');
    const call = during({ op, subject: domain }, async () => {
      await using found = await lookUpDomainByUuid(connection(), domain);
      return await body(found);
    });
    using timer = new Alarm(boundMs);
    const first = await Promise.race([call.then((value) => ({ value })), timer.rings]);
    if (first !== undefined) return first.value;
    late.add(domain);
    const returned = () => void late.delete(domain);
    call.then(returned, returned);
    throw unanswered(question, `libvirt did not answer within ${Math.round(boundMs)} ms`);
  };
}

/** Rings once, unless it is disposed of before. */
class Alarm implements Disposable {
  readonly #abort = new AbortController();
  readonly rings: Promise<undefined>;

  constructor(afterMs: number) {
    const { signal } = this.#abort;
    this.rings = delay(Math.max(afterMs, 1), undefined, { signal }).catch(() => undefined);
  }

  [Symbol.dispose](): void {
    this.#abort.abort();
  }
}

function unanswered({ op, domain }: Question, why: string): OperatingError {
  const hint = 'A QEMU that is stopped or hangs keeps libvirt waiting: `virsh domcontrol DOMAIN`.';
  return new OperatingError({ code: 'unavailable', op, subject: domain, why, hint });
}
