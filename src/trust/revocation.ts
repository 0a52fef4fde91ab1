// What the CRLs at hand say of the certificates of a chain.

import { type Certificate, isIssuedBy } from './certificate.ts';
import { type Crl, isSignedBy } from './crl.ts';

/** `isTold`: a CRL that can be relied on has it; else what a CRL would say is not known. */
export interface Revocation {
  readonly isTold: boolean;
  readonly why: string;
}

/** Why one of a chain must not be trusted by its issuer's CRLs; undefined: they do not say so, or there is none. */
export function revocationOf(
  chain: readonly Certificate[],
  at: number,
  crls: readonly Crl[],
): Revocation | undefined {
  const { issuer, serial } = chain[at] as Certificate;
  const { all, good } = crlsOf(chain, at, crls);
  if (good.some((crl) => crl.strange.length === 0 && crl.revoked.has(serial)))
    return { isTold: true, why: `was revoked by its issuer (${issuer}), as the CRL says` };
  const untold = (why: string) => ({
    isTold: false,
    why: `has an issuer (${issuer}) whose CRL ${why}`,
  });
  const strange = all.flatMap((crl) => crl.strange);
  if (strange.length > 0)
    return untold(`has a critical extension that is not understood (${strange.join(', ')})`);
  if (all.length > 0 && good.length === 0) return untold('is not signed by it');
  return undefined;
}

/** The issuers in a chain all of whose CRLs should have been followed by newer ones. */
export function overdueOf(
  chain: readonly Certificate[],
  crls: readonly Crl[],
  now: number,
): readonly string[] {
  const late = chain.filter((_, at) => {
    const { good } = crlsOf(chain, at, crls);
    return good.length > 0 && good.every(({ nextUpdateMs: next = now }) => next < now);
  });
  return [...new Set(late.map((each) => each.issuer))];
}

/**
 * The CRLs of whoever issued it: `all` by its name, and by its key where both say which; `good`, those that it signed. Where it is not
 * known who issued it, all are: a CRL can only refuse.
 */
function crlsOf(
  chain: readonly Certificate[],
  at: number,
  crls: readonly Crl[],
): { readonly all: readonly Crl[]; readonly good: readonly Crl[] } {
  const each = chain[at] as Certificate;
  const named = crls.filter((crl) => crl.issuerName === each.issuerName);
  const issuer = chain[at + 1] ?? (isIssuedBy(each, each) ? each : undefined);
  if (issuer === undefined) return { all: named, good: named };
  const all = named.filter(({ authorityKey: key }) => !isOther(key, issuer.subjectKey));
  const isAllowed = issuer.usage?.signsCrls !== false;
  return {
    all,
    good: isAllowed ? all.filter((crl) => isSignedBy(crl, issuer.x509.publicKey)) : [],
  };
}

const isOther = (key: string | undefined, own: string | undefined): boolean =>
  key !== undefined && own !== undefined && key !== own;
