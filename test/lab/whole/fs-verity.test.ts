// Where the file system has fs-verity a base is immutable for real. This machine's kernel may have none, so that a guest's shows it: the worker's
// own code, in Node, on an ext4 that was made with it; and the kernel's fsverity program on the host says what its digest must be.

import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { defineDomain } from '../support/domains.ts';
import { must, sh } from '../support/host.ts';
import { fileCleanup, scratchFolder } from '../support/images.ts';
import { consolePath, type GuestShell, guestShell } from '../support/shell.ts';

const ROOT = path.join(import.meta.dirname, '../../..');
const NAME = 'fs-verity';
const cleanup = fileCleanup();
let folder = '';
/** Of 4096 bytes: where on the disk the file begins. */
let firstBlock = 0;
let shell: GuestShell;

/** A root file system with Node, siphon's code, and a file to be sealed; `-O verity` as an operator would make it. */
async function makeDisk(disk: string): Promise<void> {
  const node = process.execPath;
  await sh(`T=${folder}/tree; mkdir -p $T/bin $T/siphon/src/worker $T/siphon/node_modules/@koromix $T/proc $T/dev
    cp -L ${node} $T/bin/node
    for library in $(ldd ${node} | grep -o '/[^ ]*'); do mkdir -p "$T\${library%/*}"; cp -L "$library" "$T$library"; done
    cp -r ${ROOT}/src/wire $T/siphon/src/; cp ${ROOT}/src/worker/fs-verity.ts $T/siphon/src/worker/
    cp -r ${ROOT}/node_modules/koffi $T/siphon/node_modules/; cp -r ${ROOT}/node_modules/@koromix/* $T/siphon/node_modules/@koromix/
    echo '{"type":"module"}' >$T/siphon/package.json
    head -c 3000001 /dev/urandom >$T/base; cp $T/base ${folder}/base
    mkfs.ext4 -q -F -b 4096 -O verity -d $T ${disk} 512M; chmod 666 ${disk}; rm -r $T`);
}

before(async () => {
  folder = await scratchFolder(cleanup);
  const disk = `${folder}/disk.raw`;
  await makeDisk(disk);
  const [block = ''] = (await must('debugfs', '-R', 'blocks /base', disk)).split(' ');
  firstBlock = Number(block);
  await defineDomain(cleanup, {
    name: NAME,
    disks: [{ kind: 'file', path: disk, format: 'raw' }],
    memoryMiB: 768,
    console: consolePath(NAME),
  });
  await must('virsh', '-q', 'start', NAME);
  shell = await guestShell(cleanup, consolePath(NAME));
  await shell.run('mount --bind /proc /mnt/vda/proc; mount --bind /dev /mnt/vda/dev');
});

/** What a module of siphon's prints in the guest. */
const inGuest = (script: string) =>
  shell.run(`chroot /mnt/vda /bin/node --input-type=module -e '${script}' 2>&1`, 120);
const SEAL = `const { sealFile } = await import("/siphon/src/worker/fs-verity.ts"); console.log("it is", await sealFile("/base"), ".");`;

test('a sealed file has the digest that fsverity tells, stays as it is, and a changed block is not read', async () => {
  const said = await must('fsverity', 'digest', `${folder}/base`);
  const [, digest = ''] = /^sha256:([0-9a-f]{64}) /.exec(said) ?? [];
  assert.match(await inGuest(SEAL), new RegExp(`it is ${digest} `));
  assert.match(
    await inGuest(SEAL),
    new RegExp(`it is ${digest} `),
    'a second time it is as it was',
  );
  assert.match(
    await shell.run('echo x >>/mnt/vda/base; echo x >/mnt/vda/base'),
    /not permitted[^]*not permitted/,
  );
  const spoil = `dd if=/dev/urandom of=/dev/vda bs=4096 seek=${firstBlock + 7} count=1 conv=notrunc; sync`;
  const reading = await shell.run(
    `${spoil}; echo 3 >/proc/sys/vm/drop_caches; cat /mnt/vda/base >/dev/null`,
  );
  assert.match(reading, /Input\/output error|I\/O error/);
});
