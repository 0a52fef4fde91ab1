// The Debian package on a host of its own: installed by apt, warm, upgraded in mid-fill, purged; and that it is made the same twice.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { must, type Ran, run, until } from '../lab/support/host.ts';

const project = path.join(import.meta.dirname, '../..');
const node = path.join(project, 'node_modules/.bin/node');
const dir = `/run/siphon-lab/package-${process.pid}`;
/** In the project, so that the host sees it. */
const out = path.join(project, `node_modules/.package-test-${process.pid}`);
const { version } = JSON.parse(readFileSync(path.join(project, 'package.json'), 'utf8')) as {
  version: string;
};
const deb = `${out}/siphon_${version}_amd64.deb`;
const newer = `${out}/siphon_${version}+1_amd64.deb`;

const labSh = (seconds: number, ...args: readonly string[]): Promise<Ran> =>
  run('bash', [`${project}/scripts/lab.sh`, ...args], { seconds });
const tryInHost = (script: string): Promise<Ran> =>
  labSh(60, 'exec', 'h1', '--dir', dir, '--', 'bash', '-euo', 'pipefail', '-c', script);

async function inHost(script: string): Promise<string> {
  const { code, stdout, stderr } = await tryInHost(script);
  assert.equal(code, 0, `${script}: ${code}\n${stderr}${stdout}`);
  return stdout.trim();
}

/** As apt does it for an operator who is not asked anything; what it depends on is there already. */
const apt = (verb: string, what: string): Promise<string> =>
  inHost(`DEBIAN_FRONTEND=noninteractive apt-get -q -y ${verb} ${what} </dev/null 2>&1`);

async function makePackage(folder: string): Promise<void> {
  const { code, stderr } = await run(node, [`${project}/scripts/package.ts`, '--out', folder], {
    seconds: 200,
    env: { PATH: `${path.dirname(node)}:${process.env['PATH']}` },
  });
  assert.equal(code, 0, stderr);
}

/** The same with a later version, packed without compression. */
async function makeNewer(): Promise<void> {
  await must('dpkg-deb', '-R', deb, `${out}/newer`);
  await must('sed', '-i', `s/^Version: .*/&+1/`, `${out}/newer/DEBIAN/control`);
  await must('dpkg-deb', '--root-owner-group', '-Znone', '-b', `${out}/newer`, newer);
  rmSync(`${out}/newer`, { recursive: true });
}

interface Listed {
  readonly path: string;
  readonly state: string;
  readonly name: { readonly image: string };
}
const basesOf = async (image: string): Promise<Listed[]> => {
  const { code, stdout } = await tryInHost('siphon list --json');
  return code === 0
    ? (JSON.parse(stdout) as Listed[]).filter((base) => base.name.image === image)
    : [];
};

const answering = () =>
  until('siphond answers', async () => (await tryInHost('siphon status')).code === 0);

let again: Promise<void> | undefined;

before(async () => {
  mkdirSync(out, { recursive: true });
  const up = labSh(120, 'up', '--dir', dir);
  await makePackage(out);
  const { code, stderr } = await up;
  assert.equal(code, 0, stderr);
  // While the host is at work; what came of it is the last test's.
  again = makePackage(`${out}/again`);
  again.catch(() => {});
});
after(async () => {
  await labSh(60, 'down', '--dir', dir);
  rmSync(out, { recursive: true, force: true });
});

test('apt installs it on a fresh host, and siphon runs', async () => {
  await inHost(`cp -a /etc/libvirt /root/libvirt-before
    key() { ceph auth get-or-create "client.siphon-$1" mon 'allow r' osd "$2" -o "/etc/ceph/ceph.client.siphon-$1.keyring"; }
    key fill 'profile rbd-read-only pool=images'
    key snapshot 'profile rbd pool=vms'
    key publish 'profile rbd pool=images'`);
  await apt('install', deb);
  await answering();
  assert.equal(await inHost('siphon --version'), version);
  assert.equal(await inHost('dpkg --verify siphon'), '');
  const units =
    'siphond.service siphond.socket siphon-hook.socket siphon-read.socket var-lib-siphon-bases.mount siphon-evict.timer';
  await inHost(`systemctl is-active ${units}; systemctl is-enabled ${units}`);
  assert.equal(await inHost('stat -c "%a %U:%G" /run/siphon/read.sock'), '660 root:siphon');
  assert.equal(await inHost('find /usr/lib/siphon /etc/siphon ! -user root'), '');
});

test('install.sh leaves what dpkg installed alone', async () => {
  const { code, stderr } = await tryInHost(`bash '${project}/scripts/install.sh'`);
  assert.equal(code, 1);
  assert.match(stderr, /Debian package/);
});

