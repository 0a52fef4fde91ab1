// What a proof is about to do: looked at and decided. Nothing has changed when it is made.

import { checkDisk, proofDomain } from '../../domain/proof-domain.ts';
import { allOf } from '../../wire/all-of.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { Cluster } from '../../wire/ports.ts';
import { stagingName } from '../../wire/restore-protocol.ts';
import { formatSize } from '../../wire/size.ts';
import { formatImage } from '../../wire/source.ts';
import { PROOF_MARK } from '../../wire/verify-protocol.ts';
import { SNAPSHOT_MARK, type SnapshotSet } from '../../wire/vocabulary.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { decideLimits } from '../limits.ts';
import type { PlannedDisk } from '../restore/data.ts';
import { besideFor } from '../restore/names.ts';
import { diskOf, factsOf } from '../restore/plan.ts';
import { newSetId } from '../set-id.ts';
import type { ProofPlan } from './data.ts';
import type { ProofParts, VerifyLimits } from './ports.ts';

/** What the host keeps beside the guest's memory. */
const SPARE_BYTES = 512 * 1024 * 1024;
/** More disks are not looked into. */
const CHECKS_MAX = 16;

/** @throws OperatingError unavailable, busy, exhausted: it cannot be tried now; others: this set cannot be proven as it is */
export async function planProof(
  parts: ProofParts,
  cluster: Cluster,
  set: SnapshotSet,
): Promise<ProofPlan> {
  await assertWell(parts, cluster, set.id);
  const limits = parts.verify();
  const id = `${PROOF_MARK.slice(SNAPSHOT_MARK.length)}${newSetId(parts.now())}`;
  const disks = await allOf(set.disks.map((each) => clonedDisk(cluster, set, id, each)));
  const uuid = parts.drawUuid();
  const names = disks.map((disk) => [disk.target, imageOf(set, id, disk.target)] as const);
  const made = proofDomain(set.domainXml, {
    name: `${SNAPSHOT_MARK}${id}`,
    uuid,
    genid: parts.drawUuid(),
    disks: new Map(names),
    memoryBytesMax: limits.memoryBytesMax,
    vcpusMax: limits.vcpusMax,
    nvramPath: parts.nvram.pathOf(uuid),
    hasShares: parts.hasShares(),
  });
  assertRoom(parts, set.id, made.memoryBytes);
  await parts.libvirt.call('mayDefine', { xml: made.xml }, DEADLINE_MS.libvirt);
  const domain = { ...domainOf(set, id, uuid), xml: made.xml, hasNvram: made.hasNvram };
  const checks = checksOf(set, id, disks, made.controller);
  return { ...base(set, id, limits), domain, disks, checks };
}

function base({ id: setId, fsid }: SnapshotSet, id: string, { level, bootMs }: VerifyLimits) {
  return { id, setId, fsid, wanted: level, bootMs };
}

function domainOf(set: SnapshotSet, id: string, uuid: string) {
  const { fsid, disks, keptFiles = [] } = set;
  const copy = keptFiles.find(({ what }) => what === 'nvram')?.copy;
  const nvram = copy && { set: { id: set.id, fsid, disks }, copy };
  return { name: `${SNAPSHOT_MARK}${id}`, uuid, ...(nvram && { nvram }) };
}

/** The cluster writes what the guest writes. @throws OperatingError busy */
async function assertWell(
  { limits }: ProofParts,
  { ceph }: Cluster,
  subject: string,
): Promise<void> {
  const health = await ceph.call('clusterHealth', {}, DEADLINE_MS.look);
  const decision = decideLimits({ health, images: [] }, limits());
  if (decision.kind === 'go') return;
  const fields = { code: 'busy', op: 'verify restore', subject } as const;
  throw new OperatingError({ ...fields, why: decision.why });
}

function assertRoom({ freeBytes }: ProofParts, subject: string, memoryBytes: number): void {
  const [free, needed] = [freeBytes(), memoryBytes + SPARE_BYTES];
  if (free >= needed) return;
  const why = `the host has ${formatSize(free)} of memory free, and ${formatSize(needed)} are needed`;
  const hint = 'A guest gets verify.memory_max at most.';
  throw new OperatingError({ code: 'exhausted', op: 'verify restore', subject, why, hint });
}

/** It stays under its marked name: `to` is one that nothing has. @throws OperatingError not-found: its snapshot is gone */
async function clonedDisk(
  cluster: Cluster,
  set: SnapshotSet,
  id: string,
  disk: SnapshotSet['disks'][number],
): Promise<PlannedDisk> {
  const facts = await factsOf(cluster, set, besideFor(`${SNAPSHOT_MARK}${id}`)(disk));
  const { source } = facts.found;
  if (source.kind === 'there') return diskOf(facts);
  const why = `the set's snapshot of ${disk.target} is gone: no such ${source.what}`;
  throw new OperatingError({ code: 'not-found', op: 'verify restore', subject: set.id, why });
}

/** `POOL/[NAMESPACE/]IMAGE` of its clone. */
function imageOf(set: SnapshotSet, id: string, target: string, clone = target): string {
  const { pool = '', namespace = '' } = set.disks.find((each) => each.target === target) ?? {};
  return formatImage({ pool, namespace, image: stagingName(id, clone) });
}

function checksOf(
  set: SnapshotSet,
  id: string,
  disks: readonly PlannedDisk[],
  controller: number,
): ProofPlan['checks'] {
  return disks.slice(0, CHECKS_MAX).flatMap((disk, unit) => {
    const target = `${disk.target}.check`;
    const image = imageOf(set, id, disk.target, target);
    const xml = checkDisk(set.domainXml, { target: disk.target, image, controller, unit });
    const to = { ...disk.to, image: `${disk.to.image}.check` };
    return xml === undefined ? [] : { ...disk, target, to, xml, of: disk.target };
  });
}
