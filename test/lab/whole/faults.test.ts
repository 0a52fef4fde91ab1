// What an operator gets wrong, and what breaks: a clear error that names the cause and what to do, and nothing left.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { must, run, sh, until } from '../support/host.ts';
import {
  bigSource,
  fileCleanup,
  freshPool,
  importSource,
  rawFile,
  scratchFolder,
} from '../support/images.ts';
import { answering, filesOfBases, fillWorkers, siphon } from '../support/siphon.ts';

const context = fileCleanup();
let pool = '';
let scratch = '';
let fsid = '';

before(async () => {
  pool = await freshPool(context);
  scratch = await scratchFolder(context);
  fsid = await must('ceph', 'fsid');
});

/** Calls siphon, which must fail with the exit code and say all of the words; bases' files stay as they were. */
async function refused(
  code: number,
  words: readonly RegExp[],
  ...args: readonly string[]
): Promise<void> {
  const before = await filesOfBases();
  const ran = await siphon(...args);
  assert.equal(ran.code, code, `siphon ${args.join(' ')}\n${ran.stderr}${ran.stdout}`);
  for (const word of words) assert.match(ran.stderr, word);
  assert.equal(ran.stdout, '');
  assert.deepEqual(await filesOfBases(), before);
}

test('names that lead nowhere', async () => {
  await importSource(await rawFile(`${scratch}/x`, 4, [0]), `${pool}/there`);
  const stranger = '11111111-2222-4333-8444-555555555555';
  await refused(4, [/11111111/, new RegExp(fsid)], 'warm', `rbd://${stranger}/${pool}/there/snap`);
  await refused(4, [/no-such-pool/, /pool/], 'warm', 'rbd:no-such-pool/image@snap');
  await refused(4, [/no-such-image/, /image/], 'warm', `rbd:${pool}/no-such-image@snap`);
  await refused(4, [/no-such-snap/, /snapshot/], 'warm', `rbd:${pool}/there@no-such-snap`);
  await refused(4, [/no-such-space/], 'warm', `rbd:${pool}/no-such-space/there@snap`);
});

test('hostile names', async () => {
  for (const name of [
    '../../etc/passwd',
    'a b',
    "a'b",
    'a"b',
    '$(reboot)',
    '`x`',
    '-rf',
    'é\u202e',
    'a%2Fb',
  ]) {
    const ran = await siphon('warm', '--', `rbd:${pool}/${name}@snap`);
    assert.ok([2, 4].includes(ran.code), `${name}: ${ran.code} ${ran.stderr}`);
  }
  await refused(2, [/control character/], 'warm', `rbd:${pool}/a\nb@snap`);
  await refused(2, [/no snapshot/], 'warm', `rbd:${pool}/there`);
  await refused(4, [], 'get', '../../../etc/passwd');
  await refused(4, [], 'pin', `${fsid}/../../x`);
});

test('a wrong call says how it is right', async () => {
  await refused(2, [/missing required argument/], 'warm');
  await refused(2, [/unknown option/], 'warm', '--fast', 'rbd:a/b@c');
  await refused(2, [/sha256/i], 'warm', '--sha256', 'xyz', `rbd:${pool}/there@snap`);
  await refused(2, [/one source/], 'warm', '--sha256', '0'.repeat(64), 'rbd:a/b@c', 'rbd:a/b@d');
  await refused(
    4,
    [/no-such-file/],
    'warm',
    '--properties',
    '/no-such-file',
    `rbd:${pool}/there@snap`,
  );
  await refused(4, [/no-such-domain/], 'start', 'no-such-domain');
  await refused(4, [/no-such-domain/], 'snapshot', 'create', 'no-such-domain');
  await refused(4, [], 'snapshot', 'delete', 'no-such-set');
});

test('bytes that are not what was said', async () => {
  const wrong = '0'.repeat(64);
  await refused(9, [/sha256/i, /0{64}/], 'warm', '--sha256', wrong, `rbd:${pool}/there@snap`);
  await must(
    'qemu-img',
    'create',
    '-q',
    '-f',
    'qcow2',
    '-u',
    '-b',
    '/etc/passwd',
    '-F',
    'raw',
    `${scratch}/backed`,
    '8M',
  );
  const backed = await importSource(`${scratch}/backed`, `${pool}/backed`);
  await refused(5, [/backing file/, /etc\/passwd/], 'warm', backed);
});

