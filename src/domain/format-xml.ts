// The small tree of elements back to text, as libvirt reads it. Comments are gone, and so is white space around elements.

import type { XmlElement } from './xml.ts';

/** One element and all below it, indented by two spaces. Text beside elements is libvirt's to ignore, and left out. */
export function formatXml(element: XmlElement, indent = ''): string {
  const { name, attributes, children, text } = element;
  const start = [name, ...[...attributes].map(([key, value]) => `${key}='${escape(value)}'`)];
  const open = `${indent}<${start.join(' ')}`;
  if (children.length > 0) {
    const inner = children.map((each) => formatXml(each, `${indent}  `)).join('');
    return `${open}>\n${inner}${indent}</${name}>\n`;
  }
  return text === '' ? `${open}/>\n` : `${open}>${escape(text)}</${name}>\n`;
}

/** Control characters, which a parser would turn into spaces, as references. */
function escape(text: string): string {
  return text.replace(/[&<>'"\t\n\r]/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** The same element with other children; the function gives what stands in the place of each: none, one or more. */
export function withChildren(
  element: XmlElement,
  change: (child: XmlElement) => XmlElement | readonly XmlElement[] | undefined,
): XmlElement {
  return { ...element, children: element.children.flatMap((each) => change(each) ?? []) };
}

/** The same element with these attributes set; undefined removes one. */
export function withAttributes(
  element: XmlElement,
  changes: Readonly<Record<string, string | undefined>>,
): XmlElement {
  const attributes = new Map(element.attributes);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) attributes.delete(key);
    else attributes.set(key, value);
  }
  return { ...element, attributes };
}

export function withText(element: XmlElement, text: string): XmlElement {
  return { ...element, text, children: [] };
}

export function elementOf(name: string, attributes: Readonly<Record<string, string>>): XmlElement {
  return { name, attributes: new Map(Object.entries(attributes)), children: [], text: '' };
}
