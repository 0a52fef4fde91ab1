// The demo's steps, inside the lab host. Each is checked by tools that are not siphon's.

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { SnapshotSet } from '../../src/wire/vocabulary.ts';
import { overlayOn } from '../../test/lab/support/domains.ts';
import { guestXml } from '../../test/lab/support/guest.ts';
import { must, run, sh, until } from '../../test/lab/support/host.ts';
import {
  allowRestores,
  importImage,
  installSiphon,
  makeDisk,
  sha256Of,
  sign,
  WORK,
} from './parts.ts';
import { check, show, step } from './say.ts';

const PROJECT = path.join(import.meta.dirname, '../..');
const MARK = `written by the guest at ${new Date().toISOString()}`.replaceAll(' ', '_');
const siphon = (...args: string[]) => must('siphon', ...args);

/** `siphon warm` on a terminal of its own, so that its progress bar shows wherever the demo runs. */
async function warmVisibly(...args: string[]): Promise<void> {
  const text = await sh(`script -qec 'siphon warm ${args.join(' ')}' /dev/null </dev/null`);
  // What stands between two of the terminal's own sequences is one drawing.
  const lines = text
    .replaceAll('\u001b[', '\n')
    .split(/[\r\n]/)
    .map((part) => part.replace(/^[0-9;?]*[A-Za-z]/, '').trimEnd())
    .filter(Boolean);
  const bars = lines.filter((line) => line.includes('%'));
  const picked = [bars[0], bars[Math.floor(bars.length / 2)], bars.at(-1)];
  for (const line of new Set(picked)) if (line !== undefined) show(line);
  check('script', 'a progress bar was drawn', bars.length > 0);
}

/** The hook waits five seconds for the base; on a busy machine it then refuses, says how far it is, and a second start finds it. */
async function startWithFill(): Promise<void> {
  const { code, stderr } = await run('virsh', ['-q', 'start', DOMAIN]);
  if (code === 0) return;
  show(stderr.trim());
  check('virsh', 'refused for now, with the progress', /try again in about/.test(stderr));
  await siphon('start', DOMAIN);
}

await mkdir(WORK, { recursive: true });

await step('siphon is installed and runs as a unit, with the least cephx caps', async () => {
  await installSiphon(PROJECT);
  check(
    'systemctl',
    'siphond.service is active',
    (await must('systemctl', 'is-active', 'siphond')) === 'active',
  );
  check(
    'findmnt',
    'guests see the bases read-only',
    (await must('findmnt', '-no', 'OPTIONS', '/var/lib/siphon/bases')).startsWith('ro'),
  );
});

let raw = '';
let qcow2 = '';
let properties = '';
await step('A signed raw disk and a qcow2 are imported into RBD', async () => {
  await makeDisk(`${WORK}/disk.raw`, 400);
  properties = await sign(`${WORK}/disk.raw`);
  await must('qemu-img', 'convert', '-O', 'qcow2', `${WORK}/disk.raw`, `${WORK}/disk.qcow2`);
  raw = await importImage(`${WORK}/disk.raw`, 'images/debian-raw');
  qcow2 = await importImage(`${WORK}/disk.qcow2`, 'images/debian-qcow2');
  show(await must('rbd', 'ls', '-l', 'images'));
});

await step(
  'The cache is warmed: signature and digests are checked while the bytes stream',
  async () => {
    await warmVisibly('--properties', properties, raw);
    await warmVisibly(qcow2);
    const [rawBase, qcow2Base] = [await siphon('path', raw), await siphon('path', qcow2)];
    await must('qemu-img', 'check', '-q', '-f', 'qcow2', rawBase);
    check('qemu-img check', 'the base of the raw disk is a clean qcow2', true);
    const same = await run('qemu-img', [
      'compare',
      '-f',
      'raw',
      '-F',
      'qcow2',
      `${WORK}/disk.raw`,
      rawBase,
    ]);
    check('qemu-img compare', 'its content is the source', same.stdout.includes('identical'));
    const [want, have] = [
      await sha256Of('rbd export --no-progress images/debian-qcow2@snap -'),
      await sha256Of(`cat ${qcow2Base}`),
    ];
    check('openssl dgst', 'the base of the qcow2 is the source, byte by byte', want === have);
  },
);

