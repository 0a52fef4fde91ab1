// libvirt's hook, on its own socket. GET /v1/hook/ready: siphond lives. POST /v1/hook/OPERATION?subop=&extra=&pid= with the
// domain's XML: the answer begins at once, so that the hook knows us at work, goes on with a space now and then, and ends
// in the verdict's line. The filter knows spaces and that line, and nothing else.

import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { HookRequest } from '../../hook/events.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { Counts, HookVerdict } from '../metrics-port.ts';
import type { Services } from './services.ts';

/** Domain XML may be some MB. */
export const HOOK_BODY_BYTES_MAX = 16 * 1024 * 1024;
const ALIVE_MS = 250;

const Operation = z.strictObject({ operation: z.string().regex(/^[a-z]{1,20}$/) });
const Query = z.strictObject({
  subop: z.string().max(40).default('unknown'),
  extra: z.string().max(80).default('none'),
  /** The filter's, for the log. */
  pid: z.coerce.number().int().exactOptional(),
});

export interface HookRouteParts {
  readonly hook: Services['hook'];
  readonly counts: Pick<Counts, 'hookAnswered'>;
  readonly log: Logger;
  /** Aborted when siphond stops: whoever waits is let go. */
  readonly stopping: AbortSignal;
}

export function addHookRoute(app: FastifyInstance, parts: HookRouteParts): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_, body, done) => done(null, body));
  app.get('/v1/hook/ready', (_, reply) => reply.code(204).send());
  app.post('/v1/hook/:operation', async (request, reply) => {
    const { operation } = Operation.parse(request.params);
    const { subop, extra, pid } = Query.parse(request.query);
    const xml = typeof request.body === 'string' ? request.body : '';
    const asked = {
      operation,
      subOperation: subop,
      extra,
      xml,
      ...(pid === undefined ? {} : { pid }),
    };
    const gone = new AbortController();
    const finish = begin(reply, gone);
    const beganMs = performance.now();
    const line = await verdictOf(parts, asked, AbortSignal.any([gone.signal, parts.stopping]));
    finish(line);
    const seconds = (performance.now() - beganMs) / 1000;
    parts.counts.hookAnswered(operation, verdictIn(line), seconds);
  });
}

/** Acknowledges, and keeps the connection audibly alive until the verdict. */
function begin(reply: FastifyReply, gone: AbortController): (line: string) => void {
  const { raw } = reply;
  reply.hijack();
  raw.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  raw.write(' ');
  const alive = setInterval(() => raw.write(' '), ALIVE_MS);
  const leave = () => {
    clearInterval(alive);
    gone.abort();
  };
  if (raw.destroyed) leave();
  else raw.once('close', leave);
  return (line) => {
    clearInterval(alive);
    raw.end(line);
  };
}

const ALLOWED = 'allow\n';
/** The filter then spools the event, and lets the domain go on. */
const NO_VERDICT = '';

function verdictIn(line: string): HookVerdict {
  if (line === NO_VERDICT) return 'none';
  return line === ALLOWED ? 'allow' : 'refuse';
}

/** Only a refusal that is certain stops a domain: what siphond cannot read, cannot tell, or cannot do, never does. */
async function verdictOf(
  { hook, log, stopping }: HookRouteParts,
  asked: HookRequest,
  signal: AbortSignal,
): Promise<string> {
  const { promise: stopped, resolve: letGo } = Promise.withResolvers<undefined>();
  const leave = () => letGo(undefined);
  stopping.addEventListener('abort', leave, { once: true });
  try {
    if (stopping.aborted) return NO_VERDICT;
    const verdict = await Promise.race([hook(asked, signal), stopped]);
    if (verdict === undefined) return NO_VERDICT;
    return verdict.kind === 'allow' ? ALLOWED : `refuse ${oneLine(verdict.message)}\n`;
  } catch (error) {
    const { operation } = asked;
    const told = error instanceof OperatingError ? { error: error.toWire() } : { err: error };
    log.error({ ...told, operation }, 'a hook call could not be decided: the domain goes on');
    // What cannot be read now cannot be read later.
    return error instanceof OperatingError && error.code === 'usage' ? ALLOWED : NO_VERDICT;
  } finally {
    stopping.removeEventListener('abort', leave);
  }
}

/** The filter takes one line. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
