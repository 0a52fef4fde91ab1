// The `libvirt` role: domains of this host, their definitions, their starts, and every change of theirs as an event.

import {
  type Connection,
  type Domain,
  type DomainFilter,
  defineDomain,
  hypervisorVersion,
  isLibvirtError,
  listDomains,
  lookUpDomainByName,
  lookUpDomainByUuid,
  STOPPED_DETAILS,
  VIR_ERR,
} from 'node-libvirt';
import { assertNoNewAccess } from '../../domain/host-access.ts';
import type { ReleaseReason } from '../../wire/vocabulary.ts';
import type {
  DomainSummary,
  LibvirtEvent,
  LibvirtMethods,
  LibvirtSettings,
} from '../../wire/worker-protocol.ts';
import type { Role, StartRole } from '../role.ts';
import { during, type Step } from '../translate-error.ts';
import { unitGuards } from './libvirt/guards.ts';
import { Holds } from './libvirt/hold.ts';
import { LibvirtLink } from './libvirt/link.ts';
import { Notes } from './libvirt/notes.ts';
import { proofHandlers } from './libvirt/proofs.ts';

export const startLibvirtRole = ((settings: unknown, emit: (event: LibvirtEvent) => void) => {
  const link = new LibvirtLink(settings as LibvirtSettings, emit);
  void link.keepUp();
  const holds = new Holds({
    connection: () => link.connection,
    notes: new Notes(),
    guards: unitGuards(),
    warn: (text) => console.error(text),
  });
  return {
    handlers: {
      listDomains: () =>
        during({ op: 'list domains', subject: 'libvirt' }, () => summaries(link.connection)),
      lookUp: ({ domain }) => onDomain(link, 'look up domain', domain, summaryOf),
      lastStop: ({ domain }) => onDomain(link, 'look up domain', domain, lastStopOf),
      domainXml: ({ domain, inactive }) =>
        onDomain(link, 'read domain', domain, (found) => found.xml({ isInactive: inactive })),
      mayDefine: ({ xml }) =>
        during({ op: 'define domain', subject: 'libvirt' }, async () => {
          assertNoNewAccess(xml, await definitions(link.connection));
          return null;
        }),
      define: ({ xml }) =>
        during({ op: 'define domain', subject: 'libvirt' }, async () => {
          assertNoNewAccess(xml, await definitions(link.connection));
          await using defined = await defineDomain(link.connection, xml);
          return { uuid: defined.uuid };
        }),
      start: ({ domain }) =>
        onDomain(link, 'start domain', domain, async (found) => {
          await found.start();
          return null;
        }),
      versions: () =>
        during({ op: 'read versions', subject: 'libvirt' }, async () => ({
          libvirt: await link.connection.version(),
          hypervisor: await hypervisorVersion(link.connection),
        })),
      holdable: (params) => holds.holdable(params),
      guard: (params) => holds.guard(params),
      hold: (params, { signal }) => holds.hold(params, signal),
      release: (params) => holds.release(params),
      listHeld: () => holds.listHeld(),
      ...proofHandlers({
        connection: () => link.connection,
        definitions: () => definitions(link.connection),
      }),
    },
    end: () => holds.releaseAll(),
  };
}) satisfies (
  settings: unknown,
  emit: (event: LibvirtEvent) => void,
) => Role<LibvirtMethods> satisfies StartRole;

function onDomain<T>(
  link: LibvirtLink,
  op: string,
  domain: string,
  body: (found: Domain) => Promise<T>,
): Promise<T> {
  const step: Step = {
    op,
    subject: domain,
    why: { 'not-found': 'this host has no such domain' },
    hint: { 'not-found': 'Look with `virsh list --all`.' },
  };
  return during(step, async () => {
    await using found = await lookUp(link.connection, domain);
    return await body(found);
  });
}

const UUID = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;

/** A UUID first; a domain may also be named like one. */
async function lookUp(connection: Connection, domain: string): Promise<Domain> {
  if (!UUID.test(domain)) return await lookUpDomainByName(connection, domain);
  try {
    return await lookUpDomainByUuid(connection, domain);
  } catch (error) {
    if (!isLibvirtError(error, VIR_ERR.NO_DOMAIN)) throw error;
    return await lookUpDomainByName(connection, domain);
  }
}

async function summaryOf(domain: Domain): Promise<DomainSummary> {
  const { uuid, name } = domain;
  const [isActive, isPersistent, hasManagedSave] = await Promise.all([
    domain.isActive(),
    domain.isPersistent(),
    domain.hasManagedSave(),
  ]);
  return { uuid, name, isActive, isPersistent, hasManagedSave };
}

/** virDomainShutoffReason, in its order: from 1, what the event says, too. */
const STOP_REASONS: readonly (ReleaseReason | undefined)[] = [
  undefined,
  ...STOPPED_DETAILS,
  'daemon',
];

async function lastStopOf(domain: Domain): Promise<LibvirtMethods['lastStop']['result']> {
  const { state, reason } = await domain.status();
  if (state !== 'shutoff') return { isActive: true };
  const known = STOP_REASONS[reason];
  return { isActive: false, ...(known !== undefined && { reason: known }) };
}

/** By four lists instead of three questions for each domain: few round trips, and none fails for a domain that goes meanwhile. */
async function summaries(connection: Connection): Promise<DomainSummary[]> {
  await using all = await listDomains(connection);
  const [active, persistent, saved] = await Promise.all([
    uuidsOf(connection, { isActive: true }),
    uuidsOf(connection, { isPersistent: true }),
    uuidsOf(connection, { hasManagedSave: true }),
  ]);
  return all.domains.map(({ uuid, name }) => ({
    uuid,
    name,
    isActive: active.has(uuid),
    isPersistent: persistent.has(uuid),
    hasManagedSave: saved.has(uuid),
  }));
}

/** Of the domains that are defined here, as they will start next. */
async function definitions(connection: Connection): Promise<string[]> {
  await using all = await listDomains(connection, { isPersistent: true });
  return await Promise.all(all.domains.map((domain) => domain.xml({ isInactive: true })));
}

async function uuidsOf(connection: Connection, filter: DomainFilter): Promise<Set<string>> {
  await using list = await listDomains(connection, filter);
  return new Set(list.domains.map((domain) => domain.uuid));
}
