// C prototypes, as the headers have them, and what crosses for each of their types. Pure.

/** How a value of a C type crosses; `ulong` is 64 bits wide on the ABIs that koffi and libvirt share here. */
export type Kind = 'void' | 'int' | 'uint' | 'ulong' | 'uint64' | 'pointer';

export interface Prototype {
  readonly name: string;
  readonly returns: string;
  readonly parameters: readonly string[];
}

/** What a function of that C prototype gives: nothing, a number, a text (freed where libvirt handed it over), or an address. */
export type ResultOf<Text extends string> = Text extends `void ${string}`
  ? undefined
  : Text extends `${'int' | 'unsigned int'} ${string}`
    ? number
    : Text extends `${'char' | 'const char'} *${string}`
      ? string
      : bigint;

/** `int f(T a, U *b)` -> its parts. */
export function parsePrototype(text: string): Prototype {
  const flat = text.replace(/\s+/g, ' ').trim();
  const [, returns, name, inside] = /^(.*?[ *])(\w+) ?\((.*)\)$/.exec(flat) ?? [];
  if (returns === undefined || name === undefined || inside === undefined)
    throw new TypeError(`not a prototype: ${flat}`);
  const list = inside === 'void' ? [] : inside.split(',');
  const parameters = list.map((parameter) => parameter.trim().replace(/\w+$/, '').trim());
  return { name, returns: returns.trim(), parameters };
}

const SCALARS: Readonly<Record<string, Kind>> = {
  void: 'void',
  int: 'int',
  'unsigned int': 'uint',
  'unsigned long': 'ulong',
  size_t: 'ulong',
  'unsigned long long': 'uint64',
};

export function kindOf(type: string): Kind {
  const scalar = SCALARS[type];
  if (scalar !== undefined) return scalar;
  if (/\*$|(Ptr|Callback|Func|gpointer|Notify|Marshal)$/.test(type)) return 'pointer';
  throw new TypeError(`no binding for the C type ${type}`);
}
