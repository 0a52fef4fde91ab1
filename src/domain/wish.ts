// What a domain's own metadata says of its snapshot sets: siphon's one element, set by
// `virsh metadata DOM urn:siphon:domain:1 --key siphon --set "<domain policy='nightly'/>"`.

import type { Quiesce } from '../wire/hold-protocol.ts';
import { type KeepCounts, PERIODS, type Period } from '../wire/keep.ts';
import type { Devices, WantedInstant } from '../wire/vocabulary.ts';
import type { XmlElement } from './xml.ts';

export type DomainWish =
  /** It says nothing. */
  | { readonly kind: 'none' }
  /** No set but an operator's. */
  | { readonly kind: 'off' }
  | Stated
  /** It says something that cannot be read. */
  | { readonly kind: 'bad'; readonly problem: string };

/** What is left out is the policy's to say. */
export interface Stated {
  readonly kind: 'stated';
  /** This policy, and no other. */
  readonly policy?: string;
  readonly devices?: Devices;
  readonly quiesce?: Quiesce;
  readonly instant?: WantedInstant;
  readonly keepLast?: number;
  readonly keepPeriods?: KeepCounts['keepPeriods'];
  /** `KEY` or `KEY=VALUE`, for policies to ask for. */
  readonly tags: readonly string[];
}

const WORD = /^[A-Za-z0-9][A-Za-z0-9._:=-]{0,127}$/;
const KEEP_MAX = 1000;
const WORDS_MAX = 100;

interface Attribute {
  readonly allowed: string;
  readonly read: (text: string) => Values | undefined;
}

type Values = { -readonly [K in Exclude<keyof Stated, 'kind'>]?: Stated[K] };

/** What each attribute may say, and what that means; undefined: not this. */
const ATTRIBUTES: Readonly<Record<string, Attribute>> = {
  policy: {
    allowed: "a policy's name, or off",
    read: (text) => (WORD.test(text) ? { policy: text } : undefined),
  },
  devices: {
    allowed: 'all, root, or targets such as "vda vdb"',
    read: (text) => {
      if (text === 'all' || text === 'root') return { devices: text };
      const targets = wordsOf(text);
      return targets === undefined || targets.length === 0 ? undefined : { devices: targets };
    },
  },
  quiesce: {
    allowed: 'none, try or require',
    read: (text) => {
      const quiesce = (['none', 'try', 'require'] as const).find((each) => each === text);
      return quiesce && { quiesce };
    },
  },
  instant: {
    allowed: 'auto, suspend or none',
    read: (text) => {
      const instant = (['auto', 'suspend', 'none'] as const).find((each) => each === text);
      return instant && { instant };
    },
  },
  keep_last: {
    allowed: `a whole number from 1 to ${KEEP_MAX}`,
    read: (text) => {
      const keepLast = countOf(text, 1);
      return keepLast === undefined ? undefined : { keepLast };
    },
  },
  ...Object.fromEntries(PERIODS.map((period) => [`keep_${period}`, keepPeriod(period)])),
  tags: {
    allowed: 'words such as "backup tier=gold"',
    read: (text) => {
      const tags = wordsOf(text);
      return tags && { tags };
    },
  },
};

/** Reads siphon's element of a domain's metadata, if there is one. A mistake in it makes all of it unreadable. */
export function readWish(element: XmlElement | undefined): DomainWish {
  if (element === undefined) return { kind: 'none' };
  if (element.children.length > 0 || element.text.trim() !== '')
    return bad('its element has content; allowed: attributes alone');
  const values: Values = {};
  for (const [name, text] of element.attributes) {
    if (name === 'xmlns' || name.startsWith('xmlns:')) continue;
    const attribute = Object.hasOwn(ATTRIBUTES, name) ? ATTRIBUTES[name] : undefined;
    if (attribute === undefined)
      return bad(`unknown attribute '${name}'; allowed: ${Object.keys(ATTRIBUTES).join(', ')}`);
    const value = attribute.read(text);
    if (value === undefined) return bad(`${name}='${text}'; allowed: ${attribute.allowed}`);
    const keepPeriods = { ...values.keepPeriods, ...value.keepPeriods };
    Object.assign(values, value, value.keepPeriods && { keepPeriods });
  }
  if (values.policy === 'off') return { kind: 'off' };
  return { kind: 'stated', tags: [], ...values };
}

function keepPeriod(period: Period): Attribute {
  return {
    allowed: `a whole number from 0 to ${KEEP_MAX}`,
    read: (text) => {
      const count = countOf(text, 0);
      return count === undefined ? undefined : { keepPeriods: { [period]: count } };
    },
  };
}

function countOf(text: string, least: number): number | undefined {
  const count = /^[0-9]{1,4}$/.test(text) ? Number(text) : -1;
  return count >= least && count <= KEEP_MAX ? count : undefined;
}

/** Words between white space; undefined: too many, or not words. */
function wordsOf(text: string): readonly string[] | undefined {
  const words = text.split(/\s+/).filter((each) => each !== '');
  return words.length <= WORDS_MAX && words.every((each) => WORD.test(each)) ? words : undefined;
}

function bad(problem: string): DomainWish {
  return { kind: 'bad', problem };
}
