// What a source must carry, and may be, by the rules of the config: the first that is about it decides. Pure.

import picomatch from 'picomatch';
import type { TrustRuleText, TrustStanding } from '../wire/trust-api.ts';
import type { Base, DiskFormat, SourceName, Verification } from '../wire/vocabulary.ts';

/** `none`: it may carry nothing. What it does carry must be right all the same. */
export const REQUIREMENTS = ['signature', 'manifest', 'digest', 'none'] as const;
export type Requirement = (typeof REQUIREMENTS)[number];

export interface TrustRule {
  /** Globs on `POOL` or `POOL/NAMESPACE`, and on the image's name. None: any. */
  readonly pools: readonly string[];
  readonly images: readonly string[];
  /** Any one of them will do. */
  readonly require: readonly Requirement[];
  readonly formats: readonly DiskFormat[];
  /** A source that is said to be raw may have the magic of another format. */
  readonly allowForeignRaw: boolean;
}

/** What there is that proves something. */
export type Carried = Readonly<Record<Exclude<Requirement, 'none'>, boolean>>;

export type TrustDecision =
  /** `isStated`: a rule says that it may be so. */
  | { readonly kind: 'admit'; readonly isStated: boolean; readonly rule: TrustRule }
  /** `rule`: which, from 1. */
  | { readonly kind: 'refuse'; readonly rule: number; readonly why: string };

/** Where no rule is about a source. */
const DEFAULT: TrustRule = {
  pools: [],
  images: [],
  require: ['none'],
  formats: ['raw', 'qcow2'],
  allowForeignRaw: false,
};

type Place = Pick<SourceName, 'pool' | 'namespace' | 'image'>;

/** `format`: of its bytes, as far as anybody said. */
export function decideTrust(
  rules: readonly TrustRule[],
  source: Place,
  carried: Carried,
  format?: DiskFormat,
): TrustDecision {
  const at = rules.findIndex((rule) => isAbout(rule, source));
  const rule = rules[at];
  if (rule === undefined) return { kind: 'admit', isStated: false, rule: DEFAULT };
  const refuse = (why: string) =>
    ({ kind: 'refuse', rule: at + 1, why: `trust rule ${at + 1} ${why}` }) as const;
  if (format !== undefined && !rule.formats.includes(format))
    return refuse(`takes ${rule.formats.join(' or ')}, and it is ${format}`);
  const isMet = rule.require.some((each) => each === 'none' || carried[each]);
  if (isMet) return { kind: 'admit', isStated: true, rule };
  return refuse(`wants ${anyOf(rule.require)}, and it carries ${carriedText(carried)}`);
}

/** What of a base's verification proves something. */
export function carriedBy(verification: Verification): Carried {
  const by = verification.kind === 'verified' ? verification.by : [];
  const has = (what: string) => by.some((each) => each.what === what);
  return { signature: has('signature'), manifest: has('manifest'), digest: has('digest') };
}

/** A rule, in words. */
export function ruleText(rule: TrustRule): TrustRuleText {
  const { pools, images, require, formats, allowForeignRaw } = rule;
  const about = [
    pools.length === 0 ? 'any pool' : `pool ${pools.join(' or ')}`,
    ...(images.length === 0 ? [] : [`image ${images.join(' or ')}`]),
  ];
  const wants = [
    anyOf(require),
    ...(formats.length === 2 ? [] : [`only ${formats.join(', ')}`]),
    ...(allowForeignRaw ? ['also raw that looks like another format'] : []),
  ];
  return { about: about.join(', '), wants: wants.join('; ') };
}

/** How bases that are here stand to the rules. */
export function standingOf(
  rules: readonly TrustRule[],
  bases: readonly Pick<Base, 'name' | 'verification' | 'sourceFormat'>[],
): Omit<TrustStanding, 'problems'> {
  const refused = new Map<number, number>();
  let [unverified, unstated] = [0, 0];
  for (const { name, verification, sourceFormat } of bases) {
    const decision = decideTrust(rules, name, carriedBy(verification), sourceFormat);
    const isUnverified = verification.kind === 'unverified';
    if (isUnverified) unverified += 1;
    if (decision.kind === 'refuse')
      refused.set(decision.rule, (refused.get(decision.rule) ?? 0) + 1);
    else if (isUnverified && !decision.isStated) unstated += 1;
  }
  return {
    unverified,
    unstated,
    refused: [...refused].map(([rule, count]) => ({ rule, bases: count })),
  };
}

function isAbout({ pools, images }: TrustRule, { pool, namespace, image }: Place): boolean {
  const places = namespace === '' ? [pool] : [pool, `${pool}/${namespace}`];
  return isOneOf(pools, places) && isOneOf(images, [image]);
}

const isOneOf = (globs: readonly string[], names: readonly string[]): boolean =>
  globs.length === 0 || globs.some((glob) => names.some((name) => isMatch(name, glob)));

const isMatch = (name: string, glob: string): boolean =>
  picomatch.isMatch(name, glob, { dot: true, nonegate: true, noextglob: true });

export const anyOf = (all: readonly Requirement[]): string =>
  all.map((each) => (each === 'none' ? 'nothing' : `a ${each}`)).join(' or ');

function carriedText(carried: Carried): string {
  const found = (['signature', 'manifest', 'digest'] as const).filter((each) => carried[each]);
  return found.length === 0 ? 'none of these' : `only ${anyOf(found)}`;
}
