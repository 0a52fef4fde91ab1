// Connecting as one cephx user, and saying what an operator can do where it fails: each cause has its own words.

import { accessSync, constants, readFileSync } from 'node:fs';
import { Cluster } from 'ceph-napi';
import type { Identity } from '../../../wire/caps.ts';
import { OperatingError } from '../../../wire/errors.ts';
import type { CephSettings, CephUser } from '../../../wire/worker-protocol.ts';
import { errnoOf, type Step, translateError } from '../../translate-error.ts';

export interface Connected {
  readonly cluster: Cluster;
  readonly fsid: string;
}

/** @throws OperatingError denied: the config gives nobody this job */
export function userOf({ users, conf }: CephSettings, identity: Identity): CephUser {
  const user = users[identity];
  if (user !== undefined) return user;
  throw new OperatingError({
    code: 'denied',
    op: identity,
    subject: conf,
    why: `the config names no user for it (clusters.NAME.users.${identity})`,
    hint: 'Name one, reload, and make it as `siphon doctor --caps` prints it.',
  });
}

/** @throws OperatingError; `mismatch` where the cluster is not the one that the config names. */
export async function connect(settings: CephSettings, identity: Identity): Promise<Connected> {
  const { conf, timeoutMs } = settings;
  const user = userOf(settings, identity);
  const limits = {
    connectTimeoutMs: timeoutMs,
    monTimeoutMs: timeoutMs,
    osdTimeoutMs: timeoutMs,
  };
  let cluster: Cluster;
  try {
    const keyring = user.keyring === undefined ? {} : { keyring: user.keyring };
    cluster = await Cluster.connect({ conf, user: user.name, ...keyring, ...limits });
  } catch (error) {
    throw translateConnectError(error, settings, identity);
  }
  try {
    return { cluster, fsid: await expectedFsid(cluster, settings) };
  } catch (error) {
    await cluster.close();
    throw translateError(error, { op: 'connect', subject: conf });
  }
}

async function expectedFsid(cluster: Cluster, { fsid, conf }: CephSettings): Promise<string> {
  const found = await cluster.fsid();
  if (fsid === undefined || fsid === found) return found;
  throw new OperatingError({
    code: 'mismatch',
    op: 'connect',
    subject: conf,
    why: `this cluster is ${found}, and the config names ${fsid}`,
    hint: 'Correct the fsid, or the conf file, of this cluster in the config.',
  });
}

function translateConnectError(
  error: unknown,
  settings: CephSettings,
  identity: Identity,
): OperatingError {
  const { conf, timeoutMs } = settings;
  const user = userOf(settings, identity);
  const entity = `client.${user.name}`;
  const step = { op: `connect as ${entity}`, subject: conf };
  const trouble = fileTrouble(conf) ?? (user.keyring && fileTrouble(user.keyring));
  if (trouble) return filesError(error, step, trouble);
  const usual = `/etc/ceph/ceph.${entity}.keyring`;
  if ([EACCES, ENOENT].includes(errnoOf(error) ?? 0) && fileTrouble(usual)?.endsWith(CLOSED))
    return closedError(error, step, usual);
  const keyring = user.keyring ?? `the keyring that ${conf} names, or ${usual}`;
  if (errnoOf(error) === EIO) return keyError(error, step, keyring);
  if (errnoOf(error) === ENOENT) return noKeyError(error, step, { entity, keyring });
  const monitors = monitorsOf(conf);
  const badKey = `the monitors do not accept the key of ${entity}`;
  const grant = `Compare \`ceph auth get ${entity}\` with ${keyring}; it needs at least mon 'allow r'.`;
  return translateError(error, {
    ...step,
    why: {
      unavailable: `no monitor answered within ${timeoutMs} ms (${monitors})`,
      denied: badKey,
    },
    hint: {
      unavailable: `Check that the cluster is up, and the monitors' addresses in ${conf}.`,
      denied: grant,
      usage: `Check ${conf} and ${keyring}: one of them cannot be parsed.`,
    },
  });
}

/** A file that is absent or unreadable needs no asking of librados, whose errno does not say which file it was. */
function filesError(cause: unknown, step: Step, trouble: string): OperatingError {
  if (errnoOf(cause) === undefined) throw cause;
  const hint = 'Create the file, or let the user that siphond runs as read it.';
  return new OperatingError({ ...pick(step), code: 'denied', why: trouble, hint, cause });
}

const EACCES = 13;
const CLOSED = 'cannot be read';

/** librados answers the same for a key that the monitors do not accept, and that of Ceph 20 for one that is nowhere. */
function closedError(cause: unknown, step: Step, keyring: string): OperatingError {
  const hint = `chgrp siphon ${keyring} && chmod 640 ${keyring}`;
  return new OperatingError({
    ...pick(step),
    code: 'denied',
    why: `${keyring} ${CLOSED}`,
    hint,
    cause,
  });
}

const ENOENT = 2;

/** Not `not-found`: that would read as if the image were not there. */
function noKeyError(
  cause: unknown,
  step: Step,
  { entity, keyring }: { readonly entity: string; readonly keyring: string },
): OperatingError {
  const why = `no keyring holds a key of ${entity}`;
  const hint = `Put the key of ${entity}, which \`ceph auth get\` prints, into ${keyring}.`;
  return new OperatingError({ ...pick(step), code: 'denied', why, hint, cause });
}

/** What librados answers, without asking anybody, for a key that it cannot parse (of a newer Ceph's type, for one). */
const EIO = 5;

function keyError(cause: unknown, step: Step, keyring: string): OperatingError {
  const why = `no key can be read from ${keyring}`;
  const hint = `Write it anew with \`ceph auth get\`; a key of a newer Ceph's type (aes256k) needs that Ceph's client.`;
  return new OperatingError({ ...pick(step), code: 'denied', why, hint, cause });
}

function pick({ op, subject }: Step): Pick<Step, 'op' | 'subject'> {
  return { op, subject };
}

function fileTrouble(path: string): string | undefined {
  try {
    accessSync(path, constants.R_OK);
    return undefined;
  } catch (error) {
    const isAbsent = errnoOf(error) === 2;
    return `${path} ${isAbsent ? 'does not exist' : CLOSED}`;
  }
}

function monitorsOf(conf: string): string {
  const line = /^\s*mon[ _]host\s*=\s*(.+)$/m.exec(readFileSync(conf, 'utf8'));
  return line?.[1] ? `mon host = ${line[1].trim()}` : `${conf} has no 'mon host'`;
}
