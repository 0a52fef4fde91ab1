// What a fill must check, decided before a byte moves: the operator's digests, the source's properties, the keys they name.

import { OperatingError } from '../wire/errors.ts';
import { formatSource } from '../wire/source.ts';
import { type ExpectedDigest, isProof, type VerificationPlan } from '../wire/verification-plan.ts';
import {
  DIGEST_ALGORITHMS,
  type DigestAlgorithm,
  type DiskFormat,
  type SourceName,
  type SourceProperties,
} from '../wire/vocabulary.ts';
import { type FoundManifest, planManifest } from './plan-manifest.ts';
import { planSignature, type SignatureRequest } from './plan-signature.ts';
import { type Carried, decideTrust, type TrustRule } from './policy.ts';

export interface PlanRequest extends SignatureRequest {
  readonly properties?: SourceProperties;
  readonly operator?: { readonly sha256?: string; readonly sha512?: string };
  /** Whose it is: rules go by that. */
  readonly source?: SourceName;
  readonly rules?: readonly TrustRule[];
  /** Beside the source. */
  readonly manifest?: FoundManifest;
}

const DIGEST_HEX_LENGTH: Readonly<Record<DigestAlgorithm, number>> = {
  sha256: 64,
  sha512: 128,
  sha224: 56,
  sha384: 96,
  sha1: 40,
  md5: 32,
};
const OP = 'plan verification';

/**
 * The plan of a fill: all that anybody said of the bytes.
 * @throws OperatingError `usage` (malformed or half-present material), `refused` (too little of it, material that cannot be checked here, a certificate
 *   that is out of date, revoked, or without a chain to an anchor, a manifest of a key that does not count), `not-found` (no such certificate), `mismatch` (two digests
 *   that cannot both be right, a key of another type, a manifest of another size), `corrupt` (no manifest, or not as it was signed).
 */
export async function planVerification(request: PlanRequest): Promise<VerificationPlan> {
  const properties = request.properties ?? {};
  assertActive(properties);
  const said = [...operatorDigests(request.operator ?? {}), ...propertyDigests(properties)];
  assertAgreeing(said);
  const format = declaredFormat(properties);
  const digests = said.map((each) => each.digest);
  const signature = await planSignature(properties, request);
  const manifest = request.manifest && (await planManifest(request.manifest));
  const carried = {
    signature: signature !== undefined,
    manifest: manifest !== undefined,
    digest: digests.some((each) => isProof(each.algorithm)),
  };
  return {
    digests,
    ...(signature === undefined ? {} : { signature }),
    ...(manifest === undefined ? {} : { manifest }),
    ...(format === undefined ? {} : { declaredFormat: format }),
    ...acceptedBy(request, carried, format),
  };
}

/** Glance gives out no bytes of an image in another state. */
function assertActive({ status }: SourceProperties): void {
  if (status === undefined || status === 'active') return;
  const why =
    status === 'deactivated' ? 'the image is deactivated' : `the image's status is ${status}`;
  const hint = 'Once it is active again: siphon describe SOURCE --property status=active';
  throw new OperatingError({ code: 'refused', op: OP, subject: 'status', why, hint });
}

/** What the rules say of it, before a byte moves. Nothing to say: the default holds. */
function acceptedBy(
  { rules = [], source }: PlanRequest,
  carried: Carried,
  format: DiskFormat | undefined,
): Pick<VerificationPlan, 'accepts'> {
  if (source === undefined || rules.length === 0) return {};
  const decision = decideTrust(rules, source, carried, format);
  if (decision.kind === 'admit') {
    const { formats, allowForeignRaw } = decision.rule;
    return { accepts: { formats, foreignRaw: allowForeignRaw } };
  }
  const { why } = decision;
  const hint =
    'siphon trust list shows the rules ([[trust.rules]]). Sign the image, and record that beside it: siphon describe.';
  throw new OperatingError({ code: 'refused', op: OP, subject: formatSource(source), why, hint });
}

/** A digest, and the word for where it stands. */
interface SaidDigest {
  readonly where: string;
  readonly digest: ExpectedDigest;
}

function operatorDigests(operator: NonNullable<PlanRequest['operator']>): SaidDigest[] {
  return (['sha256', 'sha512'] as const).flatMap((algorithm) => {
    const text = operator[algorithm];
    if (text === undefined) return [];
    const hex = digestHex(algorithm, text, `--${algorithm}`);
    return [{ where: 'the operator', digest: { algorithm, hex, from: 'operator' as const } }];
  });
}

function propertyDigests(properties: SourceProperties): SaidDigest[] {
  const { os_hash_value: value, checksum } = properties;
  const hash = osHash(properties);
  return [
    ...(hash === undefined ? [] : [propertyDigest(hash, value ?? '', 'os_hash_value')]),
    ...(checksum ? [propertyDigest('md5', checksum, 'checksum')] : []),
  ];
}

function propertyDigest(algorithm: DigestAlgorithm, text: string, where: string): SaidDigest {
  return {
    where,
    digest: { algorithm, hex: digestHex(algorithm, text, where), from: 'properties' },
  };
}

/** A digest that nobody here can compute is refused: to pass over it would look like having checked it. */
function osHash({ os_hash_algo: name, os_hash_value: value }: SourceProperties) {
  if (!name && !value) return undefined;
  if (!name || !value) {
    const why = `${name ? 'os_hash_value' : 'os_hash_algo'} is missing`;
    throw new OperatingError({ code: 'usage', op: OP, subject: 'os_hash', why });
  }
  const algorithm = DIGEST_ALGORITHMS.find((each) => each === name);
  if (algorithm !== undefined) return algorithm;
  const why = `'${name}' is not supported: ${DIGEST_ALGORITHMS.join(', ')} are`;
  throw new OperatingError({ code: 'refused', op: OP, subject: 'os_hash_algo', why });
}

function digestHex(algorithm: DigestAlgorithm, text: string, subject: string): string {
  const hex = text.trim().toLowerCase();
  const length = DIGEST_HEX_LENGTH[algorithm];
  if (hex.length === length && /^[0-9a-f]+$/.test(hex)) return hex;
  const why = `a ${algorithm} digest is ${length} hexadecimal digits`;
  throw new OperatingError({ code: 'usage', op: OP, subject, why });
}

function assertAgreeing(all: readonly SaidDigest[]): void {
  const seen = new Map<DigestAlgorithm, SaidDigest>();
  for (const one of all) {
    const { algorithm, hex } = one.digest;
    const other = seen.get(algorithm);
    if (other !== undefined && other.digest.hex !== hex) {
      const why = `${other.where} says ${other.digest.hex}, ${one.where} says ${hex}`;
      throw new OperatingError({ code: 'mismatch', op: OP, subject: algorithm, why });
    }
    seen.set(algorithm, one);
  }
}

function declaredFormat(properties: SourceProperties): DiskFormat | undefined {
  const format = properties.disk_format;
  if (!format) return undefined;
  if (format === 'raw' || format === 'qcow2') return format;
  const why = `'${format}' is not supported: raw and qcow2 are`;
  throw new OperatingError({ code: 'refused', op: OP, subject: 'disk_format', why });
}
