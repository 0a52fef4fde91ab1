// PEM or DER to DER: what a file of certificates or CRLs holds, block by block.

/** More in one file is a mistake. */
const BLOCKS_MAX = 64;

/** The DER of each block that has one of the labels; a file without any `-----BEGIN` is DER itself. Undefined: not PEM throughout. */
export function blocksOf(bytes: Uint8Array, labels: readonly string[]): Buffer[] | undefined {
  const whole = Buffer.from(bytes);
  const text = whole.toString('latin1');
  if (!text.includes('-----BEGIN ')) return whole.length === 0 ? [] : [whole];
  const found: Buffer[] = [];
  for (let at = text.indexOf('-----BEGIN '); at >= 0; at = text.indexOf('-----BEGIN ', at)) {
    const label = /^-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(text.slice(at, at + 70))?.[1];
    if (label === undefined) return undefined;
    const from = at + `-----BEGIN ${label}-----`.length;
    const to = text.indexOf(`-----END ${label}-----`, from);
    if (to < 0) return undefined;
    if (labels.includes(label)) found.push(Buffer.from(text.slice(from, to), 'base64'));
    if (found.length > BLOCKS_MAX) return undefined;
    at = to;
  }
  return found;
}

/** Whether there is a private key in it, which belongs nowhere near. */
export const hasPrivateKey = (bytes: Uint8Array): boolean =>
  Buffer.from(bytes).toString('latin1').includes('PRIVATE KEY-----');