await step('A copy with one flipped bit is refused, and nothing of it is visible', async () => {
  await sh(`cd ${WORK}; cp --sparse=always disk.raw bad.raw; at=$((300 * 1024 * 1024))
    byte=$(od -An -tu1 -j $at -N1 bad.raw)
    printf "\\\\x$(printf %02x $((byte ^ 1)))" | dd of=bad.raw bs=1 seek=$at conv=notrunc status=none`);
  const differing = await run('cmp', ['-l', `${WORK}/disk.raw`, `${WORK}/bad.raw`]);
  check('cmp', 'one byte differs', differing.stdout.trim().split('\n').length === 1);
  const bad = await importImage(`${WORK}/bad.raw`, 'images/flipped');
  const warm = await run('siphon', ['warm', '--properties', properties, bad]);
  show(warm.stderr.trim());
  check('siphon', 'exit code 9: bytes are not what they must be', warm.code === 9);
  const isThere = await run('ls', [await siphon('path', bad)]);
  check('ls', 'no file under its path', isThere.code !== 0);
  show(await siphon('list'));
});

const DOMAIN = 'demo';
const DISKS = ['vms/demo-data', 'vms/demo-log'];
await step(
  'A domain starts on an overlay whose base is NOT here yet: the hook fills it',
  async () => {
    await sh('bash /usr/lib/siphon/install-hook.sh install');
    await writeFile(
      '/etc/siphon/policies.d/demo.toml',
      '[[policy]]\nname = "demo"\ndomains = ["demo*"]\non = ["shutdown"]\nkeep_last = 3\n',
    );
    await sh(`truncate -s 300M ${WORK}/root.raw; mkfs.ext4 -q -F ${WORK}/root.raw`);
    const root = await importImage(`${WORK}/root.raw`, 'images/guest-root');
    const base = await siphon('path', root);
    check('ls', 'the base is not there', (await run('ls', [base])).code !== 0);
    const overlay = '/var/lib/libvirt/images/demo.qcow2';
    await overlayOn(root, overlay, '300M');
    for (const image of DISKS) await must('rbd', 'create', '--size', '64M', image);
    await writeFile(
      `${WORK}/demo.xml`,
      guestXml({
        name: DOMAIN,
        cmdline: `tiny.mkfs=1 tiny.mark=${MARK}`,
        disks: [
          { kind: 'file', path: overlay },
          ...DISKS.map((image) => ({ kind: 'rbd' as const, image })),
        ],
      }),
    );
    await must('virsh', '-q', 'define', `${WORK}/demo.xml`);
    await startWithFill();
    check(
      'virsh',
      'the domain runs',
      (await must('virsh', 'domstate', DOMAIN)).trim() === 'running',
    );
    const compared = ['compare', '-U', '-f', 'raw', '-F', 'qcow2', `${WORK}/root.raw`, base];
    const same = (await run('qemu-img', compared)).code === 0;
    check('qemu-img compare', 'its base is there now, and its content is the source', same);
  },
);

let taken = '';
await step(
  'A set of the running guest: both RBD disks at one instant, its filesystems frozen',
  async () => {
    const ping = ['qemu-agent-command', DOMAIN, '{"execute":"guest-ping"}', '--timeout', '2'];
    await until('the guest answers', async () => (await run('virsh', ping)).code === 0, 60);
    const [set] = JSON.parse(await siphon('snapshot', 'create', DOMAIN, '--json')) as SnapshotSet[];
    taken = set?.id ?? '';
    show(await siphon('snapshot', 'list', DOMAIN));
    const held = `${Math.round(set?.holdMs ?? 0)} ms`;
    show(`quiesced: ${set?.quiesced}, instant: ${set?.instant}, the guest was held for ${held}`);
    const isBoth = set?.quiesced === 'filesystem' && set.instant === 'barrier';
    check('siphon', 'it says what was got: quiesced, behind a barrier', isBoth);
    for (const image of DISKS) {
      const names = await sh(`rbd snap ls ${image} --format json | jq -r '.[].name'`);
      check('rbd snap ls', `${image}@siphon.${set?.id}`, names.includes(`siphon.${set?.id}`));
      const state = await sh(`f=$(mktemp); rbd export --no-progress ${image}@siphon.${set?.id} - >$f
      dumpe2fs -h $f 2>/dev/null | grep -i '^Filesystem features'; rm $f`);
      check('dumpe2fs', 'its filesystem needs no recovery', !state.includes('needs_recovery'));
    }
    check(
      'virsh',
      'the guest runs',
      (await must('virsh', 'domstate', DOMAIN)).trim() === 'running',
    );
  },
);