test('its documents: man pages, the completion, licences, the bill of materials', async () => {
  for (const page of ['man1/siphon.1', 'man5/siphon.toml.5', 'man8/siphond.8']) {
    assert.match(await inHost(`gzip -dc /usr/share/man/${page}.gz`), /^\.TH SIPHON/);
  }
  const commands = [...(await inHost('siphon --help')).matchAll(/^ {2}([a-z]+) /gm)].map(
    ([, name]) => name,
  );
  const offered = await inHost(`. /usr/share/bash-completion/completions/siphon
    COMP_WORDS=(siphon '') COMP_CWORD=1; _siphon; echo "\${COMPREPLY[@]}"
    COMP_WORDS=(siphon snapshot c) COMP_CWORD=2; _siphon; echo "\${COMPREPLY[@]}"`);
  const [first = '', second] = offered.split('\n');
  assert.deepEqual(
    first.split(' ').filter((word) => !word.startsWith('--')),
    commands.toSorted((a = '', b = '') => a.localeCompare(b)),
  );
  assert.equal(second, 'create');
  const sbom = JSON.parse(await inHost('cat /usr/share/doc/siphon/sbom.cdx.json')) as {
    components: { name: string; version: string }[];
  };
  const copyright = await inHost('cat /usr/share/doc/siphon/copyright');
  for (const name of ['better-sqlite3', 'fastify', 'koffi', 'node', 'zod']) {
    const part = sbom.components.find((one) => one.name === name);
    assert.ok(part, `${name} is not in the SBOM`);
    assert.ok(copyright.includes(`\n${name} ${part.version}: `), `${name} is not in copyright`);
  }
});

test('a warm works', async () => {
  await inHost(`rbd create --size 64M images/small
    rbd bench --io-type write --io-size 4M --io-total 32M images/small >/dev/null
    rbd snap create --no-progress images/small@snap
    siphon warm rbd:images/small@snap`);
  const sums =
    await inHost(`qemu-img convert -O raw "$(siphon path rbd:images/small@snap)" /root/small.raw
    sha256sum </root/small.raw; rbd export --no-progress images/small@snap - | sha256sum`);
  const [base, source] = sums.split('\n');
  assert.equal(base, source);
});

test('an upgrade in mid-fill keeps what is there, and the fill is done without being asked again', async () => {
  await makeNewer();
  await inHost(`echo '# mine' >>/etc/siphon/siphon.toml
    rbd create --size 512M images/large
    rbd bench --io-type write --io-size 4M --io-total 512M images/large >/dev/null
    rbd snap create --no-progress images/large@snap`);
  // Its worker is halted as soon as it is there, so that the fill is under way however fast this machine is.
  await inHost(`siphon warm rbd:images/large@snap >/dev/null 2>&1 & asked=$!
    for ((i = 0; i < 200; i++)); do
      if worker=$(pgrep -f '[w]orker.mjs fill'); then kill -STOP $worker; break; fi
      sleep 0.02
    done
    [ -n "$worker" ]; kill $asked`);
  assert.deepEqual(
    (await basesOf('large')).map((base) => base.state),
    ['filling'],
  );
  const pid = await inHost('systemctl show -P MainPID siphond');
  await apt('install', newer);
  assert.equal(await inHost("dpkg-query -W -f '${Version}' siphon"), `${version}+1`);
  await answering();
  assert.notEqual(await inHost('systemctl show -P MainPID siphond'), pid);
  const ready = async (image: string) =>
    (await basesOf(image)).find((base) => base.state === 'ready');
  const base = await until('the fill is done', () => ready('large'), 40);
  assert.ok(await ready('small'), 'the base from before is there');
  await inHost(`file='${base.path}' started=$(systemctl show -P ExecMainStartTimestamp --timestamp=unix siphond)
    [ "$(stat -c %Y "$file")" -ge "\${started#@}" ]
    [ "$(qemu-img convert -O raw "$file" /root/large.raw; sha256sum </root/large.raw)" = "$(rbd export --no-progress images/large@snap - | sha256sum)" ]
    grep -q '# mine' /etc/siphon/siphon.toml`);
});

test('a purge keeps the bases while domains may need them, and leaves /etc/libvirt as it was', async () => {
  await inHost(`/usr/lib/siphon/install-hook.sh install
    [ -x /etc/libvirt/hooks/qemu.d/50-siphon ]
    echo "<domain type='qemu'><name>d</name><memory>65536</memory><os><type>hvm</type></os></domain>" >/root/d.xml
    virsh -q define /root/d.xml
    touch /var/lib/siphon/bases-rw/not-siphons`);
  assert.match(await apt('purge', 'siphon'), /the bases stay in/);
  const bases = 'find /var/lib/siphon/bases-rw -type f -printf "%f\\n"';
  assert.equal((await inHost(bases)).split('\n').length, 3);
  assert.equal((await tryInHost('ls -d /usr/lib/siphon /etc/siphon /var/spool/siphon')).stdout, '');
  assert.equal(await inHost("systemctl list-units --all --plain --no-legend 'siphon*'"), '');
  await inHost('virsh -q undefine d');
  assert.equal(await inHost('diff -r /root/libvirt-before /etc/libvirt'), '');
  await inHost(`sh '${project}/debian/postrm' purge`);
  assert.equal(await inHost(bases), 'not-siphons');
});

test('the same sources make the same package', async () => {
  await again;
  await must('cmp', deb, `${out}/again/${path.basename(deb)}`);
});
