import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  attribute,
  child,
  parseXml,
  XML_BYTES_MAX,
  XML_DEPTH_MAX,
} from '../../../src/domain/xml.ts';

test('entities and character references are decoded, in attributes and in text', () => {
  const root = parseXml(
    `<a b="&lt;&amp;&quot;&apos;&gt;" c='&#xE9;&#233;&#x1F600;'>x&amp;lt; é</a>`,
  );
  assert.equal(attribute(root, 'b'), `<&"'>`);
  assert.equal(attribute(root, 'c'), 'éé😀');
  assert.equal(root.text, 'x&lt; é');
});

test('CDATA is text as it stands, comments and instructions are nothing', () => {
  const root = parseXml(
    '<?xml version="1.0"?><!-- <b/> --><a>1<![CDATA[<b>&amp;]]><!--2--><?p q?>3</a>\n',
  );
  assert.equal(root.text, '1<b>&amp;3');
  assert.deepEqual(root.children, []);
});

test('values are strings, white space included', () => {
  const root = parseXml(`<a b=' 007 ' c=''> true </a>`);
  assert.equal(attribute(root, 'b'), ' 007 ');
  assert.equal(attribute(root, 'c'), '');
  assert.equal(root.text, ' true ');
});

test('names that objects inherit are only names', () => {
  const root = parseXml(`<a toString='1'><valueOf/><child hasOwnProperty='2'/></a>`);
  assert.equal(attribute(root, 'toString'), '1');
  assert.equal(attribute(child(root, 'child'), 'hasOwnProperty'), '2');
  assert.equal(attribute(root, 'valueOf'), undefined);
});

const BOMB = `<!DOCTYPE a [<!ENTITY b "${'x'.repeat(90)}"><!ENTITY c "${'&b;'.repeat(90)}">]><a>&c;&c;</a>`;
const deep = (depth: number) => `${'<a>'.repeat(depth)}${'</a>'.repeat(depth)}`;

const MALFORMED: readonly { what: string; xml: string }[] = [
  { what: 'nothing', xml: '' },
  { what: 'no XML', xml: 'hello' },
  { what: 'cut short', xml: '<domain><name>x</name>' },
  { what: 'crossed elements', xml: '<a><b></a></b>' },
  { what: 'two roots', xml: '<a/><a/>' },
  { what: 'two roots with content', xml: '<a></a><b></b>' },
  { what: 'text after the root', xml: '<a></a>x' },
  { what: 'an attribute twice', xml: `<a b='1' b='2'/>` },
  { what: 'an attribute without quotes', xml: '<a b=1/>' },
  { what: 'an open quote', xml: `<a b='1/>` },
  { what: 'an unknown entity', xml: '<a>&nbsp;</a>' },
  { what: 'a bare ampersand in an attribute', xml: `<a b='x & y'/>` },
  { what: 'a reference to NUL', xml: '<a>&#0;</a>' },
  { what: 'a reference to a surrogate', xml: '<a>&#xD800;</a>' },
  { what: 'an inherited name as an entity', xml: '<a>&constructor;</a>' },
  { what: 'an entity bomb', xml: BOMB },
  {
    what: 'an outside entity',
    xml: '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
  },
  { what: 'nested too deep', xml: deep(XML_DEPTH_MAX + 2) },
  { what: 'too big', xml: `<a>${'é'.repeat(XML_BYTES_MAX / 2)}</a>` },
];

for (const { what, xml } of MALFORMED) {
  test(`malformed: ${what}`, () => {
    assert.throws(() => parseXml(xml), { name: 'OperatingError', code: 'usage', op: 'parse XML' });
  });
}

test('what is just within the bounds is read', () => {
  assert.equal(parseXml(deep(XML_DEPTH_MAX - 2)).name, 'a');
  assert.equal(parseXml(`<a>${'x'.repeat(XML_BYTES_MAX - 7)}</a>`).text.length, XML_BYTES_MAX - 7);
});