await step('Its disks become images of a pool, inside Ceph, while it runs', async () => {
  await siphon('publish', taken, '--to', 'images', '--name', 'golden', '--wait');
  show(await must('rbd', 'ls', '-l', 'images'));
  for (const [image, target] of [
    [DISKS[0], 'vdb'],
    [DISKS[1], 'vdc'],
  ]) {
    const published = `images/golden-${target}`;
    const digest = (at: string) => sha256Of(`rbd export --no-progress ${at} -`);
    const isSame =
      (await digest(`${published}@snap`)) === (await digest(`${image}@siphon.${taken}`));
    check('openssl dgst', `${published} is the disk at the set's instant`, isSame);
    const { parent } = JSON.parse(await must('rbd', 'info', published, '--format', 'json')) as {
      parent?: object;
    };
    check('rbd info', 'it needs the set no longer', parent === undefined);
  }
});

await step('The guest shuts down', async () => {
  await must('virsh', '-q', 'shutdown', DOMAIN);
  await until(
    'it is off',
    async () => (await must('virsh', 'domstate', DOMAIN)).trim() === 'shut off',
    60,
  );
  check('virsh', 'the domain is shut off', true);
});

await step('The stop left a native snapshot; it holds what the guest wrote', async () => {
  await until(
    'the set is complete',
    async () => (await siphon('snapshot', 'list', DOMAIN)).includes('release shutdown'),
    30,
  );
  show(await siphon('snapshot', 'list', DOMAIN));
  const snap = await sh("rbd snap ls vms/demo-data --format json | jq -r '.[-1].name'");
  check('rbd snap ls', `vms/demo-data@${snap}`, /^siphon\.\S+$/.test(snap));
  const written = await sh(
    `rbd export --no-progress vms/demo-data@${snap} ${WORK}/data.raw; debugfs -R 'cat /mark' ${WORK}/data.raw 2>/dev/null`,
  );
  check('debugfs', `its file says ${JSON.stringify(written.trim())}`, written.trim() === MARK);
});

await step(
  'The set is a second domain, which boots; then the first one’s disks are put back',
  async () => {
    await allowRestores();
    show(await siphon('restore', taken, '--as', 'demo-2'));
    await must('virsh', '-q', 'start', 'demo-2');
    const ping = ['qemu-agent-command', 'demo-2', '{"execute":"guest-ping"}', '--timeout', '2'];
    await until('the guest answers', async () => (await run('virsh', ping)).code === 0, 60);
    check('virsh', 'demo-2 runs, and its agent answers', true);
    await must('virsh', '-q', 'destroy', 'demo-2');
    const idOf = (image: string) => sh(`rbd info ${image} --format json | jq -r .id`);
    const data = 'vms/demo-data';
    const before = await idOf(data);
    const want = await sha256Of(`rbd export --no-progress ${data}@siphon.${taken} -`);
    show(await siphon('restore', taken));
    const trash = await must('rbd', 'trash', 'ls', 'vms');
    check('rbd trash ls', 'the disk that was there waits in the trash', trash.includes(before));
    const is = await sha256Of(`rbd export --no-progress ${data} -`);
    check('openssl dgst', `${data} is as the set has it`, is === want);
    await siphon('restore', '--undo', taken);
    check('rbd info', 'undone: the disk is the one that it was', (await idOf(data)) === before);
  },
);

await step('The set is proven to be restorable: booted alone, looked at, removed', async () => {
  show(await siphon('verify-restore', taken));
  const told = await siphon('snapshot', 'get', taken);
  check('siphon', 'the set says: restorable, proven', /restorable +proven at /.test(told));
  const left = await sh(
    'rbd ls vms | grep ^siphon || :; virsh list --all --name | grep ^siphon || :',
  );
  check('rbd ls, virsh list', 'nothing of it is left', left === '');
});

await step('Evict: what a domain needs stays, the rest may go', async () => {
  const before = await siphon('evict', '--dry-run', raw, qcow2, 'rbd:images/guest-root@snap');
  show(before);
  await siphon('evict', raw, qcow2);
  const left = await sh('find /var/lib/siphon/bases/ -name "*.qcow2" | wc -l');
  check('find', 'one base is left, the one that the domain needs', left === '1');
  const refused = await run('siphon', ['evict', 'rbd:images/guest-root@snap']);
  show((refused.stdout + refused.stderr).trim());
  await must('ls', await siphon('path', 'rbd:images/guest-root@snap'));
  check('ls', 'it is still there', true);
});
