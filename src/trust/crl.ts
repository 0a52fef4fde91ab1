// A list of revoked certificates (RFC 5280, 5). Its frame is walked here, since it may be long; what stands in it the library reads.

import { constants, type KeyObject, verify } from 'node:crypto';
import { AsnParser } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  Extensions,
  id_ce_authorityKeyIdentifier,
  id_ce_cRLNumber,
  Name,
  Time,
} from '@peculiar/asn1-x509';
import {
  isWeakAlgorithm,
  keyIdentifiers,
  nameBytes,
  readable,
  serialText,
  strangeOf,
} from './certificate.ts';
import { DerError, type DerValue, readValue, TAG, valuesIn } from './der.ts';
import { blocksOf } from './pem.ts';

export interface Crl {
  /** DER, hex, as a certificate has it. */
  readonly issuerName: string;
  /** For people. */
  readonly issuer: string;
  readonly authorityKey?: string;
  readonly thisUpdateMs: number;
  /** Absent: it never is overdue. */
  readonly nextUpdateMs?: number;
  /** Serial numbers, as a certificate has them. */
  readonly revoked: ReadonlySet<string>;
  /** Critical extensions that nobody here looks at: of the list, or of an entry. */
  readonly strange: readonly string[];
  readonly signed: {
    readonly algorithm: string;
    readonly bytes: Uint8Array;
    readonly signature: Uint8Array;
  };
}

export type Crls =
  | { readonly kind: 'crls'; readonly all: readonly [Crl, ...Crl[]] }
  | { readonly kind: 'none'; readonly why: string };

/** Some 50,000 certificates: siphond, which reads it, answers others meanwhile. */
export const CRL_BYTES_MAX = 2 * 1024 * 1024;
const KNOWN: readonly string[] = [id_ce_authorityKeyIdentifier, id_ce_cRLNumber];

/** What each algorithm of a signature is to node:crypto: null, the key's own. */
const HASHES: Readonly<Record<string, string | null>> = {
  '1.2.840.113549.1.1.14': 'sha224',
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.3.1': 'sha224',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '2.16.840.1.101.3.4.3.1': 'sha224',
  '2.16.840.1.101.3.4.3.2': 'sha256',
  '2.16.840.1.101.3.4.3.3': 'sha384',
  '2.16.840.1.101.3.4.3.4': 'sha512',
  '1.3.101.112': null,
  '1.3.101.113': null,
};

/** All CRLs of a file, PEM or DER. */
export function parseCrls(bytes: Uint8Array): Crls {
  if (bytes.length > CRL_BYTES_MAX)
    return { kind: 'none', why: `it is longer than ${CRL_BYTES_MAX} bytes` };
  const blocks = blocksOf(bytes, ['X509 CRL']);
  if (blocks === undefined) return { kind: 'none', why: 'its PEM is broken' };
  try {
    const [first, ...more] = blocks.map(readCrl);
    if (first === undefined) return { kind: 'none', why: 'there is no CRL in it' };
    return { kind: 'crls', all: [first, ...more] };
  } catch (cause) {
    return { kind: 'none', why: (cause as Error).message };
  }
}

/** Whether the key signed it; an algorithm that nobody here knows, or that can be forged, is no signature. */
export function isSignedBy({ signed }: Crl, key: KeyObject): boolean {
  const hash = Object.hasOwn(HASHES, signed.algorithm) ? HASHES[signed.algorithm] : undefined;
  if (hash === undefined || isWeakAlgorithm(signed.algorithm)) return false;
  const isRsa = key.asymmetricKeyType === 'rsa';
  const how = isRsa ? { padding: constants.RSA_PKCS1_PADDING } : { dsaEncoding: 'der' as const };
  try {
    return verify(hash, signed.bytes, { key, ...how }, signed.signature);
  } catch {
    return false; // the key is of another kind than the algorithm
  }
}

