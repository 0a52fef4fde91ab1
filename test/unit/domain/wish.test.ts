import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseDomain } from '../../../src/domain/domain.ts';
import { type DomainWish, readWish } from '../../../src/domain/wish.ts';
import { domainXml, UUIDS } from '../hook/domains.ts';

/** As `virsh metadata --key siphon --set` leaves it. */
function wishOf(element: string): DomainWish {
  const named = element.replace('<domain', "<siphon:domain xmlns:siphon='urn:siphon:domain:1'");
  const metadata = `<metadata><other xmlns='urn:other'/>${named}</metadata><devices>`;
  return parseDomain(domainXml(UUIDS[0]).replace('<devices>', metadata)).wish;
}

test('what a domain may say of its sets', () => {
  assert.deepEqual(wishOf("<domain policy='off'/>"), { kind: 'off' });
  assert.deepEqual(wishOf('<domain/>'), { kind: 'stated', tags: [] });
  const all = `<domain policy='nightly' devices='vda  vdb' quiesce='require' instant='suspend' keep_last='14' keep_daily='30' keep_yearly='0' tags='backup tier=gold'/>`;
  assert.deepEqual(wishOf(all), {
    kind: 'stated',
    policy: 'nightly',
    devices: ['vda', 'vdb'],
    quiesce: 'require',
    instant: 'suspend',
    keepLast: 14,
    keepPeriods: { daily: 30, yearly: 0 },
    tags: ['backup', 'tier=gold'],
  });
  for (const devices of ['all', 'root'] as const)
    assert.deepEqual(wishOf(`<domain devices='${devices}'/>`), {
      kind: 'stated',
      devices,
      tags: [],
    });
  assert.deepEqual(parseDomain(domainXml(UUIDS[0])).wish, { kind: 'none' });
});

for (const [element, problem] of [
  ["<domain polcy='nightly'/>", /unknown attribute 'polcy'; allowed: policy, devices/],
  ["<domain policy='night ly'/>", /policy='night ly'; allowed: a policy's name, or off/],
  ["<domain policy=''/>", /policy=''; allowed/],
  ["<domain devices=''/>", /devices=''; allowed: all, root, or targets/],
  ["<domain quiesce='yes'/>", /allowed: none, try or require/],
  ["<domain instant='now'/>", /allowed: auto, suspend or none/],
  ["<domain keep_last='0'/>", /allowed: a whole number from 1 to 1000/],
  ["<domain keep_last='2.5'/>", /keep_last/],
  ["<domain keep_daily='-1'/>", /keep_daily='-1'; allowed: a whole number from 0 to 1000/],
  ["<domain keep_dayly='7'/>", /unknown attribute .* keep_last, keep_hourly, keep_daily, keep_w/],
  ["<domain policy='off' keep_last='x'/>", /keep_last/],
  ['<domain>nightly</domain>', /attributes alone/],
] as const) {
  test(`told as a mistake: ${element}`, () => {
    const closed = element.replace('</domain>', '</siphon:domain>');
    const wish = wishOf(closed);
    assert.equal(wish.kind, 'bad');
    assert.match(wish.kind === 'bad' ? wish.problem : '', problem);
  });
}

test('no attribute throws, and what is read is within its bounds', () => {
  const name = fc.constantFrom('policy', 'devices', 'quiesce', 'keep_last', 'tags', 'constructor');
  fc.assert(
    fc.property(fc.dictionary(name, fc.string({ unit: 'binary' })), (values) => {
      const attributes = new Map(Object.entries(values));
      const wish = readWish({ name: 'domain', attributes, children: [], text: '' });
      if (wish.kind !== 'stated') return;
      assert.ok(wish.keepLast === undefined || (wish.keepLast >= 1 && wish.keepLast <= 1000));
      assert.ok(wish.devices === undefined || wish.devices.length > 0);
    }),
  );
});
