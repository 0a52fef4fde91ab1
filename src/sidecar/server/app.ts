// An HTTP server with the one face of errors: an OperatingError is its code's status and `{error}`; a body that does not
// fit is `usage`; anything else is a defect, which ends the process.

import Fastify, { type FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { z } from 'zod';
import { ERROR_TABLE, OperatingError } from '../../wire/errors.ts';

const BODY_BYTES_MAX = 1024 * 1024;
/** A client that does not finish its request in this time is dropped. */
const REQUEST_MS_MAX = 30_000;

export interface AppParts {
  readonly log: Logger;
  readonly bodyBytesMax?: number;
  /** Only GET is served; anything else is `denied`. */
  readonly isReadOnly?: boolean;
  /** A defect came up: the process should end. */
  readonly onDefect: (error: unknown) => void;
}

export function createApp({
  log,
  bodyBytesMax = BODY_BYTES_MAX,
  isReadOnly = false,
  onDefect,
}: AppParts): FastifyInstance {
  const app = Fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: REQUEST_MS_MAX,
    routerOptions: { maxParamLength: 4096 },
  });
  app.setNotFoundHandler((request, reply) => {
    const subject = `${request.method} ${request.url.split('?')[0]}`;
    if (isReadOnly && request.method !== 'GET') throw readOnly(subject);
    return reply.code(404).send({ error: { code: 'not-found', op: 'find route', subject } });
  });
  app.setErrorHandler((error, request, reply) => {
    const subject = `${request.method} ${request.routeOptions.url ?? ''}`;
    const operating = toOperating(error, subject);
    if (operating === undefined) onDefect(error);
    const told = operating ?? defect(subject);
    log.debug({ error: told.toWire() }, 'request failed');
    return reply.code(ERROR_TABLE[told.code].http).send({ error: told.toWire() });
  });
  return app;
}

function toOperating(error: unknown, subject: string): OperatingError | undefined {
  if (error instanceof OperatingError) return error;
  const fields = { code: 'usage', op: 'read request', subject } as const;
  if (error instanceof z.ZodError)
    return new OperatingError({ ...fields, why: z.prettifyError(error) });
  // fastify's own: a body that is too long, not JSON, of an unknown type.
  const { statusCode = 500, message } = error as { statusCode?: number; message: string };
  return statusCode < 500 ? new OperatingError({ ...fields, why: message }) : undefined;
}

function readOnly(subject: string): OperatingError {
  const why = 'nothing is changed by way of this socket';
  const hint = "Ask on the API's own socket (api.socket).";
  return new OperatingError({ code: 'denied', op: 'serve', subject, why, hint });
}

function defect(subject: string): OperatingError {
  const hint = 'This is a defect of siphond: its log says more.';
  return new OperatingError({
    code: 'unavailable',
    op: 'serve',
    subject,
    why: 'siphond failed',
    hint,
  });
}
