// Which managers are asked for tasks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whyUnfit } from '../../../src/worker/roles/ceph/manager-fitness.ts';

const manager = (ceph: string, distro: string, version: string) => {
  return { name: 'x', ceph_version: `ceph version ${ceph} (1) r`, distro, distro_version: version };
};

test('one that would die of it is enough for none to be asked', () => {
  const fit = [
    manager('16.2.15', 'debian', '12'),
    manager('18.2.4', 'centos', '9'),
    manager('18.2.7', 'debian', '12'),
    manager('20.2.4', 'debian', '13'),
  ];
  assert.equal(whyUnfit(fit), undefined);
  assert.match(whyUnfit([...fit, manager('18.2.7', 'debian', '13')]) ?? '', /manager x .* dies/);
  assert.equal(whyUnfit([]), undefined);
});
