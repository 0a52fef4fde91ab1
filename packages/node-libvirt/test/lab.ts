// What the tests of this package share: domains of their own on the lab host's libvirtd, and waits that end.

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
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
  name = testName(),
  devices = '',
): Promise<Domain> {
  return removeLater(await defineDomain(connection, domainXml(name, devices)), stack);
}

/** Has a domain stopped, undefined and its handle disposed of, as far as it was not, when the stack is. */
export function removeLater(domain: Domain, stack: AsyncDisposableStack): Domain {
  stack.defer(async () => {
    await ignoring([VIR_ERR.OPERATION_INVALID, VIR_ERR.NO_DOMAIN], () => domain.destroy());
    await ignoring([VIR_ERR.NO_DOMAIN], () => domain.undefine());
    await domain[Symbol.asyncDispose]();
  });
  return domain;
}

export function testName(): string {
  return `node-libvirt-${randomUUID()}`;
}

/** Runs as soon as it is started, and does nothing. */
export function domainXml(name: string, devices = ''): string {
  const text = name.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<domain type='qemu'><name>${text}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
    <os><type arch='x86_64'>hvm</type></os>
    <devices><graphics type='vnc' port='-1' autoport='yes' passwd='s3cret'/>${devices}</devices></domain>`;
}

/** A folder that QEMU can read; removed with the stack. */
export async function makeFolder(stack: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp('/var/lib/libvirt/images/node-libvirt-');
  stack.defer(() => rm(folder, { recursive: true }));
  await run('chmod', ['755', folder]);
  return folder;
}

/** A qcow2 file, empty or on another. */
export async function makeQcow2(file: string, sizeMiB: number, backing?: string): Promise<string> {
  const below = backing === undefined ? [] : ['-b', backing, '-F', 'qcow2'];
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...below, file, `${sizeMiB}M`]);
  return file;
}

export function diskXml(file: string, target = 'vda'): string {
  return `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${file}'/>
    <target dev='${target}' bus='virtio'/></disk>`;
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
  seconds = 20,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await delay(20);
  }
}
