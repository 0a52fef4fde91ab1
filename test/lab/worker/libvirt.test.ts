// The libvirt worker against a real libvirtd, compared with `virsh`.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { LibvirtEvent, LibvirtMethods } from '../../../src/wire/worker-protocol.ts';
import { startWorker } from '../../../src/worker/supervisor/index.ts';
import { must, run, until } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import { failing, log, PROGRAM, soon } from './ceph-worker.ts';

const cleanup = fileCleanup();
const NAME = `w${process.pid}`;

/** A domain without disk: it starts, and its firmware finds nothing. */
async function define(name: string): Promise<string> {
  const file = `/tmp/${name}.xml`;
  await writeFile(
    file,
    `<domain type='qemu'><name>${name}</name><memory unit='MiB'>64</memory>
       <os><type arch='x86_64'>hvm</type></os>
       <devices><graphics type='vnc' passwd='hidden'/></devices></domain>`,
  );
  await must('virsh', '-q', 'define', file);
  cleanup.after(() => run('virsh', ['-q', 'undefine', name]));
  cleanup.after(() => run('virsh', ['-q', 'destroy', name]));
  cleanup.after(() => run('rm', ['-f', file]));
  return await must('bash', '-c', `virsh domuuid ${name} | head -1`);
}

function start(uri = 'qemu:///system') {
  const events: LibvirtEvent[] = [];
  const worker = startWorker<LibvirtMethods, LibvirtEvent>({
    role: 'libvirt',
    settings: { uri },
    program: PROGRAM,
    log,
    onEvent: (event) => events.push(event),
  });
  const connected = (times: number) =>
    until(`connected ${times} times`, () => {
      return events.filter((each) => each.what === 'connected').length >= times;
    });
  const lifecycle = (uuid: string) =>
    events.flatMap((each) => (each.what === 'lifecycle' && each.uuid === uuid ? [each.event] : []));
  return { worker, events, connected, lifecycle };
}

test('domains, their XML, starts and events are what virsh says', async () => {
  const { worker, connected, lifecycle } = start();
  await using _ = worker;
  await connected(1);
  const uuid = await define(NAME);
  const domain = { uuid, name: NAME, isActive: false, isPersistent: true, hasManagedSave: false };
  for (const by of [NAME, uuid]) {
    assert.deepEqual(await worker.call('lookUp', { domain: by }, soon), domain);
  }
  const found = (await worker.call('listDomains', {}, soon)).find((each) => each.uuid === uuid);
  assert.deepEqual(found, domain);
  assert.equal(await worker.call('start', { domain: NAME }, soon), null);
  assert.equal(await must('bash', '-c', `virsh domstate ${NAME} | head -1`), 'running');
  const listed = await worker.call('listDomains', {}, soon);
  assert.equal(listed.find((each) => each.uuid === uuid)?.isActive, true);
  const xml = (inactive: boolean) => worker.call('domainXml', { domain: uuid, inactive }, soon);
  assert.equal(await xml(false), await must('virsh', 'dumpxml', NAME));
  assert.equal(await xml(true), await must('virsh', 'dumpxml', '--inactive', NAME));
  assert.doesNotMatch(await xml(true), /hidden/);
  await failing(worker.call('start', { domain: uuid }, soon), 'refused', /already running/);
  await must('virsh', '-q', 'destroy', NAME);
  await until('all events came', () => lifecycle(uuid).includes('stopped'));
  assert.deepEqual(
    lifecycle(uuid).filter((each) => !['resumed', 'shutdown'].includes(each)), // libvirt tells these or not, by timing
    ['defined', 'started', 'stopped'],
  );
});

test('a domain that is not there is proved not to be', async () => {
  const { worker, connected } = start();
  await using _ = worker;
  await connected(1);
  for (const domain of ['nobody', '00000000-0000-4000-8000-000000000000', 'a\'b"<c>']) {
    await failing(
      worker.call('lookUp', { domain }, soon),
      'not-found',
      /no such domain/,
      /virsh list/,
    );
  }
});

test('without libvirtd, calls are unavailable and name why; the worker goes on trying', async () => {
  const { worker, events } = start('qemu+unix:///system?socket=/run/no-such-socket');
  await using _ = worker;
  await until('it said why', () => events.some((each) => each.what === 'closed'));
  await failing(worker.call('listDomains', {}, soon), 'unavailable', /no-such-socket/, /libvirtd/);
  assert.equal(worker.stats.starts, 1);
});

test('a connection that libvirtd drops is made again, and told', async () => {
  // virt-admin drops this client alone: a restart of libvirtd would disturb whoever else uses it.
  const { worker, events, connected } = start();
  await using _ = worker;
  await connected(1);
  const uuid = await define(`${NAME}-again`);
  const listing = [
    'bash',
    '-c',
    "virt-admin client-list libvirtd | awk 'NR > 2 && NF {print $1}'",
  ] as const;
  const pidOf = async (id: string) =>
    (await must('virt-admin', 'client-info', 'libvirtd', id)).match(
      /unix_process_id:\s*(\d+)/,
    )?.[1];
  for (const id of (await must(...listing)).split('\n').filter(Boolean)) {
    if (Number(await pidOf(id)) !== worker.stats.pid) continue;
    await must('virt-admin', 'client-disconnect', 'libvirtd', id);
  }
  await connected(2);
  assert.deepEqual(
    events.flatMap((each) => (each.what === 'lifecycle' ? [] : [each.what])),
    ['connected', 'closed', 'connected'],
  );
  assert.equal((await worker.call('lookUp', { domain: uuid }, soon)).uuid, uuid);
});
