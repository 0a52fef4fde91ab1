// Domain XML without its secrets, for spools and records: what libvirt prints only with VIR_DOMAIN_XML_SECURE (`passwd` of
// graphics, `<cookies>` of network sources), and whatever else calls itself a password. The rest stays byte for byte.

const SECRET_ATTRIBUTE = /^(?:[^:]*:)?(?:passwd|password)$/i;
const SECRET_ELEMENT = 'cookies';

/**
 * Removes the secrets. What is cut off in mid-tag, mid-comment or mid-secret is dropped from there on, so that malformed text
 * cannot carry one through. Time and memory are linear in the text.
 */
export function stripPasswords(xml: string): string {
  let kept = '';
  let at = 0;
  while (at < xml.length) {
    const open = xml.indexOf('<', at);
    if (open === -1) return kept + xml.slice(at);
    kept += xml.slice(at, open);
    const markup = readMarkup(xml, open);
    if (markup === null) return kept;
    kept += markup.kept;
    at = markup.end;
  }
  return kept;
}

interface Markup {
  readonly kept: string;
  /** Index after it. */
  readonly end: number;
}

const OPAQUE: readonly (readonly [start: string, end: string])[] = [
  ['<!--', '-->'],
  ['<![CDATA[', ']]>'],
  ['<?', '?>'],
];

function readMarkup(xml: string, open: number): Markup | null {
  for (const [start, end] of OPAQUE) {
    if (!xml.startsWith(start, open)) continue;
    const close = xml.indexOf(end, open + start.length);
    return close === -1
      ? null
      : { kept: xml.slice(open, close + end.length), end: close + end.length };
  }
  const tag = readTag(xml, open);
  return tag !== null && isSecretElement(tag.kept) ? skipElement(xml, tag) : tag;
}

/** Copies one tag without its secret attributes, each with the white space before it. */
function readTag(xml: string, open: number): Markup | null {
  let kept = '';
  let at = open;
  const delimiter = /["'>]/g;
  for (;;) {
    delimiter.lastIndex = at;
    const found = delimiter.exec(xml);
    if (found === null) return null;
    if (found[0] === '>')
      return { kept: kept + xml.slice(at, found.index + 1), end: found.index + 1 };
    const close = xml.indexOf(found[0], found.index + 1);
    if (close === -1) return null;
    const before = beforeSecret(xml.slice(at, found.index));
    kept += before ?? xml.slice(at, close + 1);
    at = close + 1;
  }
}

/** What stands before ` passwd=`, if the text ends in that; null if it ends in another attribute's name. */
function beforeSecret(text: string): string | null {
  const assignment = text.trimEnd();
  if (!assignment.endsWith('=')) return null;
  const named = assignment.slice(0, -1).trimEnd();
  let start = named.length;
  while (start > 0 && !/\s/.test(named[start - 1] ?? '')) start--;
  return SECRET_ATTRIBUTE.test(named.slice(start)) ? named.slice(0, start).trimEnd() : null;
}

function isSecretElement(tag: string): boolean {
  return new RegExp(`^<(?:[^\\s:/>]*:)?${SECRET_ELEMENT}[\\s/>]`).test(tag);
}

/** An element with secret content is emptied: `<cookies>…</cookies>` becomes `<cookies></cookies>`. */
function skipElement(xml: string, tag: Markup): Markup | null {
  if (tag.kept.endsWith('/>')) return tag;
  const name = /^<([^\s/>]+)/.exec(tag.kept)?.[1] ?? '';
  const close = xml.indexOf(`</${name}`, tag.end);
  return close === -1 ? null : { kept: tag.kept, end: close };
}
