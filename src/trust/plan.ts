// What a fill must check, decided before a byte moves: the operator's digests, the source's properties, the keys they name.

import { OperatingError } from '../wire/errors.ts';
import type { ExpectedDigest, VerificationPlan } from '../wire/verification-plan.ts';
import type { DigestAlgorithm, DiskFormat, SourceProperties } from '../wire/vocabulary.ts';
import type { FindCertificate } from './plan-signature.ts';
import { planSignature } from './plan-signature.ts';

export interface PlanRequest {
  readonly properties?: SourceProperties;
  readonly operator?: { readonly sha256?: string; readonly sha512?: string };
  /** The X.509 certificate (PEM or DER) of a UUID in lower case; undefined where there is none. */
  readonly findCertificate: FindCertificate;
  /** Milliseconds since the epoch: certificates must be valid then. */
  readonly now: number;
}

const DIGEST_HEX_LENGTH: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 };
const OP = 'plan verification';

/**
 * The plan of a fill. The legacy `checksum` (MD5) is not looked at: it proves nothing against somebody who forges.
 * @throws OperatingError `usage` (malformed or half-present material), `refused` (material that cannot be checked here, a certificate
 *   out of date), `not-found` (no such certificate), `mismatch` (two digests that cannot both be right, a key of another type).
 */
export async function planVerification(request: PlanRequest): Promise<VerificationPlan> {
  const properties = request.properties ?? {};
  const digests = [...operatorDigests(request.operator ?? {}), ...propertyDigests(properties)];
  assertAgreeing(digests);
  const format = declaredFormat(properties);
  const signature = await planSignature(properties, request.findCertificate, request.now);
  return {
    digests,
    ...(signature === undefined ? {} : { signature }),
    ...(format === undefined ? {} : { declaredFormat: format }),
  };
}

function operatorDigests(operator: NonNullable<PlanRequest['operator']>): ExpectedDigest[] {
  return (['sha256', 'sha512'] as const).flatMap((algorithm) => {
    const text = operator[algorithm];
    if (text === undefined) return [];
    return [
      { algorithm, hex: digestHex(algorithm, text, `--${algorithm}`), from: 'operator' as const },
    ];
  });
}

/** A digest that nobody here can compute is refused: to pass over it would look like having checked it. */
function propertyDigests(properties: SourceProperties): ExpectedDigest[] {
  const { os_hash_algo: algorithm, os_hash_value: value } = properties;
  if (!algorithm && !value) return [];
  if (!algorithm || !value) {
    const missing = algorithm ? 'os_hash_value' : 'os_hash_algo';
    throw new OperatingError({
      code: 'usage',
      op: OP,
      subject: 'os_hash',
      why: `${missing} is missing`,
    });
  }
  if (algorithm !== 'sha256' && algorithm !== 'sha512') {
    const why = `'${algorithm}' is not supported: sha256 and sha512 are`;
    throw new OperatingError({ code: 'refused', op: OP, subject: 'os_hash_algo', why });
  }
  return [{ algorithm, hex: digestHex(algorithm, value, 'os_hash_value'), from: 'properties' }];
}

function digestHex(algorithm: DigestAlgorithm, text: string, subject: string): string {
  const hex = text.trim().toLowerCase();
  const length = DIGEST_HEX_LENGTH[algorithm];
  if (hex.length === length && /^[0-9a-f]+$/.test(hex)) return hex;
  const why = `a ${algorithm} digest is ${length} hexadecimal digits`;
  throw new OperatingError({ code: 'usage', op: OP, subject, why });
}

function assertAgreeing(digests: readonly ExpectedDigest[]): void {
  const seen = new Map<DigestAlgorithm, ExpectedDigest>();
  for (const digest of digests) {
    const other = seen.get(digest.algorithm);
    if (other !== undefined && other.hex !== digest.hex) {
      const why = `the operator says ${other.hex}, the source's properties say ${digest.hex}`;
      throw new OperatingError({ code: 'mismatch', op: OP, subject: digest.algorithm, why });
    }
    seen.set(digest.algorithm, digest);
  }
}

function declaredFormat(properties: SourceProperties): DiskFormat | undefined {
  const format = properties.disk_format;
  if (!format) return undefined;
  if (format === 'raw' || format === 'qcow2') return format;
  const why = `'${format}' is not supported: raw and qcow2 are`;
  throw new OperatingError({ code: 'refused', op: OP, subject: 'disk_format', why });
}
