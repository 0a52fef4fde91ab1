// What the demo works on: a certificate and a signature made by openssl, images, a domain.

import { readFile, writeFile } from 'node:fs/promises';
import { must, sh } from '../../test/lab/support/host.ts';

export const WORK = '/var/lib/siphon/demo';
export const CERTIFICATE = '7f6d2f0e-52c9-4a1b-9a2a-0d9d3d5f6a11';

/** The least cephx users of README, with the pools of the lab; siphon installed, which may read their keyrings. */
export async function installSiphon(projectFolder: string): Promise<void> {
  const readme = await readFile(`${projectFolder}/README.md`, 'utf8');
  const commands = readme.match(/^ceph auth get-or-create .*$/gm) ?? [];
  await Promise.all(commands.map(sh));
  await must('bash', `${projectFolder}/scripts/install.sh`);
  await sh('cd /etc/ceph; chgrp siphon ceph.client.siphon-*; chmod 640 ceph.client.siphon-*');
}

/** The user that restores need, as `siphon doctor --caps` says it, and a config that names it. */
export async function allowRestores(): Promise<void> {
  await writeFile(
    '/etc/siphon/conf.d/restore.toml',
    '[clusters.ceph.users]\nrestore = "siphon-restore"\n',
  );
  await must('siphon', 'reload');
  const caps = await must('siphon', 'doctor', '--caps');
  const command = /^ceph auth .*client\.siphon-restore .*$/m.exec(caps)?.[0] ?? '';
  await sh(`${command} >/dev/null
    cd /etc/ceph; chgrp siphon ceph.client.siphon-*; chmod 640 ceph.client.siphon-*`);
}

/** A disk with an ext4 and some data: 1 GiB, most of it holes. */
export async function makeDisk(file: string, dataMebibytes: number): Promise<void> {
  await sh(`mkdir -p ${WORK}/tree; head -c ${dataMebibytes}M /dev/urandom >${WORK}/tree/payload
    truncate -s 1G ${file}; mkfs.ext4 -q -F -d ${WORK}/tree ${file}; rm -r ${WORK}/tree`);
}

/** Signs a file as OpenStack wants it; gives the properties' file. */
export async function sign(file: string): Promise<string> {
  await sh(`cd ${WORK}
    openssl req -x509 -newkey rsa:3072 -nodes -keyout key.pem -out cert.pem -days 30 -subj '/CN=demo image signer' 2>/dev/null
    install -m 644 cert.pem /etc/siphon/trust/${CERTIFICATE}.pem
    openssl dgst -sha256 -sign key.pem -sigopt rsa_padding_mode:pss -out disk.sig ${file}`);
  const properties = {
    disk_format: 'raw',
    properties: {
      img_signature: await must('base64', '-w0', `${WORK}/disk.sig`),
      img_signature_hash_method: 'SHA-256',
      img_signature_key_type: 'RSA-PSS',
      img_signature_certificate_uuid: CERTIFICATE,
    },
  };
  await writeFile(`${WORK}/properties.json`, JSON.stringify(properties));
  return `${WORK}/properties.json`;
}

/** Imports a file into Ceph and takes a snapshot of it. */
export async function importImage(file: string, image: string): Promise<string> {
  await must('rbd', 'import', '--no-progress', file, image);
  await must('rbd', 'snap', 'create', '--no-progress', `${image}@snap`);
  return `rbd:${image}@snap`;
}

/** SHA-256 of a command's output, by openssl. */
export const sha256Of = async (command: string): Promise<string> =>
  (await sh(`${command} | openssl dgst -sha256 -r`)).split(' ')[0] ?? '';
