// The Debian package. A host of each release is set up by the README's own commands; the one of the current release is then looked at,
// upgraded in mid-fill and purged; and the package is the same when it is made twice.

import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { guestXml } from '../lab/support/guest.ts';
import { must, type Ran, run, until } from '../lab/support/host.ts';
import { type LabHost, labHost, PROJECT } from './support/lab-host.ts';
import { readmeBlocks } from './support/readme.ts';

const node = path.join(PROJECT, 'node_modules/.bin/node');
/** In the project, so that the hosts see it. */
const out = path.join(PROJECT, `node_modules/.package-test-${process.pid}`);
const { version } = JSON.parse(readFileSync(path.join(PROJECT, 'package.json'), 'utf8')) as {
  version: string;
};
const deb = `${out}/siphon_${version}_amd64.deb`;
const newer = `${out}/siphon_${version}+1_amd64.deb`;
const [makeIt = '', ...setUp] = readmeBlocks('Five minutes with a real cluster');

const host = labHost('package-trixie', 'trixie');
const hosts: Readonly<Record<string, LabHost>> = {
  trixie: host,
  bookworm: labHost('package-bookworm', 'bookworm'),
  forky: labHost('package-forky', 'forky'),
};

/** As apt does it for an operator who is not asked anything; what it depends on is there already. */
const apt = (at: LabHost, verb: string, what: string): Promise<string> =>
  at.must(`DEBIAN_FRONTEND=noninteractive apt-get -q -y ${verb} ${what} </dev/null 2>&1`);

/** Where npm is: on this machine. */
async function makePackage(): Promise<void> {
  const { code, stdout, stderr } = await run('bash', ['-euc', `cd '${PROJECT}'\n${makeIt}`], {
    seconds: 300,
  });
  assert.equal(code, 0, stderr + stdout);
  cpSync(path.join(PROJECT, 'dist', path.basename(deb)), deb);
}

