// Domains in which sets are booted to prove that they can be restored: the worker's side of src/wire/verify-protocol.ts. Each lives as long
// as this worker's connection to libvirt. What its guest answers is nobody's word: it is taken apart with care.

import { setTimeout as delay } from 'node:timers/promises';
import {
  type AgentCommand,
  agentCommand,
  attachDevice,
  type Connection,
  createDomain,
  type Domain,
  guestFilesystems,
  isLibvirtError,
  LibvirtError,
  lookUpDomainByUuid,
  setAgentTimeout,
  VIR_ERR,
} from 'node-libvirt';
import { parseDomain } from '../../../domain/domain.ts';
import { assertNoNewAccess } from '../../../domain/host-access.ts';
import { assertProofDisks, withoutShares } from '../../../domain/proof-domain.ts';
import { OperatingError } from '../../../wire/errors.ts';
import { type GuestLook, PROOF_MARK, type ProofMethods } from '../../../wire/verify-protocol.ts';
import type { CallContext, Handlers } from '../../role.ts';
import { during } from '../../translate-error.ts';

type Params<K extends keyof ProofMethods> = ProofMethods[K]['params'];
type Result<K extends keyof ProofMethods> = ProofMethods[K]['result'];

export interface ProofParts {
  readonly connection: () => Connection;
  /** XML of the domains that are defined here. */
  readonly definitions: () => Promise<readonly string[]>;
}

/** For an agent that is there, seconds; whether one is there is known sooner. */
const AGENT_SECONDS = 10;
const LOOK_SECONDS = 3;

export function proofHandlers(parts: ProofParts): Handlers<ProofMethods> {
  return {
    startProof: (params) => start(parts, params),
    lookAtProof: ({ domain }) => look(parts, domain),
    attachToProof: (params) => attach(parts, params),
    execInProof: (params, context) => exec(parts, params, context),
    endProof: ({ domain }) => end(parts, domain),
  };
}

function start(
  { connection, definitions }: ProofParts,
  { xml }: Params<'startProof'>,
): Promise<Result<'startProof'>> {
  const { name } = parseDomain(xml);
  return during({ op: 'start proof', subject: name }, async () => {
    assertMarked(name);
    assertProofDisks(xml);
    assertNoNewAccess(xml, await definitions());
    return await created(connection(), xml);
  });
}

/** Once more without its share of the processors, where the host has no control group for that. */
async function created(connection: Connection, xml: string): Promise<Result<'startProof'>> {
  try {
    await using _ = await createDomain(connection, xml, { isAutoDestroyed: true });
    return { kind: 'started' };
  } catch (error) {
    if (!(error instanceof LibvirtError) || connection.isClosed) throw error;
    const bare = withoutShares(xml);
    const isShares = isLibvirtError(error, VIR_ERR.CONFIG_UNSUPPORTED) && bare !== xml;
    return isShares ? await created(connection, bare) : { kind: 'not', why: error.message };
  }
}

/** @throws OperatingError not-found: it has ended; refused: it is none of siphon's */
function on<T>(
  { connection }: ProofParts,
  uuid: string,
  op: string,
  body: (domain: Domain) => Promise<T>,
): Promise<T> {
  return during({ op, subject: uuid }, async () => {
    await using found = await lookUpDomainByUuid(connection(), uuid);
    assertMarked(found.name);
    return await body(found);
  });
}

function assertMarked(subject: string): void {
  if (subject.startsWith(PROOF_MARK)) return;
  const why = `its name does not begin with ${PROOF_MARK}`;
  throw new OperatingError({ code: 'refused', op: 'enter domain', subject, why });
}

async function look(parts: ProofParts, uuid: string): Promise<GuestLook> {
  try {
    return await on(parts, uuid, 'look at guest', lookAt);
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'not-found') return { kind: 'gone' };
    throw error;
  }
}

async function lookAt(domain: Domain): Promise<GuestLook> {
  const info = await asked(domain, { execute: 'guest-info' }, LOOK_SECONDS);
  if ('why' in info) return { kind: 'silent', why: info.why };
  const os = await asked(domain, { execute: 'guest-get-osinfo' });
  const filesystems = await mounted(domain);
  const name = 'why' in os ? undefined : textOf(os.answer, 'pretty-name', 'name', 'id');
  const whyNoExec = whyNotExec(info.answer);
  return {
    kind: 'answers',
    agent: textOf(info.answer, 'version') ?? 'of no version',
    ...(name !== undefined && { os: name }),
    ...(whyNoExec !== undefined && { whyNoExec }),
    ...('why' in filesystems
      ? { filesystems: [], whyNoFilesystems: filesystems.why }
      : { filesystems: filesystems.found }),
  };
}

