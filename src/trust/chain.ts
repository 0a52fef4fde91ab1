// Whether a certificate may speak: by a chain of others to an anchor, or because it is in the trust folder itself. What OpenSSL does not
// check here (RFC 5280, 6), beside the signatures, which it does.

import { type Certificate, isIssuedBy } from './certificate.ts';
import type { Crl } from './crl.ts';
import { overdueOf, revocationOf } from './revocation.ts';

/** What an operator trusts, and no longer trusts. */
export interface Trust {
  /** Of authorities, or of signers. */
  readonly anchors: readonly Certificate[];
  /** Certificates that may stand between; nobody trusts them for being there. */
  readonly intermediates: readonly Certificate[];
  readonly crls: readonly Crl[];
  /** Certificates' UUIDs and ids of keys. */
  readonly revoked: ReadonlySet<string>;
  /** A certificate counts only by a chain to an anchor. */
  readonly isChainNeeded: boolean;
  /** Each authority has to say how long a chain it allows. */
  readonly isPathLengthNeeded: boolean;
}

export const NO_TRUST: Trust = {
  anchors: [],
  intermediates: [],
  crls: [],
  revoked: new Set(),
  isChainNeeded: false,
  isPathLengthNeeded: false,
};

export type ChainVerdict =
  /** `chain`: from the certificate to its anchor; it alone where no chain is needed. `overdue`: issuers whose CRLs are. */
  | {
      readonly kind: 'trusted';
      readonly chain: readonly Certificate[];
      readonly overdue: readonly string[];
    }
  | { readonly kind: 'refused'; readonly why: string };

/** With the certificate and its anchor. */
const CHAIN_MAX = 8;
/** Of signatures of certificates, for one verdict: no heap of equal names makes it long. */
const SIGNATURES_MAX = 200;

/** `more`: what came along with the certificate. */
export function judgeChain(
  certificate: Certificate,
  more: readonly Certificate[],
  trust: Trust,
  now: number,
): ChainVerdict {
  const found = trust.isChainNeeded
    ? chainsOf(certificate, more, trust)
    : { chains: [[certificate]], farthest: certificate };
  let fault: Fault | undefined;
  for (const chain of found.chains) {
    const [first] = faultsOf(chain, trust, now);
    if (first === undefined)
      return { kind: 'trusted', chain, overdue: overdueOf(chain, trust.crls, now) };
    fault ??= first;
  }
  // Of a certificate that is out of date nobody need look for the issuer.
  fault ??= faultsOf([certificate], trust, now)[0];
  return { kind: 'refused', why: fault?.why ?? whyNone(certificate, found.farthest, trust) };
}

function whyNone(certificate: Certificate, farthest: Certificate, { anchors }: Trust): string {
  if (anchors.length === 0) return 'the certificate needs a chain to an anchor, and there is none';
  const last = farthest === certificate ? 'it' : `its issuer ${farthest.subject}`;
  return `the certificate has no chain to an anchor: ${last} is none, and is issued by none that is here (${farthest.issuer})`;
}

/**
 * The ways from a certificate to an anchor, as far as they are formed as they must be; else those that lead nowhere, as far as they go. Where no
 * chain is needed it is one: the certificate. With all that is wrong in each.
 */
export function waysOf(
  certificate: Certificate,
  more: readonly Certificate[],
  trust: Trust,
  now: number,
): {
  readonly isWhole: boolean;
  readonly ways: readonly {
    readonly chain: readonly Certificate[];
    readonly faults: readonly Fault[];
  }[];
} {
  const { chains, ends } = trust.isChainNeeded
    ? chainsOf(certificate, more, trust)
    : { chains: [[certificate]], ends: [] };
  const isWhole = chains.length > 0;
  const told = (isWhole ? chains : ends).map((chain) => {
    return { chain, faults: faultsOf(chain, trust, now) };
  });
  return { isWhole, ways: told.filter((way) => way.faults.every((each) => each.kind !== 'form')) };
}

interface Found {
  readonly chains: readonly (readonly Certificate[])[];
  /** Where the longest way that leads nowhere ended. */
  readonly farthest: Certificate;
  /** Ways that lead nowhere. */
  readonly ends: readonly (readonly Certificate[])[];
}

