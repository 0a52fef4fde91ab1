// Flags, by names that say what is so where they are set. Pure.

/** What may be asked for: any of the names. */
export type Flags<Bits> = { readonly [Name in keyof Bits]?: boolean };

/** The bits of those that are true. */
export function bitsOf<Name extends string>(
  bits: Readonly<Record<Name, number>>,
  flags: Flags<Record<Name, number>>,
): number {
  let all = 0;
  for (const name of Object.keys(bits) as Name[]) if (flags[name] === true) all |= bits[name];
  return all;
}
