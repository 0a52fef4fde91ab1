// The one XML parser: text in, a small tree of elements out. Nothing is expanded but the five entities and the character
// references of XML 1.0, and that here, so a document type's own entities can do no harm: naming one is an error.

import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { OperatingError } from '../wire/errors.ts';

export const XML_BYTES_MAX = 4 * 1024 * 1024;
/** libvirt follows backing chains to 200 links, each one element deeper (virStorageSourceGetMetadata). */
export const XML_DEPTH_MAX = 256;

export interface XmlElement {
  /** As written, prefix included. */
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** All character data directly under the element, joined. */
  readonly text: string;
}

/** What fast-xml-parser gives with `preserveOrder`: one key for the element (or #text), and `:@` for attributes. */
type Ordered = Readonly<Record<string, Ordered[] | Record<string, string> | string>>;

const ATTRIBUTES = ':@';
const TEXT = '#text';
const CDATA = '#cdata';
const NAMED: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};

const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  textNodeName: TEXT,
  cdataPropName: CDATA,
  ignoreDeclaration: true,
  ignorePiTags: true,
  parseTagValue: false,
  trimValues: false,
  processEntities: false,
  maxNestedTags: XML_DEPTH_MAX,
});

/**
 * Parses one document and gives its root.
 * @throws OperatingError `usage`: malformed, over {@link XML_BYTES_MAX} bytes, or nested over {@link XML_DEPTH_MAX} deep.
 */
export function parseXml(xml: string): XmlElement {
  if (Buffer.byteLength(xml) > XML_BYTES_MAX) throw malformed(`it is over ${XML_BYTES_MAX} bytes`);
  let roots: Ordered[];
  try {
    const valid = XMLValidator.validate(xml);
    if (valid !== true) throw new Error(`line ${valid.err.line}: ${valid.err.msg}`);
    roots = (parser.parse(xml) as Ordered[]).filter((node) => !(TEXT in node));
  } catch (cause) {
    throw malformed(cause instanceof Error ? cause.message : 'the parser failed', cause);
  }
  const [root, ...more] = roots;
  if (root === undefined || more.length > 0) throw malformed('it has not exactly one root element');
  return elementOf(root);
}

/** The first child of that name, or undefined. */
export function child(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((each) => each.name === name);
}

/** All children of that name, in order. */
export function childrenOf(element: XmlElement | undefined, name: string): readonly XmlElement[] {
  return element?.children.filter((each) => each.name === name) ?? [];
}

export function attribute(element: XmlElement | undefined, name: string): string | undefined {
  return element?.attributes.get(name);
}

function elementOf(node: Ordered): XmlElement {
  const name = Object.keys(node).find((key) => key !== ATTRIBUTES) ?? '';
  const content = node[name] as Ordered[];
  const attributes = new Map<string, string>();
  for (const [key, value] of Object.entries((node[ATTRIBUTES] ?? {}) as Record<string, string>)) {
    attributes.set(key.slice(1), decode(value));
  }
  const children: XmlElement[] = [];
  let text = '';
  for (const part of content) {
    if (TEXT in part) text += decode(part[TEXT] as string);
    else if (CDATA in part) text += textOf(part[CDATA] as Ordered[]);
    else children.push(elementOf(part));
  }
  return { name, attributes, children, text };
}

function textOf(parts: readonly Ordered[]): string {
  return parts.map((part) => part[TEXT] as string).join('');
}

function decode(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(/&([^;&]{0,32};)?/g, (reference, body: string | undefined) => {
    const decoded = body === undefined ? undefined : decodeReference(body.slice(0, -1));
    if (decoded === undefined) throw malformed(`'${reference}' is not an entity of XML`);
    return decoded;
  });
}

function decodeReference(name: string): string | undefined {
  const [, hex, decimal] = /^#(?:x([0-9a-fA-F]+)|([0-9]+))$/.exec(name) ?? [];
  const digits = hex ?? decimal;
  if (digits === undefined) return Object.hasOwn(NAMED, name) ? NAMED[name] : undefined;
  const code = Number.parseInt(digits, hex === undefined ? 10 : 16);
  return isXmlCharacter(code) ? String.fromCodePoint(code) : undefined;
}

/** XML 1.0, production 2 (Char). */
function isXmlCharacter(code: number): boolean {
  if (code < 0x20) return code === 0x9 || code === 0xa || code === 0xd;
  return (
    code <= 0xd7ff || (code >= 0xe000 && code <= 0xfffd) || (code >= 0x10000 && code <= 0x10ffff)
  );
}

function malformed(why: string, cause?: unknown): OperatingError {
  return new OperatingError({ code: 'usage', op: 'parse XML', subject: 'document', why, cause });
}
