// The inventory corrects leases by what libvirt says, and never against what the hook said since.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openCatalogue } from '../../../src/cache/catalogue/open.ts';
import type { DiskChain } from '../../../src/cache/chain.ts';
import { createLeases } from '../../../src/cache/leases.ts';
import { createInventory } from '../../../src/sidecar/domains.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { LibvirtPort } from '../../../src/wire/ports.ts';
import type { DomainSummary } from '../../../src/wire/worker-protocol.ts';
import { keptLog, temporaryFolder } from './support/quiet.ts';

const [A, B] = [
  'aaaaaaaa-0000-4000-8000-000000000001',
  'bbbbbbbb-0000-4000-8000-000000000002',
] as const;
const never = new AbortController().signal;

const known = (image: string): DiskChain => {
  const ids = { fsid: A, poolId: 1, namespace: '', imageId: image, snapId: 1 };
  return { kind: 'known', target: 'vda', bases: [{ ids, format: 'qcow2' }] };
};
const summary = (uuid: string, change: Partial<DomainSummary> = {}): DomainSummary => {
  return {
    uuid,
    name: uuid.slice(0, 1),
    isActive: false,
    isPersistent: true,
    hasManagedSave: false,
    ...change,
  };
};

interface Host {
  domains: DomainSummary[];
  /** By `UUID live` and `UUID inactive`. */
  chains: Record<string, DiskChain[]>;
  onList?: () => void;
}

async function inventoryOf(host: Host) {
  const folder = await temporaryFolder();
  const catalogue = openCatalogue(join(folder.path, 'siphon.db'));
  const leases = createLeases({ catalogue, now: () => 1 });
  const libvirt = {
    async call(method: string, params: { domain?: string; inactive?: boolean }) {
      if (method === 'listDomains') {
        const listed = host.domains;
        host.onList?.();
        return listed;
      }
      const key = `${params.domain} ${params.inactive === true ? 'inactive' : 'live'}`;
      if (host.chains[key] === undefined)
        throw new OperatingError({ code: 'unavailable', op: 'read', subject: key });
      return `<domain><name>${key}</name><uuid>${params.domain}</uuid></domain>`;
    },
  } as unknown as LibvirtPort;
  const inventory = createInventory({
    libvirt,
    basesOf: async ({ name }) => host.chains[name] ?? [],
    leases,
    running: () =>
      catalogue.leases
        .all()
        .flatMap((lease) => (lease.kind === 'running' ? [lease.domainUuid] : [])),
    log: keptLog().log,
  });
  return {
    inventory,
    leases,
    held: () =>
      catalogue.leases
        .all()
        .map((each) => `${each.domainName} ${each.kind} ${each.base.ids.imageId}`)
        .toSorted(),
    async [Symbol.asyncDispose]() {
      catalogue[Symbol.dispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe('the inventory', () => {
  it('leases what is defined and what runs', async () => {
    const chains = {
      [`${A} inactive`]: [known('1')],
      [`${B} inactive`]: [known('2')],
      [`${B} live`]: [known('3')],
    };
    await using at = await inventoryOf({
      domains: [summary(A), summary(B, { isActive: true })],
      chains,
    });
    await at.inventory.look(never);
    assert.deepEqual(at.held(), ['a defined 1', 'b defined 2', 'b defined 3', 'b running 3']);
  });

  it('ends the leases of what went without a word', async () => {
    const host: Host = {
      domains: [summary(A, { isActive: true })],
      chains: { [`${A} inactive`]: [known('1')], [`${A} live`]: [known('1')] },
    };
    await using at = await inventoryOf(host);
    await at.inventory.look(never);
    host.domains = [summary(A)];
    await at.inventory.look(never);
    assert.deepEqual(at.held(), ['a defined 1']);
    host.domains = [];
    await at.inventory.look(never);
    assert.deepEqual(at.held(), []);
  });

  it('leaves alone what the hook said of while it looked', async () => {
    const host: Host = { domains: [summary(A)], chains: { [`${A} inactive`]: [known('1')] } };
    await using at = await inventoryOf(host);
    host.onList = () => {
      // libvirt's list was made; then the domain starts.
      at.leases.running({ uuid: A, name: 'a' }, [known('9')]);
      at.inventory.noteHook(A);
    };
    await at.inventory.look(never);
    assert.ok(at.held().includes('a running 9'));
    delete host.onList;
    await at.inventory.look(never);
    assert.deepEqual(at.held(), ['a defined 1']);
  });

  it('keeps what a domain leased where its XML or its chains cannot be read', async () => {
    const host: Host = { domains: [summary(A)], chains: { [`${A} inactive`]: [known('1')] } };
    await using at = await inventoryOf(host);
    await at.inventory.look(never);
    host.chains = {};
    await at.inventory.look(never);
    assert.deepEqual(at.held(), ['a defined 1']);
    host.chains = {
      [`${A} inactive`]: [{ kind: 'unknown', target: 'vda', bases: [], reason: 'x' }],
    };
    await at.inventory.look(never);
    assert.deepEqual(at.held(), ['a defined 1']);
  });

  it('keeps what a domain with a managed save ran on', async () => {
    const host: Host = {
      domains: [summary(A, { isActive: true })],
      chains: { [`${A} inactive`]: [known('1')], [`${A} live`]: [known('2')] },
    };
    await using at = await inventoryOf(host);
    await at.inventory.look(never);
    host.domains = [summary(A, { hasManagedSave: true })];
    await at.inventory.look(never);
    assert.deepEqual(at.held(), ['a defined 1', 'a defined 2']);
    host.domains = [summary(A)];
    await at.inventory.look(never);
    assert.deepEqual(at.held(), ['a defined 1']);
  });
});
