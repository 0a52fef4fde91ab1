// What is made of a set when it is published, and whether it may be: pure.

import { type ErrorCode, OperatingError, type OperatingErrorFields } from '../../wire/errors.ts';
import type { PublishAsk, PublishWay } from '../../wire/publish-api.ts';
import type { PublishFacts } from '../../wire/publish-protocol.ts';
import { formatImage } from '../../wire/source.ts';
import { type SetDisk, SNAPSHOT_MARK, type SnapshotSet } from '../../wire/vocabulary.ts';
import type { PlannedImage, PublishPlan } from './data.ts';

/** Of images that stay clones: more are slower to open and to read. */
export const DEPTH_SOFT = 4;
/** librbd and krbd open no more than 16 in a row. */
export const DEPTH_HARD = 14;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$/;

/** @throws OperatingError usage, not-found: the set has no such disk */
export function planPublish(set: SnapshotSet, ask: PublishAsk, publishId: string): PublishPlan {
  const disks = chosen(set, ask);
  const base = ask.name ?? `${set.domainName.replaceAll(/[^A-Za-z0-9._-]/g, '-')}-${set.id}`;
  const images = disks.map((disk): PlannedImage => {
    const image = disks.length === 1 ? base : `${base}-${disk.target}`;
    if (!NAME.test(image)) throw badName(image);
    return { target: disk.target, disk, marked: markedName(publishId, disk), image };
  });
  const { id, fsid, domainName } = set;
  const { to, flatten, fallback, isEncryptedTaken } = ask;
  const more = isEncryptedTaken === true ? { isEncryptedTaken } : {};
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

/** Whether this image may be made, before anything is. */
export type PublishDecision =
  | { readonly kind: 'go'; readonly depth: number; readonly warning?: string }
  /** `isOfClones`: a copy may be made. */
  | {
      readonly kind: 'refuse';
      readonly error: OperatingErrorFields;
      readonly isOfClones: boolean;
    };

export function decidePublish(
  plan: PublishPlan,
  image: PlannedImage,
  facts: Pick<PublishFacts, 'isNameTaken' | 'isEncrypted' | 'ancestors' | 'format'>,
  way: PublishWay = 'native',
): PublishDecision {
  const { to, flatten } = plan;
  const subject = formatImage({ ...to, image: image.image });
  const refuse = (why: string, hint: string, isOfClones = false): PublishDecision => {
    const error = { code: 'refused', op: 'publish', subject, why, hint } as const;
    return { kind: 'refuse', error, isOfClones };
  };
  if (facts.isNameTaken) {
    return refuse('an image of this name is there already', 'Give another with --name.');
  }
  if (facts.isEncrypted && plan.isEncryptedTaken !== true) {
    const why = `disk ${image.target} is encrypted (LUKS): who starts from the image needs its key`;
    return refuse(why, 'siphon publish --encrypted makes an image of it as it is.');
  }
  if (way === 'copied') return { kind: 'go', depth: 1 };
  const depth = facts.ancestors + 1;
  if (depth > DEPTH_HARD) {
    const why = `disk ${image.target} has ${facts.ancestors} images above it, and ${DEPTH_HARD - 1} are the most`;
    return refuse(why, `rbd flatten ${formatImage(image.disk)} parts it from them.`, true);
  }
  const isOtherNamespace = image.disk.namespace !== to.namespace;
  if (facts.format === 1 && isOtherNamespace) {
    const why = 'this cluster makes clones of format 1, which cannot be in another namespace';
    const hint = 'ceph osd set-require-min-compat-client mimic lets it make others.';
    return refuse(why, hint, true);
  }
  if (flatten !== 'never' || depth <= DEPTH_SOFT) return { kind: 'go', depth };
  const warning = `${subject} is clone ${depth} in a row: from ${DEPTH_SOFT} on each makes it slower; siphon flatten parts it`;
  return { kind: 'go', depth, warning };
}

/** The native way failed, and nothing of it is left. */
export type FallbackDecision =
  | { readonly kind: 'copy'; readonly why: string }
  | { readonly kind: 'none' };

/** What a copy would meet as well, or what nobody wants to be gone round. */
const STAYS_SO: readonly ErrorCode[] = ['not-found', 'cancelled', 'exhausted', 'unavailable'];

export function decideFallback(
  { fallback }: Pick<PublishPlan, 'fallback'>,
  failed: {
    readonly error: Pick<OperatingError, 'code' | 'why'>;
    readonly isOfClones: boolean;
  },
): FallbackDecision {
  const { code, why } = failed.error;
  const mayHelp = failed.isOfClones && !STAYS_SO.includes(code);
  return fallback === 'copy' && mayHelp ? { kind: 'copy', why } : { kind: 'none' };
}
