// What `openstack image show -f json` prints, in the shapes of its versions.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProperties } from '../../../src/cli/properties-file.ts';

const SIGNED = { img_signature: 'c2ln', img_signature_hash_method: 'SHA-256' };

test('custom properties in an object, at the top, or as text', () => {
  const want = { disk_format: 'raw', ...SIGNED };
  const top = { disk_format: 'raw', size: 7, owner: null, ...SIGNED };
  const nested = { disk_format: 'raw', properties: { ...SIGNED, os_hidden: false } };
  const text = {
    disk_format: 'raw',
    properties: "img_signature='c2ln', img_signature_hash_method='SHA-256', os_hidden='False'",
  };
  for (const shape of [top, nested, text]) {
    assert.deepEqual(parseProperties(JSON.stringify(shape), 'f'), want);
  }
});

for (const [text, why] of [
  ['{', /not JSON/],
  ['[]', /not a JSON object/],
  ['{"name":"x"}', /has none of/],
  ['{"disk_format":7}', /disk_format is not text/],
] as const) {
  test(`refused: ${text}`, () => {
    assert.throws(() => parseProperties(text, 'f.json'), { code: 'usage', message: why });
  });
}
