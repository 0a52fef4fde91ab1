// What a restore is about to do: looked at, decided, written down. Nothing has changed when it is made.

import { parseDomain } from '../../domain/domain.ts';
import { diskToAttach, newDomain } from '../../domain/new-domain.ts';
import { allOf } from '../../wire/all-of.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { Cluster } from '../../wire/ports.ts';
import type { RestoreRequest, RestoreWay } from '../../wire/restore-api.ts';
import { formatImage } from '../../wire/source.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { snapshotName } from '../set-id.ts';
import type { PlannedDisk, RestorePlan } from './data.ts';
import { type DiskFacts, type DomainFacts, decideRestore, type RestoreDecision } from './decide.ts';
import {
  besideFor,
  type Destination,
  disksOf,
  inPlace,
  nameOf,
  newRestoreId,
  parseImage,
} from './names.ts';
import type { RestoreParts } from './ports.ts';

export function wayOf({ rollback, as, clone }: RestoreRequest): RestoreWay {
  if (as !== undefined) return 'new-domain';
  if (clone !== undefined) return 'clone';
  return rollback === true ? 'rollback' : 'in-place';
}

/** @throws OperatingError: with its reason where it may not be */
export async function planRestore(
  parts: RestoreParts,
  cluster: Cluster,
  set: SnapshotSet,
  request: RestoreRequest,
): Promise<RestorePlan> {
  const way = wayOf(request);
  const destinations = destinationsOf(set, request);
  const facts = await allOf(destinations.map((each) => factsOf(cluster, set, each)));
  const isInPlace = way === 'in-place' || way === 'rollback';
  const domain = isInPlace ? await domainFacts(parts, set.domainUuid) : undefined;
  if (request.as !== undefined) await assertNoDomain(parts, request.as);
  must(decideRestore(way, facts, domain), set.id);
  const plan = planOf(parts, set, request, facts);
  return request.as === undefined ? plan : await withDomain(parts, set, plan, request.as);
}

/** @throws OperatingError */
export function must(decision: RestoreDecision, subject: string): void {
  if (decision.kind === 'go') return;
  const { kind: _, ...fields } = decision;
  throw new OperatingError({ op: 'restore', subject, ...fields });
}

function destinationsOf(set: SnapshotSet, request: RestoreRequest): readonly Destination[] {
  const { as, clone, to = '', devices } = request;
  if (clone !== undefined) {
    const at = parseImage(to);
    return disksOf(set, [clone]).map((disk) => ({ disk, to: at }));
  }
  return disksOf(set, devices).map(as === undefined ? inPlace : besideFor(as));
}

export async function factsOf({ ceph }: Cluster, set: SnapshotSet, each: Destination) {
  const { disk } = each;
  const { poolId, namespace, imageId, snapId, target } = disk;
  const from = { poolId, namespace, imageId, snapId, snap: snapshotName(set.id) };
  const found = await ceph.call('lookRestore', { from, to: each.to }, DEADLINE_MS.look);
  return { target, name: nameOf(each), imageId, found, from, to: each.to };
}

/** @throws OperatingError unavailable: libvirt could not tell */
export async function domainFacts(
  { libvirt }: RestoreParts,
  domain: string,
): Promise<DomainFacts | undefined> {
  try {
    const found = await libvirt.call('lookUp', { domain }, DEADLINE_MS.libvirt);
    const asked = { domain, inactive: !found.isActive };
    const { disks } = parseDomain(await libvirt.call('domainXml', asked, DEADLINE_MS.libvirt));
    const images = disks.flatMap(({ source }) => {
      return source.kind === 'rbd' ? [formatImage(source)] : [];
    });
    return { isActive: found.isActive, hasManagedSave: found.hasManagedSave, images };
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'not-found') return undefined;
    throw error;
  }
}

async function assertNoDomain({ libvirt }: RestoreParts, name: string): Promise<void> {
  const found = await libvirt.call('lookUp', { domain: name }, DEADLINE_MS.libvirt).catch(absent);
  if (found === undefined) return;
  const why = `there is a domain of this name: ${found.uuid}`;
  throw new OperatingError({ code: 'refused', op: 'restore', subject: name, why });
}

function absent(error: unknown): undefined {
  if (error instanceof OperatingError && error.code === 'not-found') return undefined;
  throw error;
}

type Found = Awaited<ReturnType<typeof factsOf>>;

function planOf(
  { now, host }: RestoreParts,
  set: SnapshotSet,
  request: RestoreRequest,
  facts: readonly (Found & DiskFacts)[],
): RestorePlan {
  const { id: setId, fsid, domainUuid, domainName, domainXml } = set;
  const nowMs = now();
  const { clone, to } = request;
  const xml = clone && to ? diskToAttach(domainXml, clone, to) : undefined;
  return {
    id: newRestoreId(nowMs),
    setId,
    fsid,
    host,
    domainUuid,
    domainName,
    createdAtMs: nowMs,
    way: wayOf(request),
    disks: facts.map(diskOf),
    flattens: request.flatten === true,
    notes: clone === undefined && request.as === undefined ? notesOf(set) : [],
    ...(xml !== undefined && { xml }),
  };
}

export function diskOf({ target, name, from, to, found }: Found): PlannedDisk {
  const { source, present, toPoolId } = found;
  const isThere = source.kind === 'there';
  return {
    target,
    from,
    wasProtected: isThere && source.isProtected,
    to: { poolId: toPoolId, namespace: to.namespace, image: to.image },
    name,
    sizeBytes: isThere ? source.sizeBytes : 0,
    ...(present && { oldId: present.imageId }),
  };
}

/** In place only disks are put back: what else the set keeps is root's to write. */
function notesOf({ keptFiles = [], disks }: SnapshotSet): readonly string[] {
  const [first] = disks;
  const pool = first === undefined ? '' : `-p ${first.pool}`;
  const namespace = first?.namespace ? ` --namespace ${first.namespace}` : '';
  return keptFiles.flatMap(({ what, path, copy }) =>
    copy === undefined
      ? []
      : [`${what}: as it is; from the set: rados ${pool}${namespace} get ${copy.object} ${path}`],
  );
}

/** The definition, with the set's NVRAM as what its own begins as. */
async function withDomain(
  { draw, libvirt, nvram: files }: RestoreParts,
  set: SnapshotSet,
  plan: RestorePlan,
  name: string,
): Promise<RestorePlan> {
  const uuid = draw.uuid();
  const disks = new Map(plan.disks.map((disk) => [disk.target, disk.name]));
  const kept = set.keptFiles?.find(({ what, copy }) => what === 'nvram' && copy !== undefined);
  const template = kept && files.pathOf(uuid);
  const path = `/var/lib/libvirt/qemu/nvram/${uuid}_VARS.fd`;
  const { xml, notes } = newDomain(set.domainXml, {
    name,
    uuid,
    genid: draw.uuid(),
    disks,
    mac: draw.mac,
    ...(template !== undefined && { nvram: { template, path } }),
  });
  await libvirt.call('mayDefine', { xml }, DEADLINE_MS.libvirt);
  const { id, fsid, disks: of } = set;
  const nvram = kept?.copy && { set: { id, fsid, disks: of }, copy: kept.copy };
  const domain = { name, uuid, xml, ...(nvram && { nvram }) };
  return { ...plan, notes: [...plan.notes, ...notes], domain };
}