/** All ways from the certificate to an anchor, the shortest first. */
function chainsOf(certificate: Certificate, more: readonly Certificate[], trust: Trust): Found {
  const anchors = new Set(trust.anchors.map((each) => each.fingerprint));
  const all = [...trust.anchors, ...more, ...trust.intermediates];
  const candidates = [...new Map(all.map((each) => [each.fingerprint, each])).values()];
  const open: Certificate[][] = [[certificate]];
  const chains: Certificate[][] = [];
  const ends: Certificate[][] = [];
  let farthest = certificate;
  let left = SIGNATURES_MAX;
  for (let chain = open.shift(); chain !== undefined; chain = open.shift()) {
    const last = chain.at(-1) as Certificate;
    farthest = last;
    if (anchors.has(last.fingerprint)) chains.push(chain);
    if (chain.length === CHAIN_MAX) continue;
    const isNext = (each: Certificate) =>
      each.subjectName === last.issuerName && !chain.some((one) => isSame(one, each));
    const named = candidates.filter(isNext).slice(0, left);
    left -= named.length;
    const issuers = named.filter((each) => isIssuedBy(last, each));
    for (const each of issuers) open.push([...chain, each]);
    if (issuers.length === 0 && !anchors.has(last.fingerprint)) ends.push(chain);
  }
  return { chains, farthest, ends };
}

const isSame = (a: Certificate, b: Certificate): boolean => a.fingerprint === b.fingerprint;
const isSelfIssued = (each: Certificate): boolean => each.issuerName === each.subjectName;

export interface Fault {
  /** `time`: it will pass, or has passed. `form`: it never was a chain. `untold`: whether it was revoked cannot be told. */
  readonly kind: 'time' | 'revoked' | 'untold' | 'form';
  readonly why: string;
  /** Of the certificate itself, and not of an issuer. */
  readonly isOwn: boolean;
  /** The id of the key that was revoked here. */
  readonly keyId?: string;
}

type MaybeFault = Omit<Fault, 'isOwn'> | undefined;

/** All that is wrong in a chain, in the order in which it is told. */
function faultsOf(chain: readonly Certificate[], trust: Trust, now: number): readonly Fault[] {
  return chain.flatMap((each, at) => {
    const isOwn = at === 0;
    const found = [
      timeFaultOf(each, now),
      keyFaultOf(each, trust),
      form(strangeFaultOf(each)),
      form(isOwn ? signerFaultOf(each) : authorityFaultOf(chain, at, trust)),
      form(signatureFaultOf(chain, at)),
      crlFaultOf(chain, at, trust),
    ];
    const whose = isOwn ? 'the certificate' : `its issuer ${each.subject}`;
    return found
      .filter((fault) => fault !== undefined)
      .map((fault) => ({ ...fault, isOwn, why: `${whose} ${fault.why}` }));
  });
}

const form = (why: string | undefined): MaybeFault =>
  why === undefined ? why : { kind: 'form', why };

function timeFaultOf({ fromMs, toMs }: Certificate, now: number): MaybeFault {
  const at = (ms: number) => new Date(ms).toISOString();
  if (now < fromMs) return { kind: 'time', why: `is not valid before ${at(fromMs)}` };
  return now > toMs ? { kind: 'time', why: `expired at ${at(toMs)}` } : undefined;
}

function keyFaultOf({ keyId }: Certificate, { revoked }: Trust): MaybeFault {
  if (!revoked.has(keyId)) return undefined;
  return { kind: 'revoked', why: `has a key that was revoked here (${keyId})`, keyId };
}

function crlFaultOf(chain: readonly Certificate[], at: number, { crls }: Trust): MaybeFault {
  const found = revocationOf(chain, at, crls);
  return found && { kind: found.isTold ? 'revoked' : 'untold', why: found.why };
}

function strangeFaultOf({ strange }: Certificate): string | undefined {
  if (strange.length === 0) return undefined;
  return `has a critical extension that is not understood (${strange.join(', ')})`;
}

function signerFaultOf({ usage }: Certificate): string | undefined {
  if (usage?.signsData !== false) return undefined;
  return 'is not for signing data (its key usage lacks digitalSignature)';
}

function authorityFaultOf(
  chain: readonly Certificate[],
  at: number,
  { isPathLengthNeeded }: Trust,
): string | undefined {
  const { authority, usage } = chain[at] as Certificate;
  if (authority?.isOne !== true) return 'is no authority (its basic constraints lack CA:TRUE)';
  if (usage?.signsCertificates !== true)
    return 'may not issue certificates (its key usage lacks keyCertSign)';
  const { pathLength } = authority;
  if (pathLength === undefined)
    return isPathLengthNeeded ? 'states no path length (trust.path_length)' : undefined;
  const between = chain.slice(1, at).filter((one) => !isSelfIssued(one)).length;
  if (between <= pathLength) return undefined;
  return `allows for ${pathLength} authorities below it (its path length), and there are ${between}`;
}

/** An anchor's own signature means nothing. */
function signatureFaultOf(chain: readonly Certificate[], at: number): string | undefined {
  if (at === chain.length - 1 || chain[at]?.isWeaklySigned !== true) return undefined;
  return 'is signed by MD5 or SHA-1, of which forgeries can be made';
}
