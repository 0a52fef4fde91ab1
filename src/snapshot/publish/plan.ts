// What is made of a set when it is published, and whether it may be: pure.

import { type ErrorCode, OperatingError, type OperatingErrorFields } from '../../wire/errors.ts';
import { type PublishAsk, type PublishWay, TO_FILE } from '../../wire/publish-api.ts';
import type { PublishPlace, PublishSource } from '../../wire/publish-protocol.ts';
import { formatSize } from '../../wire/size.ts';
import { formatImage } from '../../wire/source.ts';
import { type SetDisk, SNAPSHOT_MARK, type SnapshotSet } from '../../wire/vocabulary.ts';
import { type FilePlan, type PlannedImage, type PublishPlan, poolOf } from './data.ts';

/** Of images that stay clones: more are slower to open and to read. */
export const DEPTH_SOFT = 4;
/** librbd and krbd open no more than 16 in a row. */
export const DEPTH_HARD = 14;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$/;

/** `files`: as the config has them. @throws OperatingError usage; not-found: the set has no such disk; refused: no place for files */
export function planPublish(
  set: SnapshotSet,
  ask: PublishAsk,
  publishId: string,
  files?: FilePlan,
): PublishPlan {
  if (ask.to === TO_FILE && files === undefined) throw noFolder(set.id);
  const disks = chosen(set, ask);
  const base = ask.name ?? `${set.domainName.replaceAll(/[^A-Za-z0-9._-]/g, '-')}-${set.id}`;
  const images = disks.map((disk): PlannedImage => {
    const image = disks.length === 1 ? base : `${base}-${disk.target}`;
    if (!NAME.test(image)) throw badName(image);
    const file = ask.name === undefined ? `${base}-${disk.target}` : image;
    return { target: disk.target, disk, marked: markedName(publishId, disk), image, file };
  });
  const { id, fsid, domainName } = set;
  const { to, flatten, fallback, isEncryptedTaken } = ask;
  const more = {
    ...(files && { files: { ...files, format: ask.format ?? files.format } }),
    ...(isEncryptedTaken === true && { isEncryptedTaken }),
  };
  return { publishId, set: id, fsid, domainName, to, flatten, fallback, images, ...more };
}

const markedName = (publishId: string, { target }: SetDisk) =>
  `${SNAPSHOT_MARK}${publishId}.${target}`;

function chosen({ id, disks }: SnapshotSet, { devices = 'all' }: PublishAsk): readonly SetDisk[] {
  if (devices === 'all') return disks;
  if (devices === 'root') return disks.slice(0, 1);
  const absent = devices.find((target) => !disks.some((disk) => disk.target === target));
  if (absent === undefined) return disks.filter(({ target }) => devices.includes(target));
  const why = `it has no disk ${absent}; it has ${disks.map(({ target }) => target).join(', ')}`;
  throw new OperatingError({ code: 'not-found', op: 'publish', subject: id, why });
}

function badName(image: string): OperatingError {
  const why =
    'a name is of letters, digits, . _ : and -, begins with a letter or digit, and has 200 at most';
  return new OperatingError({ code: 'usage', op: 'publish', subject: JSON.stringify(image), why });
}

const NO_FOLDER = 'publish.snapshots_directory in the config says where files may be written.';

function noFolder(subject: string): OperatingError {
  const why = 'the config names no folder for files';
  return new OperatingError({ code: 'refused', op: 'publish', subject, why, hint: NO_FOLDER });
}

/** Whether this image may be made, before anything is. */
export type PublishDecision =
  | { readonly kind: 'go'; readonly depth: number; readonly warning?: string }
  /** `isFinal`: in any other way, too. */
  | { readonly kind: 'refuse'; readonly error: OperatingErrorFields; readonly isFinal: boolean };