test('an image whose snapshot goes while it is read is not published', async () => {
  const source = await bigSource(`${pool}/going`, 512);
  await sh('tc qdisc add dev lo root tbf rate 400mbit burst 256k latency 400ms');
  try {
    const before = await filesOfBases();
    const warm = siphon('warm', source);
    await until('a fill runs', async () => (await fillWorkers()).length > 0);
    await sh(`rbd snap rm --no-progress ${pool}/going@snap; rbd rm --no-progress ${pool}/going`);
    const ran = await warm;
    assert.notEqual(ran.code, 0);
    // Its worker runs before it has opened the image.
    assert.match(ran.stderr, /removed|gone|not there|no longer|there is no image/);
    assert.deepEqual(await filesOfBases(), before);
  } finally {
    await sh('tc qdisc del dev lo root');
  }
});

test('a keyring that cannot be read is named, and siphon recovers when it can', async () => {
  const keyring = '/etc/ceph/ceph.client.siphon-fill.keyring';
  const source = await importSource(await rawFile(`${scratch}/k`, 4, [0]), `${pool}/keyring`);
  await sh(`mv ${keyring} ${keyring}.away; systemctl restart siphond`);
  try {
    await answering();
    await refused(12, [/siphon-fill/, /keyring/], 'warm', source);
  } finally {
    await sh(`mv ${keyring}.away ${keyring}`);
  }
  const mode = await must('stat', '-c', '%a', keyring);
  await sh(`chmod 600 ${keyring}; systemctl restart siphond`); // as `ceph auth get -o` leaves it: root's
  try {
    await answering();
    await refused(12, [/siphon-fill\.keyring cannot be read/, /chgrp siphon/], 'warm', source);
  } finally {
    await sh(`chmod ${mode} ${keyring}`);
  }
  const again = await siphon('warm', source);
  assert.equal(again.code, 0, again.stderr);
});

test('a disk without room for it refuses the fill before a byte moves', async () => {
  const source = await bigSource(`${pool}/large`, 128);
  // The reserve is what must stay free: above what the disk has, nothing fits any more.
  await sh(
    `sed -i 's/^reserve = .*/reserve = "1000TiB"/' /etc/siphon/siphon.toml; systemctl restart siphond`,
  );
  try {
    await answering();
    await refused(8, [/space|free/], 'warm', source);
  } finally {
    await sh(
      `sed -i 's/^reserve = .*/reserve = "256MiB"/' /etc/siphon/siphon.toml; systemctl restart siphond`,
    );
    await answering();
  }
});

test('a disk that fills up in mid-fill: the fill fails in words, leaves nothing, and works when there is space', async () => {
  const [folder, further] = ['/var/lib/siphon/small', '/etc/siphon/conf.d/50-small.toml'];
  const source = await bigSource(`${pool}/filling`, 64);
  const files = () => sh(`find ${folder} -type f -size +0 -printf '%s\\n'`);
  await sh(`mkdir ${folder}; mount -t tmpfs -o size=128m none ${folder}
    chown --reference=/var/lib/siphon/bases-rw ${folder}
    mkdir -p $(dirname ${further}); printf '[cache]\\npath = "${folder}"\\nreserve = "1MiB"\\n' >${further}
    systemctl restart siphond; tc qdisc add dev lo root tbf rate 80mbit burst 256k latency 400ms`);
  try {
    await answering();
    const warm = siphon('warm', source);
    await until('it is being written', async () => (await files()) !== '');
    await sh(`! dd if=/dev/zero of=${folder}/filler bs=1M status=none 2>/dev/null`);
    await sh('tc qdisc del dev lo root');
    const ran = await warm;
    assert.equal(ran.code, 8, ran.stderr);
    assert.match(ran.stderr, /ENOSPC|no space/i);
    await must('rm', `${folder}/filler`);
    assert.equal(await files(), '');
    const again = await siphon('warm', source);
    assert.equal(again.code, 0, again.stderr);
  } finally {
    await run('tc', ['qdisc', 'del', 'dev', 'lo', 'root']);
    await sh(`rm ${further}; systemctl stop siphond; umount ${folder}; rmdir ${folder}
      systemctl start siphond`);
    await answering();
  }
});

test('siphond is down: the client says so and how to look', async () => {
  await must('systemctl', 'stop', 'siphond.service', 'siphond.socket');
  try {
    await refused(7, [/siphon\.sock/, /systemctl start siphond/], 'list');
  } finally {
    await must('systemctl', 'start', 'siphond.socket', 'siphond.service');
    await answering();
  }
  assert.equal((await run('systemctl', ['is-active', 'siphond'])).code, 0);
});
