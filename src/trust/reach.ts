// Revocation's reach: which bases that are here have lost what vouched for them, as the trust folder is now. Facts in, verdict out.

import { createHash, createPublicKey } from 'node:crypto';
import type { ProofLoss } from '../wire/trust-api.ts';
import { isProof, parseSignatureId } from '../wire/verification-plan.ts';
import type { Base, VerifiedBy } from '../wire/vocabulary.ts';
import type { Certificate } from './certificate.ts';
import { type Trust, waysOf } from './chain.ts';
import { carriedBy, decideTrust, type TrustRule } from './policy.ts';

/** What is known of a base: `signatures`, as the catalogue keeps them, have the keys. */
export interface ProvenBase extends Pick<Base, 'name' | 'verification' | 'sourceFormat'> {
  readonly signatures: readonly string[];
}

export interface ReachFacts {
  readonly trust: Trust;
  /** By UUID, as the folder has them now: each with what came along with it. */
  readonly certificates: ReadonlyMap<string, readonly [Certificate, ...Certificate[]]>;
  /** A file among the CRLs is none: what it would revoke nobody knows. */
  readonly isCrlBroken: boolean;
  readonly rules: readonly TrustRule[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export type Standing =
  | { readonly kind: 'stands' }
  | { readonly kind: 'lost'; readonly loss: ProofLoss }
  /** It may have been revoked: nothing follows from that, neither one way nor the other. */
  | { readonly kind: 'untold'; readonly why: string };

export type Reached =
  /** What vouched for it does so still, or enough of it. */
  | { readonly kind: 'stands' }
  | { readonly kind: 'lost'; readonly why: string; readonly losses: readonly ProofLoss[] }
  | { readonly kind: 'untold'; readonly why: string };

export interface Reach {
  /** `before`: what it had lost by then. A revocation that is still there is not forgotten with the certificate that it was of. */
  of(base: ProvenBase, before?: readonly ProofLoss[]): Reached;
  /** Each way by which one of a base's proofs stands; of a signature one for each key that made it. */
  ofProof(base: ProvenBase, proof: VerifiedBy, before?: readonly ProofLoss[]): Standing;
  /** Whether a proof of a base is by this certificate or key, or by one below it. */
  dependsOn(base: ProvenBase, proof: VerifiedBy, token: string): boolean;
}

type SignatureProof = VerifiedBy & { readonly what: 'signature' };

/** One for many bases: what it has found of a certificate it keeps. */
export function createReach(facts: ReachFacts): Reach {
  const { rules, trust } = facts;
  const byCertificate = new Map<string, Standing>();
  const found = (certificate: string, keyId: string | undefined): Standing => {
    const key = `${certificate} ${keyId ?? ''}`;
    const known = byCertificate.get(key) ?? standingOfSignature(certificate, keyId, facts);
    byCertificate.set(key, known);
    return known;
  };
  const ofSignature = (base: ProvenBase, proof: SignatureProof): Standing => {
    const all = keysOf(base, proof).map((keyId) => found(proof.certificate, keyId));
    return best(all.map((each) => withProof(each, proof)));
  };
  const ofProof: Reach['ofProof'] = (base, proof, before = []) => {
    const now =
      proof.what === 'digest'
        ? STANDS
        : proof.what === 'manifest'
          ? standingOfManifest(proof, trust)
          : ofSignature(base, proof);
    const was = before.find((each) => isSame(each.proof, proof));
    return now.kind === 'lost' || was === undefined ? now : remembering(was, now, trust);
  };
  const below = new Map<string, ReadonlySet<string>>();
  const keysAbove = (certificate: string): ReadonlySet<string> => {
    const known = below.get(certificate) ?? keysIn(certificate, facts);
    below.set(certificate, known);
    return known;
  };
  return {
    ofProof,
    of: (base, before) => judgeProofs(base, rules, (proof) => ofProof(base, proof, before)),
    dependsOn(base, proof, token) {
      if (proof.what === 'digest') return false;
      if (proof.what === 'manifest') return proof.keyId === token;
      if (proof.certificate === token || keysOf(base, proof).includes(token)) return true;
      return keysAbove(proof.certificate).has(token);
    },
  };
}

const STANDS: Standing = { kind: 'stands' };

/** Of a base: from what each of its proofs comes to. */
function judgeProofs(
  base: ProvenBase,
  rules: readonly TrustRule[],
  standing: (proof: VerifiedBy) => Standing,
): Reached {
  const { verification } = base;
  const proofs = verification.kind === 'verified' ? verification.by : [];
  const all = proofs.map((proof) => ({ proof, now: standing(proof) }));
  const losses = all.flatMap(({ now }) => (now.kind === 'lost' ? [now.loss] : []));
  const untold = all.flatMap(({ now }) => (now.kind === 'untold' ? [now.why] : []));
  const of = (kinds: readonly Standing['kind'][]) =>
    all.filter(({ now }) => kinds.includes(now.kind)).map(({ proof }) => proof);
  const why = losses.length === 0 ? undefined : whyTooLittle(base, rules, of(['stands', 'untold']));
  if (why !== undefined) {
    const lost = losses.map((each) => `${proofText(each.proof)}: ${each.why}`).join('; ');
    return { kind: 'lost', why: `${lost}${why}`, losses };
  }
  const isPlain = untold.length === 0 || whyTooLittle(base, rules, of(['stands'])) === undefined;
  return isPlain ? { kind: 'stands' } : { kind: 'untold', why: untold.join('; ') };
}

/** What is left vouches for the same bytes if it is a proof by itself, and the rules want no more; undefined: it does. */
function whyTooLittle(
  { name, sourceFormat }: ProvenBase,
  rules: readonly TrustRule[],
  left: readonly VerifiedBy[],
): string | undefined {
  if (!left.some(isVoucher)) return '';
  const carried = carriedBy({ kind: 'verified', by: left });
  const decision = decideTrust(rules, name, carried, sourceFormat);
  return decision.kind === 'admit' ? undefined : ` (${decision.why})`;
}

/** A digest from beside the image is the word of whoever may write there, who may have had the key. */
function isVoucher(proof: VerifiedBy): boolean {
  return proof.what !== 'digest' || (proof.from === 'operator' && isProof(proof.algorithm));
}

/** For people. */
export function proofText(proof: VerifiedBy): string {
  if (proof.what === 'digest') return `${proof.algorithm} of the ${proof.from}`;
  if (proof.what === 'manifest') return `manifest (key ${proof.keyId})`;
  return `signature (certificate ${proof.certificate})`;
}

/** Several keys may have signed under one UUID: one that stands will do. */
function best(all: readonly Standing[]): Standing {
  const by = (kind: Standing['kind']) => all.find((each) => each.kind === kind);
  return by('stands') ?? by('untold') ?? by('lost') ?? STANDS;
}

function withProof(standing: Standing, proof: VerifiedBy): Standing {
  if (standing.kind !== 'lost') return standing;
  return { ...standing, loss: { ...standing.loss, proof } };
}

/** `now`: it is not lost any more, as far as the folder tells. */
function remembering(was: ProofLoss, now: Standing, { revoked, isChainNeeded }: Trust): Standing {
  if (was.by !== undefined && revoked.has(was.by)) return { kind: 'lost', loss: was };
  const isForgotten = was.isByChain && !isChainNeeded;
  return isForgotten ? { kind: 'untold', why: `no chain tells whether ${was.why}` } : now;
}

const isSame = (a: VerifiedBy, b: VerifiedBy): boolean => JSON.stringify(a) === JSON.stringify(b);

function standingOfManifest(
  proof: VerifiedBy & { readonly what: 'manifest' },
  { revoked }: Trust,
): Standing {
  const { keyId } = proof;
  if (!revoked.has(keyId)) return STANDS;
  return lostBy(keyId, 'its key was revoked here', proof);
}

function lostBy(by: string, why: string, proof: VerifiedBy): Standing {
  return { kind: 'lost', loss: { proof, why, by, isByChain: false } };
}

/** A certificate that has expired since, or that is gone, says nothing against what it signed. */
function standingOfSignature(
  certificate: string,
  keyId: string | undefined,
  { trust, certificates, isCrlBroken, now }: ReachFacts,
): Standing {
  const proof: VerifiedBy = { what: 'signature', keyType: '', certificate };
  const { revoked } = trust;
  if (revoked.has(certificate)) return lostBy(certificate, 'it was revoked here', proof);
  if (keyId !== undefined && revoked.has(keyId))
    return lostBy(keyId, `its key was revoked here (${keyId})`, proof);
  const [own, ...more] = certificates.get(certificate) ?? [];
  if (own === undefined)
    return { kind: 'untold', why: `certificate ${certificate} is not in the trust folder` };
  if (keyId !== undefined && own.keyId !== keyId)
    return { kind: 'untold', why: `certificate ${certificate} has another key now` };
  const { isWhole, ways } = waysOf(own, more, trust, now);
  const told = ways.map(({ faults }) => {
    const revocation = faults.find((each) => each.kind === 'revoked');
    return { revocation, isUntold: isCrlBroken || faults.some((each) => each.kind === 'untold') };
  });
  if (isWhole && told.some((each) => each.revocation === undefined && !each.isUntold))
    return STANDS;
  const [first] = told;
  if (first?.revocation !== undefined && told.every((each) => each.revocation !== undefined)) {
    const { why, keyId: by, isOwn } = first.revocation;
    return { kind: 'lost', loss: { proof, why, isByChain: !isOwn, ...(by && { by }) } };
  }
  return { kind: 'untold', why: `whether certificate ${certificate} was revoked cannot be told` };
}

/** Of a certificate that is here, and of all above it. */
function keysIn(certificate: string, { trust, certificates, now }: ReachFacts): Set<string> {
  const [own, ...more] = certificates.get(certificate) ?? [];
  if (own === undefined) return new Set();
  const { ways } = waysOf(own, more, trust, now);
  return new Set(ways.flatMap(({ chain }) => chain.map((each) => each.keyId)));
}

/** The ids of the keys that signed a base under a certificate's UUID; undefined in it: nobody noted which. */
export function keysOf(
  { signatures }: Pick<ProvenBase, 'signatures'>,
  { certificate, keyType }: SignatureProof,
): readonly (string | undefined)[] {
  const noted = signatures.map(signerOf).filter((each) => {
    return each?.certificate === certificate && each.keyType === keyType;
  });
  const ids = [...new Set(noted.map((each) => each?.keyId))];
  return ids.length === 0 ? [undefined] : ids;
}

interface NotedSigner {
  readonly keyType: string;
  readonly certificate: string;
  readonly keyId: string;
}

const NOTED_MAX = 50_000;
const notedSigners = new Map<string, NotedSigner>();

/** Many bases are by few signers, but each signature is another. */
function signerOf(text: string): NotedSigner | undefined {
  const noted = parseSignatureId(text);
  if (noted === undefined) return undefined;
  const { keyType, certificate, publicKeyPem } = noted;
  const key = `${keyType} ${certificate} ${publicKeyPem}`;
  const known = notedSigners.get(key) ?? { keyType, certificate, keyId: idOf(publicKeyPem) };
  if (notedSigners.size >= NOTED_MAX) notedSigners.clear();
  notedSigners.set(key, known);
  return known;
}

function idOf(publicKeyPem: string): string {
  const spki = createPublicKey(publicKeyPem).export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('hex');
}
