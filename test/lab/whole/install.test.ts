// The installation on a booted host: units, order, sockets, the hook; again and again; and away.

import assert from 'node:assert/strict';
import { watch } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { must, run, sh, until } from '../support/host.ts';
import { freshPool, importSource, rawFile, scratchFolder } from '../support/images.ts';
import { answering, siphon } from '../support/siphon.ts';

const HOOK = '/etc/libvirt/hooks/qemu.d/50-siphon';
const hookScript = (verb: string) => run('bash', ['/usr/lib/siphon/install-hook.sh', verb]);

before(() => answering());

test('the units are active, ordered before libvirtd, and verify clean', async () => {
  for (const unit of [
    'siphond.service',
    'siphond.socket',
    'siphon-hook.socket',
    'siphon-read.socket',
    'siphon-libvirt.socket',
    'var-lib-siphon-bases.mount',
    'siphon-evict.timer',
    'siphon-prune.timer',
    'siphon-scrub.timer',
  ]) {
    assert.equal((await run('systemctl', ['is-active', unit])).stdout.trim(), 'active', unit);
    assert.equal((await run('systemctl', ['is-enabled', unit])).stdout.trim(), 'enabled', unit);
  }
  const verify = await run('systemctl', ['is-enabled', 'siphon-verify.timer']);
  assert.equal(verify.stdout.trim(), 'disabled', 'it starts guests without being asked');
  assert.match(
    await must('systemctl', 'show', '-P', 'Before', 'siphond.service'),
    /libvirtd\.service/,
  );
  const analysed = await run('systemd-analyze', [
    'verify',
    ...(await sh('ls -d /usr/lib/systemd/system/sipho*')).split('\n'),
  ]);
  assert.equal(
    analysed.stderr
      .split('\n')
      .filter((line) => /siphon/.test(line))
      .join('\n'),
    '',
  );
});

test('the sockets are for root and its delegates, the bases are read-only for guests', async () => {
  assert.equal(await must('stat', '-c', '%a %U', '/run/siphon/hook.sock'), '600 root');
  assert.equal(await must('stat', '-c', '%a %U', '/run/siphon/siphon.sock'), '660 root');
  const denied = await run('runuser', ['-u', 'nobody', '--', 'siphon', 'status']);
  assert.equal(denied.code, 12, denied.stderr);
  assert.match(denied.stderr, /root/);
  assert.equal((await run('touch', ['/var/lib/siphon/bases/x'])).code, 1);
});

test('the timers do their work', async () => {
  for (const unit of ['siphon-evict.service', 'siphon-prune.service', 'siphon-scrub.service']) {
    await must('systemctl', 'start', unit);
    assert.equal(await must('systemctl', 'show', '-P', 'Result', unit), 'success', unit);
  }
});

/** Which bases there are; when they were used last may change by itself, as leases of former domains end. */
async function listed(): Promise<string[]> {
  const bases = JSON.parse((await siphon('list', '--json')).stdout) as Base[];
  return bases.map(({ id, state }) => `${id} ${state}`).toSorted();
}

test('installing again changes nothing and loses nothing', async (t) => {
  const project = process.cwd();
  const raw = await rawFile(`${await scratchFolder(t)}/raw`, 4, [1]);
  const source = await importSource(raw, `${await freshPool(t)}/kept`);
  await must('siphon', 'warm', source);
  const before = await listed();
  assert.ok(before.length > 0);
  await sh('echo "# mine" >>/etc/siphon/siphon.toml');
  const rules: string[] = [];
  const watcher = watch('/usr/share/polkit-1/rules.d', (type, name) =>
    rules.push(`${type} ${name}`),
  );
  await must('bash', `${project}/scripts/install.sh`);
  await answering();
  watcher.close();
  // polkitd reads it at once: what is written under its name may be read before it is whole, and never again.
  assert.ok(rules.includes('rename 50-siphon.rules'), rules.join());
  assert.ok(!rules.includes('change 50-siphon.rules'), rules.join());
  assert.match(await must('cat', '/etc/siphon/siphon.toml'), /# mine/);
  assert.deepEqual(await listed(), before);
  await must('siphon', 'evict', source);
  assert.equal((await run('bash', [`${project}/scripts/install.sh`, '--no-such'])).code, 2);
});

test('siphond does without the socket for reading; installed again, it has one, from systemd', async () => {
  await must('systemctl', 'stop', 'siphond.service', 'siphon-read.socket');
  await must('systemctl', 'disable', '--quiet', 'siphon-read.socket');
  await must('mv', '/usr/lib/systemd/system/siphon-read.socket', '/root/');
  await must('systemctl', 'daemon-reload');
  await must('systemctl', 'start', 'siphond.service');
  await answering();
  await must('bash', `${process.cwd()}/scripts/install.sh`);
  await answering();
  assert.equal(await must('systemctl', 'is-active', 'siphon-read.socket'), 'active');
  assert.equal(
    await must('stat', '-c', '%a %U:%G', '/run/siphon/read.sock'),
    '660 root:siphon-read',
  );
});

test('the hook: install twice, status, uninstall; other hooks stay, libvirtd is not restarted', async () => {
  const other = '/etc/libvirt/hooks/qemu.d/10-other';
  await sh(
    `mkdir -p $(dirname ${other}); printf '#!/bin/sh\\nexit 0\\n' >${other}; chmod 755 ${other}`,
  );
  await must('systemctl', 'start', 'libvirtd');
  const pid = await must('systemctl', 'show', '-P', 'MainPID', 'libvirtd');
  await hookScript('uninstall');
  assert.notEqual((await hookScript('status')).code, 0);
  for (let round = 0; round < 2; round += 1) {
    const installed = await hookScript('install');
    assert.equal(installed.code, 0, installed.stderr);
    assert.equal((await hookScript('status')).code, 0);
  }
  assert.equal(await must('stat', '-c', '%F %a %U', HOOK), 'regular file 755 root');
  assert.equal((await hookScript('uninstall')).code, 0);
  assert.equal((await run('test', ['-e', HOOK])).code, 1);
  await must('test', '-x', other);
  assert.equal(await must('systemctl', 'show', '-P', 'MainPID', 'libvirtd'), pid);
  assert.notEqual((await hookScript('no-such-verb')).code, 0);
  await must('rm', other);
});

test('a mistake in the config stops siphond with its line; the correction alone brings it back', async () => {
  const file = '/etc/siphon/siphon.toml';
  const good = await must('cat', file);
  await sh(`printf '[cache]\\nlimitt = 1\\n' >${file}`);
  const restarted = await run('systemctl', ['restart', 'siphond']);
  assert.notEqual(restarted.code, 0);
  try {
    await until(
      'the log names it',
      async () =>
        /siphon\.toml:2.*limitt/.test(await sh('journalctl -u siphond -o cat -n 30')) || undefined,
    );
    // As many failures as would make systemd give up by its defaults.
    await until(
      'it was tried again and again',
      async () =>
        Number(await must('systemctl', 'show', '-P', 'NRestarts', 'siphond')) > 5 || undefined,
    );
  } finally {
    await writeFile(file, `${good}\n`);
  }
  await answering();
});