async function makeItAgain(): Promise<void> {
  const args = [`${PROJECT}/scripts/package.ts`, '--out', `${out}/again`];
  const PATH = `${path.dirname(node)}:${process.env['PATH']}`;
  const { code, stderr } = await run(node, args, { seconds: 300, env: { PATH } });
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
async function basesOf(at: LabHost, image: string): Promise<Listed[]> {
  const { code, stdout } = await at.try('siphon list --json');
  const all = code === 0 ? (JSON.parse(stdout) as Listed[]) : [];
  return all.filter((base) => base.name.image === image);
}
const readyBase = async (at: LabHost, image: string) =>
  (await basesOf(at, image)).find((base) => base.state === 'ready');

const answering = () =>
  until('siphond answers', async () => (await host.try('siphon status')).code === 0);

/** What is under way while the hosts are at work. */
let again: Promise<void> | undefined;
let linted: Promise<Ran> | undefined;

before(async () => {
  mkdirSync(out, { recursive: true });
  const ups = Object.values(hosts).map((each) => each.up());
  await Promise.all([makePackage(), ...ups]);
  linted = run('nice', ['lintian', '--fail-on', 'error,warning', deb], { seconds: 400 });
  again = makeItAgain();
  again.catch(() => {}); // its test tells it
});
after(async () => {
  await Promise.all(Object.values(hosts).map((each) => each.down()));
  rmSync(out, { recursive: true, force: true });
});

/** What a site has before it has siphon: an image as OpenStack makes it, another one, and a domain's disk. */
const SITE = `cp -a /etc/libvirt libvirt-before
  truncate -s 64M raw
  dd if=/dev/urandom of=raw bs=1M count=8 seek=5 conv=notrunc status=none
  qemu-img convert -O qcow2 raw qcow2
  rbd import --no-progress qcow2 images/debian-12 & rbd import --no-progress raw images/missed & rbd create --size 64M vms/vm1 & wait
  rbd snap create --no-progress images/debian-12@snap & rbd snap create --no-progress images/missed@snap & wait`;

/** Standing on one base that is here and on one that is not, and with a disk in Ceph. */
const vm1 = (missedBase: string): string =>
  guestXml({
    name: 'vm1',
    disks: [
      { kind: 'file', path: '/var/lib/libvirt/images/vm1.qcow2' },
      {
        kind: 'file',
        path: '/var/lib/libvirt/images/missed.qcow2',
        backing: [{ path: missedBase, format: 'qcow2' }],
      },
      { kind: 'rbd', image: 'vms/vm1' },
    ],
  });

for (const [release, at] of Object.entries(hosts)) {
  test(`${release}: a host is set up by the README alone, and then serves its domains`, async () => {
    await at.must(`${SITE}\ncp '${deb}' .`);
    for (const block of setUp) await at.must(block);
    // siphon's work, by tools that are not siphon's
    const base = await readyBase(at, 'debian-12');
    await at.must(`rbd export --no-progress images/debian-12@snap - | cmp - '${base?.path}'
      [ "$(qemu-img info --output json /var/lib/libvirt/images/vm1.qcow2 | jq -r '."full-backing-filename"')" = '${base?.path}' ]`);
    const missed = await at.must('siphon path rbd:images/missed@snap');
    assert.equal(await readyBase(at, 'missed'), undefined);
    await at.must(`qemu-img create -q -u -f qcow2 -F qcow2 -b '${missed}' /var/lib/libvirt/images/missed.qcow2 64M
      virsh -q define /dev/stdin <<'END'\n${vm1(missed)}\nEND`);
    await until('a stop leaves a snapshot', async () => {
      // Refused, maybe, until its base is filled.
      await at.try('virsh -q start vm1; virsh -q destroy vm1');
      return (await at.must('rbd snap ls vms/vm1')).includes(' siphon.');
    });
    await at.must(`sum() { sha256sum </dev/stdin; }
      [ "$(qemu-img convert -O raw '${missed}' missed.raw; sum <missed.raw)" = "$(sum <raw)" ]`);
    await at.must(`virsh -q undefine vm1; rm /var/lib/libvirt/images/{vm1,missed}.qcow2`);
  });
}

/** Nothing of siphon is left that a host without it would not have. */
async function mustBeAsBefore(at: LabHost): Promise<void> {
  assert.equal((await at.try('ls -d /usr/lib/siphon /etc/siphon /var/spool/siphon')).stdout, '');
  assert.equal(await at.must("systemctl list-units --all --plain --no-legend 'siphon*'"), '');
  assert.equal(await at.must('diff -r libvirt-before /etc/libvirt'), '');
}

for (const release of ['bookworm', 'forky'] as const) {
  test(`${release}: a purge leaves nothing behind`, async () => {
    const at = hosts[release];
    assert.ok(at);
    await apt(at, 'purge', 'siphon');
    await mustBeAsBefore(at);
    assert.equal((await at.try('ls -A /var/lib/siphon')).stdout, '');
  });
}

test('lintian finds nothing, but for what is explained', async () => {
  assert.ok(linted, 'no package was made');
  const { code, stdout, stderr } = await linted;
  assert.deepEqual([code, stdout], [0, ''], stderr);
});

test("what apt installed is whole, enabled and root's", async () => {
  assert.equal(await host.must('siphon --version'), version);
  assert.equal(await host.must('dpkg --verify siphon'), '');
  const units =
    'siphond.service siphond.socket siphon-hook.socket siphon-read.socket siphon-libvirt.socket var-lib-siphon-bases.mount siphon-evict.timer siphon-prune.timer siphon-scrub.timer';
  await host.must(`systemctl is-active ${units}; systemctl is-enabled ${units}`);
  assert.equal(await host.must('stat -c "%a %U:%G" /run/siphon/read.sock'), '660 root:siphon-read');
  assert.equal(await host.must('find /usr/lib/siphon /etc/siphon ! -user root'), '');
});

test('install.sh leaves what dpkg installed alone', async () => {
  const { code, stderr } = await host.try(`bash '${PROJECT}/scripts/install.sh'`);
  assert.equal(code, 1);
  assert.match(stderr, /Debian package/);
});

test('its documents: man pages, the completion, licences, the bill of materials', async () => {
  for (const page of ['man1/siphon.1', 'man5/siphon.toml.5', 'man8/siphond.8']) {
    assert.match(await host.must(`gzip -dc /usr/share/man/${page}.gz`), /^\.TH SIPHON/);
  }
  const commands = [...(await host.must('siphon --help')).matchAll(/^ {2}([a-z][a-z-]*) /gm)].map(
    ([, name]) => name,
  );
  const offered = await host.must(`. /usr/share/bash-completion/completions/siphon
    COMP_WORDS=(siphon '') COMP_CWORD=1; _siphon; echo "\${COMPREPLY[@]}"
    COMP_WORDS=(siphon snapshot c) COMP_CWORD=2; _siphon; echo "\${COMPREPLY[@]}"`);
  const [first = '', second] = offered.split('\n');
  assert.deepEqual(
    first.split(' ').filter((word) => !word.startsWith('--')),
    commands.toSorted((a = '', b = '') => a.localeCompare(b)),
  );
  assert.equal(second, 'create');
  const sbom = JSON.parse(await host.must('cat /usr/share/doc/siphon/sbom.cdx.json')) as {
    components: { name: string; version: string }[];
  };
  const copyright = await host.must('cat /usr/share/doc/siphon/copyright');
  for (const name of ['better-sqlite3', 'fastify', 'koffi', 'node', 'zod']) {
    const part = sbom.components.find((one) => one.name === name);
    assert.ok(part, `${name} is not in the SBOM`);
    assert.ok(copyright.includes(`\n${name} ${part.version}: `), `${name} is not in copyright`);
  }
});

test("its rule for guests under AppArmor is in AppArmor's language", async () => {
  const parse = (rules: string) =>
    host.try(`echo '${rules}' | apparmor_parser --skip-kernel-load --skip-cache`);
  const rule = 'include "/usr/share/siphon/apparmor/libvirt-qemu"';
  const { code, stderr } = await parse(`profile guest {\n${rule}\n}`);
  assert.equal(code, 0, stderr);
  assert.notEqual((await parse(`profile guest {\n${rule}\n/no/permissions\n}`)).code, 0);
});

test('an upgrade in mid-fill keeps what is there, and the fill is done without being asked again', async () => {
  await makeNewer();
  await host.must(`echo '# mine' >>/etc/siphon/siphon.toml
    head -c 256M /dev/urandom | rbd import --no-progress - images/large
    rbd snap create --no-progress images/large@snap`);
  // On a link so slow that the fill is under way however long the upgrade takes.
  await host.must(`tc qdisc add dev lo root tbf rate 16mbit burst 256k latency 400ms
    curl -sf --unix-socket /run/siphon/siphon.sock -H 'content-type: application/json' \
      -d '{"source":"rbd:images/large@snap","wait":false}' http://siphon/v1/warm`);
  const isFilling = async () => (await basesOf(host, 'large'))[0]?.state === 'filling';
  await until('the fill is under way', isFilling);
  const pid = await host.must('systemctl show -P MainPID siphond');
  await apt(host, 'install', newer);
  assert.equal(await host.must("dpkg-query -W -f '${Version}' siphon"), `${version}+1`);
  await answering();
  assert.notEqual(await host.must('systemctl show -P MainPID siphond'), pid);
  await until('it goes on', isFilling);
  await host.must('tc qdisc del dev lo root');
  const base = await until('the fill is done', () => readyBase(host, 'large'), 60);
  assert.ok(await readyBase(host, 'debian-12'), 'the base from before is there');
  await host.must(`file='${base.path}' started=$(systemctl show -P ExecMainStartTimestamp --timestamp=unix siphond)
    [ "$(stat -c %Y "$file")" -ge "\${started#@}" ]
    [ "$(qemu-img convert -O raw "$file" /root/large.raw; sha256sum </root/large.raw)" = "$(rbd export --no-progress images/large@snap - | sha256sum)" ]
    grep -q '# mine' /etc/siphon/siphon.toml`);
});

test('a purge keeps the bases while domains may need them, and leaves /etc/libvirt as it was', async () => {
  await host.must(`[ -x /etc/libvirt/hooks/qemu.d/50-siphon ]
    echo "<domain type='qemu'><name>d</name><memory>65536</memory><os><type>hvm</type></os></domain>" >d.xml
    virsh -q define d.xml
    touch /var/lib/siphon/bases-rw/not-siphons /var/lib/siphon/bases-rw/.quarantine/failed`);
  assert.match(await apt(host, 'purge', 'siphon'), /the bases stay in/);
  const bases = 'find /var/lib/siphon/bases-rw -type f -printf "%f\\n"';
  assert.equal((await host.must(bases)).split('\n').length, 4);
  await host.must('virsh -q undefine d');
  await mustBeAsBefore(host);
  await host.must(`sh '${PROJECT}/debian/postrm' purge`);
  assert.equal(await host.must(bases), 'not-siphons');
});

test('the same sources make the same package', async () => {
  await again;
  await must('cmp', deb, `${out}/again/${path.basename(deb)}`);
});
