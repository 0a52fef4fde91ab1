// Files of a domain's state: what is read, and what is not, whoever put it there.

import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { STATE_BYTES_MAX } from '../../../src/domain/state-files.ts';
import { readStateFile } from '../../../src/sidecar/state-files.ts';
import { temporaryFolder } from './support/quiet.ts';

function variableStore(sizeBytes = 4096): Buffer {
  const bytes = Buffer.alloc(sizeBytes, 0xff);
  bytes.write('_FVH', 40, 'latin1');
  return bytes;
}

/** As swtpm writes it: its length at byte 6. */
function tpmState(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes, 7);
  bytes.writeUInt32BE(sizeBytes, 6);
  return bytes;
}

async function whyNot(what: 'nvram' | 'tpm', path: string): Promise<string> {
  const read = await readStateFile({ what, path });
  assert.equal(read.kind, 'unread');
  return read.why;
}

describe('NVRAM', () => {
  it('is read byte by byte, also as qcow2', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'vm_VARS.fd');
    for (const bytes of [variableStore(540_672), Buffer.from('QFI\xfb and so on', 'latin1')]) {
      await writeFile(path, bytes);
      assert.deepEqual(await readStateFile({ what: 'nvram', path }), { kind: 'read', path, bytes });
    }
  });

  it('is not what somebody put in its place', async () => {
    await using temporary = await temporaryFolder();
    const folder = temporary.path;
    const path = join(folder, 'vm_VARS.fd');
    assert.equal(await whyNot('nvram', path), 'siphond sees no such file');
    assert.equal(await whyNot('nvram', '/dev/null'), 'it is no regular file');
    await writeFile(path, 'root:$y$hash:20000:0:99999:7:::\n'.repeat(9));
    assert.equal(await whyNot('nvram', path), 'it is no store of UEFI variables');
    await writeFile(path, variableStore(STATE_BYTES_MAX + 1));
    assert.equal(await whyNot('nvram', path), 'it has 2.0 MiB; up to 2.0 MiB are kept');
    await writeFile(path, variableStore());
    await symlink(path, join(folder, 'link'));
    assert.equal(await whyNot('nvram', join(folder, 'link')), 'it is a symbolic link');
  });

  it('is read again until two reads are the same, a few times', async () => {
    const file = { what: 'nvram', path: '/vars' } as const;
    const reads = [4096, 4097, 4097, 4098, 4099, 4100].map((size) => variableStore(size));
    const next = async () => reads.shift();
    assert.deepEqual(await readStateFile(file, next), {
      kind: 'read',
      path: '/vars',
      bytes: variableStore(4097),
    });
    reads.push(variableStore(4101));
    const read = await readStateFile(file, next);
    assert.deepEqual(read, { kind: 'unread', why: 'it changed each time that it was read' });
  });
});

describe('the state of a TPM', () => {
  it('is found in the folders that libvirt makes, in the one that the XML names, and as a file', async () => {
    await using temporary = await temporaryFolder();
    const folder = temporary.path;
    for (const name of ['tpm2/tpm2-00.permall', 'tpm1.2/tpm-00.permall', 'tpm2-00.permall']) {
      const root = join(folder, name.replaceAll('/', '-'));
      const path = join(root, name);
      await mkdir(join(path, '..'), { recursive: true });
      await writeFile(path, tpmState(9000));
      const read = await readStateFile({ what: 'tpm', path: root });
      assert.deepEqual(read, { kind: 'read', path, bytes: tpmState(9000) });
    }
    const file = join(folder, 'linear');
    await writeFile(file, Buffer.from('nilmptws and so on'));
    assert.equal((await readStateFile({ what: 'tpm', path: file })).kind, 'read');
  });

  it('is not what is cut short, nor a folder without one', async () => {
    await using temporary = await temporaryFolder();
    const folder = temporary.path;
    assert.equal(await whyNot('tpm', folder), 'siphond sees no such file');
    await writeFile(join(folder, 'tpm2-00.permall'), tpmState(9000).subarray(0, 8000));
    assert.equal(await whyNot('tpm', folder), 'it is no state of swtpm');
    await writeFile(join(folder, 'tpm2-00.permall'), 'short');
    assert.equal(await whyNot('tpm', folder), 'it is no state of swtpm');
  });
});
