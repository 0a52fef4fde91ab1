// Where librados looks for a user's key, and of what type it is. The key itself goes no further than this file.

import { readFile } from 'node:fs/promises';
import type { CephUser } from '../../wire/worker-protocol.ts';
import type { KeyFacts, KeyType } from './facts.ts';

/** Looks where ceph.conf, or the config, says. */
export async function findKey(conf: string, user: CephUser): Promise<KeyFacts> {
  const files = user.keyring === undefined ? keyringPaths(conf, user.name) : [user.keyring];
  for (const file of files) {
    try {
      const type = keyType(await readFile(file, 'utf8'), user.name);
      if (type !== undefined) return { kind: 'there', file, type };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT') return { kind: 'unreadable', file, why: message };
    }
  }
  return { kind: 'no-key', files };
}

/** librados' own, where no conf names any (ceph: common/options, `keyring`). */
const DEFAULTS =
  '/etc/ceph/$cluster.$name.keyring,/etc/ceph/$cluster.keyring,/etc/ceph/keyring,/etc/ceph/keyring.bin';

/** The files in the order in which librados looks; `conf` is the text of ceph.conf. */
export function keyringPaths(conf: string, user: string): string[] {
  const sections = sectionsOf(conf);
  const named = [`client.${user}`, 'client', 'global'].map((name) =>
    sections.get(name)?.get('keyring'),
  );
  const words: Readonly<Record<string, string>> = {
    cluster: 'ceph',
    name: `client.${user}`,
    type: 'client',
    id: user,
  };
  const text = named.find((each) => each !== undefined) ?? DEFAULTS;
  return text
    .split(/[,;\s]+/)
    .filter(Boolean)
    .map((each) => each.replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, a, b) => words[a ?? b] ?? whole));
}

/** Of the key of `client.USER` in a keyring; undefined: it has none. */
export function keyType(keyring: string, user: string): KeyType | undefined {
  const key = sectionsOf(keyring).get(`client.${user}`)?.get('key');
  if (key === undefined) return undefined;
  const bytes = Buffer.from(key, 'base64');
  // le16 type (ceph: include/ceph_fs.h, CEPH_CRYPTO_*): 1 is AES, 2 is AES256KRB5 (since 20)
  const type = bytes.length < 2 ? 0 : bytes.readUInt16LE(0);
  return type === 1 ? 'aes' : type === 2 ? 'aes256k' : 'other';
}

/** Ceph's INI: sections of `name = value`; blanks and underscores in names are the same. */
function sectionsOf(text: string): Map<string, Map<string, string>> {
  const sections = new Map<string, Map<string, string>>();
  let section = new Map<string, string>();
  for (const raw of text.split('\n')) {
    const line = raw.replace(/[#;].*$/, '').trim();
    const name = /^\[(.+)\]$/.exec(line)?.[1]?.trim();
    if (name !== undefined) {
      section = sections.get(name) ?? new Map<string, string>();
      sections.set(name, section);
      continue;
    }
    const [, key, value] = /^([^=]+?)\s*=\s*(.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) section.set(key.replaceAll(' ', '_'), value);
  }
  return sections;
}