type Asked = { readonly answer: unknown } | { readonly why: string };

/** Whatever libvirt or the agent says instead of an answer is why there is none. */
async function asked(
  domain: Domain,
  command: AgentCommand,
  seconds = AGENT_SECONDS,
): Promise<Asked> {
  try {
    return { answer: await agentCommand(domain, command, seconds) };
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    return { why: error.message };
  }
}

async function mounted(domain: Domain) {
  try {
    await setAgentTimeout(domain, AGENT_SECONDS);
    const found = await guestFilesystems(domain);
    return {
      found: found.map(({ mountpoint, name, type, disks }) => {
        return { mountpoint, device: name, type, disks };
      }),
    };
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    return { why: error.message };
  }
}

/** `guest-info` names each command, and whether it is allowed. */
function whyNotExec(info: unknown): string | undefined {
  const commands = fieldOf(info, 'supported_commands');
  const exec = Array.isArray(commands)
    ? commands.find((each) => fieldOf(each, 'name') === 'guest-exec')
    : undefined;
  if (exec === undefined) return 'its agent has no guest-exec';
  return fieldOf(exec, 'enabled') === true ? undefined : 'its agent is not allowed guest-exec';
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}

/** The first of these fields that is a text. */
function textOf(value: unknown, ...keys: readonly string[]): string | undefined {
  return keys.map((key) => fieldOf(value, key)).find((each) => typeof each === 'string');
}

function attach(
  parts: ProofParts,
  { domain, xml }: Params<'attachToProof'>,
): Promise<Result<'attachToProof'>> {
  return on(parts, domain, 'attach disk', async (found) => {
    assertProofDisks(xml);
    assertNoNewAccess(xml, await parts.definitions());
    try {
      await attachDevice(found, xml, 'live');
      return { kind: 'attached' };
    } catch (error) {
      if (!(error instanceof LibvirtError) || parts.connection().isClosed) throw error;
      return { kind: 'not', why: error.message };
    }
  });
}

const AGAIN_MS = 300;
const OUTPUT_CHARS_MAX = 256 * 1024;

function exec(
  parts: ProofParts,
  { domain, script, args, timeoutMs }: Params<'execInProof'>,
  { signal }: Pick<CallContext, 'signal'>,
): Promise<Result<'execInProof'>> {
  return on(parts, domain, 'run in guest', async (found) => {
    const until = performance.now() + timeoutMs;
    const run = { path: '/bin/sh', arg: ['-c', script, 'siphon', ...args], 'capture-output': true };
    const begun = await asked(found, { execute: 'guest-exec', arguments: run });
    if ('why' in begun) return { kind: 'not', why: begun.why };
    const pid = fieldOf(begun.answer, 'pid');
    while (performance.now() < until) {
      signal.throwIfAborted();
      const status = await asked(found, { execute: 'guest-exec-status', arguments: { pid } });
      if ('why' in status) return { kind: 'not', why: status.why };
      if (fieldOf(status.answer, 'exited') === true) return ranOf(status.answer);
      await delay(AGAIN_MS, undefined, { signal });
    }
    return { kind: 'not', why: `it took longer than ${Math.round(timeoutMs / 60_000)} min` };
  });
}

function ranOf(answer: unknown): Result<'execInProof'> {
  const exitCode = Number(fieldOf(answer, 'exitcode') ?? -1);
  const printed = ['out-data', 'err-data'].map((key) => {
    const text = Buffer.from(textOf(answer, key) ?? '', 'base64').toString('utf8');
    return text.slice(0, OUTPUT_CHARS_MAX);
  });
  return { kind: 'ran', exitCode, output: printed.join('\n') };
}

/** What it was made of is nobody's then. */
async function end(parts: ProofParts, uuid: string): Promise<Result<'endProof'>> {
  try {
    return await on(parts, uuid, 'end proof', async (found) => {
      await found.destroy();
      return { was: 'ended' };
    });
  } catch (error) {
    const isGone = error instanceof OperatingError && error.code === 'not-found';
    if (isGone || isLibvirtError(causeOf(error), VIR_ERR.OPERATION_INVALID))
      return { was: 'absent' };
    throw error;
  }
}

const causeOf = (error: unknown): unknown => (error instanceof Error ? error.cause : undefined);
