// What a libvirt of some version cannot do for siphon.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { libvirtAbilities } from '../../../src/sidecar/abilities.ts';

const lacking = (version: string) =>
  libvirtAbilities(version)
    .filter((each) => !each.isPresent)
    .map((each) => each.name);

test('abilities go by version, to the release that brought them', () => {
  const cases = {
    '9.0.0': ['release-reason', 'rbd-namespace'],
    '10.4.9': ['release-reason', 'rbd-namespace'],
    '10.5.0': ['rbd-namespace'],
    '11.3.0': ['rbd-namespace'],
    '11.6.0': [],
    '12.8.0': [],
  };
  for (const [version, names] of Object.entries(cases)) assert.deepEqual(lacking(version), names);
});