export function decidePublish(
  plan: PublishPlan,
  image: PlannedImage,
  facts: Pick<PublishSource, 'isEncrypted' | 'ancestors' | 'mayClone'> &
    Pick<PublishPlace, 'isNameTaken' | 'isFull' | 'format'>,
  way: PublishWay = 'native',
): PublishDecision {
  const { flatten } = plan;
  const to = poolOf(plan);
  const subject = formatImage({ ...to, image: image.image });
  const refuse = (why: string, hint: string, isFinal = false): PublishDecision => {
    const error = { code: 'refused', op: 'publish', subject, why, hint } as const;
    return { kind: 'refuse', error, isFinal };
  };
  const encrypted = decideEncrypted(plan, image, facts, subject);
  if (encrypted !== undefined) return encrypted;
  if (facts.isNameTaken) {
    return refuse('an image of this name is there already', 'Give another with --name.', true);
  }
  if (facts.isFull) {
    const why = `pool ${to.pool} is full`;
    const hint = 'ceph df, ceph osd pool get-quota tell how full.';
    const error = { code: 'exhausted', op: 'publish', subject, why, hint } as const;
    return { kind: 'refuse', error, isFinal: false };
  }
  if (way === 'copied') return { kind: 'go', depth: 1 };
  if (facts.format === 2 && !facts.mayClone) {
    const why = `the publish user may not clone from pool ${image.disk.pool}`;
    const hint = 'siphon doctor --caps prints what lets it: profile rbd-read-only there.';
    const error = { code: 'denied', op: 'publish', subject, why, hint } as const;
    return { kind: 'refuse', error, isFinal: false };
  }
  const depth = facts.ancestors + 1;
  if (depth > DEPTH_HARD) {
    const why = `disk ${image.target} has ${facts.ancestors} images above it, and ${DEPTH_HARD - 1} are the most`;
    return refuse(why, `rbd flatten ${formatImage(image.disk)} parts it from them.`);
  }
  const isOtherNamespace = image.disk.namespace !== to.namespace;
  if (facts.format === 1 && isOtherNamespace) {
    const why = 'this cluster makes clones of format 1, which cannot be in another namespace';
    const hint = 'ceph osd set-require-min-compat-client mimic lets it make others.';
    return refuse(why, hint);
  }
  if (flatten !== 'never' || depth <= DEPTH_SOFT) return { kind: 'go', depth };
  const warning = `${subject} is clone ${depth} in a row: from ${DEPTH_SOFT} on each makes it slower; siphon flatten parts it`;
  return { kind: 'go', depth, warning };
}

/** undefined: it may be taken. */
export function decideEncrypted(
  { isEncryptedTaken }: Pick<PublishPlan, 'isEncryptedTaken'>,
  { target }: Pick<PlannedImage, 'target'>,
  { isEncrypted }: Pick<PublishSource, 'isEncrypted'>,
  subject: string,
): (PublishDecision & { readonly kind: 'refuse' }) | undefined {
  if (!isEncrypted || isEncryptedTaken === true) return undefined;
  const why = `disk ${target} is encrypted (LUKS): who starts from it needs its key`;
  const hint = 'siphon publish --encrypted takes it as it is.';
  const error = { code: 'refused', op: 'publish', subject, why, hint } as const;
  return { kind: 'refuse', error, isFinal: true };
}

/** A way failed, and nothing of it is left: which is gone then. */
export type NextWay =
  | { readonly kind: 'copied' | 'file' }
  /** `hint`: what would let another be gone. */
  | { readonly kind: 'none'; readonly hint?: string };

/** What any way would meet as well, or what nobody wants to be gone round. */
const STAYS_SO: readonly ErrorCode[] = ['not-found', 'cancelled', 'unavailable'];

/** First into the same pool, unless that is full; then to a file. */
export function decideNext(
  { fallback, files }: Pick<PublishPlan, 'fallback' | 'files'>,
  failed: {
    readonly way: PublishWay | 'file';
    readonly error: Pick<OperatingError, 'code'>;
    readonly isFinal: boolean;
  },
): NextWay {
  const { code } = failed.error;
  if (fallback === 'none' || failed.isFinal || STAYS_SO.includes(code)) return { kind: 'none' };
  const isFull = code === 'exhausted';
  if (fallback === 'copy' && failed.way === 'native' && !isFull) return { kind: 'copied' };
  if (failed.way === 'file') return { kind: 'none' };
  if (files !== undefined) return { kind: 'file' };
  return { kind: 'none', hint: NO_FOLDER };
}

/** Files of so many bytes into a folder with so many free. @throws OperatingError exhausted */
export function assertRoom(
  { folder, reserveBytes }: FilePlan,
  neededBytes: number,
  freeBytes: number,
): void {
  if (neededBytes + reserveBytes <= freeBytes) return;
  const [needed, free, reserve] = [neededBytes, freeBytes, reserveBytes].map(formatSize);
  const why = `${needed} may be needed, ${free} are free, of which ${reserve} stay so (cache.reserve)`;
  throw new OperatingError({ code: 'exhausted', op: 'publish', subject: folder, why });
}
