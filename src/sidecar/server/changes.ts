// What the routes that change something are given: the services, and the audit of every change.

import type { FastifyRequest } from 'fastify';
import { USER_HEADER } from '../../wire/api.ts';
import { type Audit, type Change, claimedUserOf } from '../audit.ts';
import type { Services } from './services.ts';

export interface ChangeParts {
  readonly services: Services;
  /** Does a change under the audit. */
  readonly change: <T>(
    request: FastifyRequest,
    what: Change,
    subject: string,
    work: () => T | Promise<T>,
  ) => Promise<T>;
}

export function changesOf(services: Services, audit: Audit): ChangeParts {
  return {
    services,
    change(request, what, subject, work) {
      const claimedUser = userOf(request);
      const who = {
        socket: 'write',
        ...(claimedUser === undefined ? {} : { claimedUser }),
      } as const;
      return audit({ who, what, subject }, work);
    },
  };
}

/** Who the client says that it works for. */
export function userOf(request: FastifyRequest): string | undefined {
  return claimedUserOf(request.headers[USER_HEADER]);
}
