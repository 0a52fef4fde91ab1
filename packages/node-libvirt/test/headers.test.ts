// The declarations here and those of the installed headers (libvirt-dev) are the same.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parsePrototype } from '../src/call.ts';
import { VIR_ERR, VIR_ERROR_BYTES } from '../src/errors.ts';
import { CLOSE_REASONS, DOMAIN_STATES, LIFECYCLE_EVENTS, STOPPED_DETAILS } from '../src/index.ts';
import { symbol } from '../src/library.ts';

const HEADERS = '/usr/include/libvirt';
const header = readdirSync(HEADERS)
  .filter((name) => name.endsWith('.h'))
  .map((name) => readFileSync(`${HEADERS}/${name}`, 'utf8'))
  .join('\n')
  .replace(/\/\*.*?\*\//gs, ' ')
  .replace(/^\s*#.*$/gm, '');

const SOURCE = new URL('../src/', import.meta.url);
const sources = readdirSync(SOURCE).map((name) => ({
  name,
  text: readFileSync(new URL(name, SOURCE), 'utf8'),
}));
const bound = sources.flatMap(({ text }) =>
  [...text.matchAll(/bind\(\s*(['`])(.*?)\1/gs)].map((match) => match[2] ?? ''),
);

/** White space that C does not see. */
function normal(prototype: string): string {
  return prototype
    .replace(/\s+/g, ' ')
    .replace(/\s*([*(),])\s*/g, '$1')
    .trim();
}

test('there are bindings to compare', () => assert(bound.length > 25, `${bound.length}`));

for (const prototype of bound) {
  const { name } = parsePrototype(prototype);
  test(`${name} is declared as the header has it, and is there`, () => {
    const declared = new RegExp(`([\\w][\\w\\s*]*?[\\s*]${name}\\s*\\([^;]*?\\))\\s*;`).exec(
      header,
    )?.[1];
    assert(declared !== undefined, `no ${name} in ${HEADERS}`);
    assert.equal(normal(prototype), normal(declared));
    assert.notEqual(symbol(name), null);
  });
}

test('every `Implements:` names a binding', () => {
  const names = new Set(bound.map((each) => parsePrototype(each).name));
  const claimed = sources.flatMap(({ text }) =>
    [...text.matchAll(/Implements: ([\w, \n*]+)\./g)].flatMap(
      (match) => match[1]?.match(/vir\w+/g) ?? [],
    ),
  );
  assert(claimed.length > 20);
  for (const name of claimed) assert(names.has(name), name);
});

/** The members of a C enum, in order, with their values. */
function enumeration(type: string): Map<string, number> {
  const body = new RegExp(`typedef enum \\{([^}]*)\\} ${type};`).exec(header)?.[1] ?? '';
  const members = new Map<string, number>();
  let next = 0;
  for (const [, name = '', value] of body.matchAll(/(VIR_\w+)(?:\s*=\s*([^,\n]+))?/g)) {
    if (name.endsWith('_LAST')) continue;
    next = value === undefined ? next : valueOf(value);
    members.set(name, next++);
  }
  return members;
}

function valueOf(text: string): number {
  const [, one = '', shift = '0'] = /^\(?(\d+)(?:\s*<<\s*(\d+))?\)?$/.exec(text.trim()) ?? [];
  return Number(one) << Number(shift);
}

test('error codes are the header’s', () => {
  const members = enumeration('virErrorNumber');
  for (const [name, code] of Object.entries(VIR_ERR))
    assert.equal(members.get(`VIR_ERR_${name}`), code, name);
});

for (const { type, prefix, ours } of [
  { type: 'virDomainState', prefix: 'VIR_DOMAIN_', ours: DOMAIN_STATES },
  { type: 'virDomainEventType', prefix: 'VIR_DOMAIN_EVENT_', ours: LIFECYCLE_EVENTS },
  {
    type: 'virDomainEventStoppedDetailType',
    prefix: 'VIR_DOMAIN_EVENT_STOPPED_',
    ours: STOPPED_DETAILS,
  },
  { type: 'virConnectCloseReason', prefix: 'VIR_CONNECT_CLOSE_REASON_', ours: CLOSE_REASONS },
]) {
  test(`${type} has our members in our order`, () => {
    const theirs = [...enumeration(type).keys()].map((name) =>
      name.slice(prefix.length).toLowerCase(),
    );
    const alias: Record<string, string> = {
      nostate: 'none',
      eof: 'end of file',
      from_snapshot: 'from snapshot',
    };
    assert.deepEqual(
      theirs.map((name) => alias[name] ?? name),
      [...ours],
    );
  });
}

test('flags are the header’s', () => {
  const list = enumeration('virConnectListAllDomainsFlags');
  const want = {
    ACTIVE: 1,
    INACTIVE: 2,
    PERSISTENT: 4,
    TRANSIENT: 8,
    MANAGEDSAVE: 256,
    NO_MANAGEDSAVE: 512,
    AUTOSTART: 1024,
  };
  for (const [name, value] of Object.entries(want))
    assert.equal(list.get(`VIR_CONNECT_LIST_DOMAINS_${name}`), value, name);
  assert.equal(enumeration('virDomainXMLFlags').get('VIR_DOMAIN_XML_SECURE'), 1);
  assert.equal(enumeration('virDomainXMLFlags').get('VIR_DOMAIN_XML_INACTIVE'), 2);
  assert.equal(enumeration('virDomainMetadataType').get('VIR_DOMAIN_METADATA_ELEMENT'), 2);
  assert.equal(enumeration('virDomainEventID').get('VIR_DOMAIN_EVENT_ID_LIFECYCLE'), 0);
});

test('virError begins as it is read here, and is as long', () => {
  const body = /struct _virError \{([^}]*)\}/.exec(header)?.[1] ?? '';
  const fields = [...body.matchAll(/(\w+\s*\*?)\s*(\w+);/g)].map((field) => field[2]);
  assert.deepEqual(fields.slice(0, 3), ['code', 'domain', 'message']);
  assert.equal(fields.length, 12);
  assert.equal(VIR_ERROR_BYTES, 80);
});