/** @throws DerError, or the library's Error */
function readCrl(der: Buffer): Crl {
  const whole = expected(readValue(der, 0, der.length), TAG.sequence);
  if (whole.end !== der.length) throw new DerError('something stands behind it');
  const [list, algorithm, signature, ...rest] = valuesIn(der, whole);
  if (list === undefined || algorithm === undefined || signature === undefined || rest.length > 0)
    throw new DerError('it is not a CRL');
  const slice = ({ start, end }: DerValue) => der.subarray(start, end);
  return {
    ...readList(der, expected(list, TAG.sequence)),
    signed: {
      algorithm: AsnParser.parse(slice(algorithm), AlgorithmIdentifier).algorithm,
      bytes: slice(list),
      signature: der.subarray(signature.body + 1, signature.end), // a BIT STRING's first byte: none is unused
    },
  };
}

function readList(der: Buffer, list: DerValue): Omit<Crl, 'signed'> {
  const values = [...valuesIn(der, list)];
  const take = (...tags: readonly number[]) =>
    tags.includes(values[0]?.tag ?? 0) ? values.shift() : undefined;
  const must = (...tags: readonly number[]) => expected(take(...tags), ...tags);
  const slice = ({ start, end }: DerValue) => der.subarray(start, end);
  const timeOf = (value: DerValue) => AsnParser.parse(slice(value), Time).getTime().getTime();
  take(TAG.integer);
  must(TAG.sequence);
  const issuer = must(TAG.sequence);
  const thisUpdate = must(TAG.utcTime, TAG.generalizedTime);
  const nextUpdate = take(TAG.utcTime, TAG.generalizedTime);
  const entries = take(TAG.sequence);
  const wrapped = take(TAG.context0);
  if (values.length > 0) throw new DerError('it is not a CRL');
  const extensions =
    wrapped === undefined
      ? []
      : [...AsnParser.parse(der.subarray(wrapped.body, wrapped.end), Extensions)];
  const { authorityKey } = keyIdentifiers(extensions);
  const { revoked, strange } = readEntries(der, entries);
  const name = AsnParser.parse(slice(issuer), Name);
  return {
    issuerName: nameBytes(name),
    issuer: readable(nameText(name)),
    ...(authorityKey && { authorityKey }),
    thisUpdateMs: timeOf(thisUpdate),
    ...(nextUpdate && { nextUpdateMs: timeOf(nextUpdate) }),
    revoked,
    strange: [...strangeOf(extensions, KNOWN), ...strange],
  };
}

const SHORT: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
};

/** As OpenSSL tells a certificate's. */
function nameText(name: Name): string {
  const parts = [...name].flatMap((relative) => [...relative]);
  return parts
    .map((each) => `${SHORT[each.type] ?? each.type}=${each.value.toString()}`)
    .join('\n');
}

/** SEQUENCE OF SEQUENCE { serial INTEGER, date Time, extensions SEQUENCE OF { id, critical BOOLEAN DEFAULT FALSE, … } OPTIONAL } */
function readEntries(der: Buffer, entries: DerValue | undefined): Pick<Crl, 'revoked' | 'strange'> {
  const revoked = new Set<string>();
  const strange = new Set<string>();
  for (const entry of entries === undefined ? [] : valuesIn(der, entries)) {
    const [serial, date, extensions] = valuesIn(der, expected(entry, TAG.sequence));
    const { body, end } = expected(serial, TAG.integer);
    expected(date, TAG.utcTime, TAG.generalizedTime);
    revoked.add(serialText(der.subarray(body, end)));
    for (const extension of extensions === undefined ? [] : valuesIn(der, extensions)) {
      const [, critical] = valuesIn(der, extension);
      if (critical?.tag === TAG.boolean && der[critical.body] !== 0) strange.add('of an entry');
    }
  }
  return { revoked, strange: [...strange] };
}

function expected(value: DerValue | undefined, ...tags: readonly number[]): DerValue {
  if (value !== undefined && tags.includes(value.tag)) return value;
  throw new DerError('it is not a CRL');
}
