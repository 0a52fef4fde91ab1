// What the tests of this package share: domains of their own on the lab host's libvirtd, and waits that end.

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  type Connection,
  type Domain,
  defineDomain,
  isLibvirtError,
  VIR_ERR,
} from '../src/index.ts';

export const URI = 'qemu:///system';

export const run = promisify(execFile);

/** A domain without disks, by TCG: it runs and does nothing. Stopped and removed with the stack. */
export async function defineTestDomain(
  connection: Connection,
  stack: AsyncDisposableStack,
  name = `node-libvirt-${randomUUID()}`,
): Promise<Domain> {
  const domain = await defineDomain(connection, domainXml(name));
  stack.defer(async () => {
    await ignoring([VIR_ERR.OPERATION_INVALID, VIR_ERR.NO_DOMAIN], () => domain.destroy());
    await ignoring([VIR_ERR.NO_DOMAIN], () => domain.undefine());
    await domain[Symbol.asyncDispose]();
  });
  return domain;
}

function domainXml(name: string): string {
  const text = name.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<domain type='qemu'><name>${text}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
    <os><type arch='x86_64'>hvm</type></os>
    <devices><graphics type='vnc' port='-1' autoport='yes' passwd='s3cret'/></devices></domain>`;
}

async function ignoring(codes: readonly number[], call: () => Promise<void>): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (!codes.some((code) => isLibvirtError(error, code))) throw error;
  }
}

/** Waits until the condition holds. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
    await delay(20);
  }
}
