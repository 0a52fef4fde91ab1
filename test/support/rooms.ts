// The rooms and their arrows, executable: what each room may import besides itself. ARCHITECTURE.md draws the same.

/** `rooms`: folders of src. `packages`: npm names. `node`: built-in modules; '*' is any. */
export interface Room {
  readonly rooms: readonly string[];
  readonly packages: readonly string[];
  readonly node: readonly string[] | '*';
}

const PURE = ['node:path', 'node:assert/strict', 'node:crypto'];

export const ROOMS: Readonly<Record<string, Room>> = {
  'packages/ceph-napi': { rooms: [], packages: ['koffi'], node: '*' },
  'packages/node-libvirt': { rooms: [], packages: ['koffi'], node: '*' },
  'src/wire': { rooms: [], packages: [], node: [] },
  'src/domain': { rooms: ['src/wire'], packages: ['fast-xml-parser'], node: PURE },
  'src/trust/manifest': {
    rooms: ['src/wire'],
    packages: ['@sigstore/core', 'zod'],
    node: PURE,
  },
  'src/trust': {
    rooms: ['src/wire', 'src/domain', 'src/trust/manifest'],
    packages: ['@peculiar/asn1-schema', '@peculiar/asn1-x509', 'picomatch'],
    node: [...PURE, 'node:fs/promises'],
  },
  'src/hook': { rooms: ['src/wire', 'src/domain'], packages: [], node: PURE },
  'src/cache': {
    rooms: ['src/wire', 'src/domain'],
    packages: ['better-sqlite3', 'lru-cache', 'p-queue'],
    node: '*',
  },
  'src/snapshot': {
    rooms: ['src/wire', 'src/domain'],
    packages: ['picomatch', 'smol-toml', 'zod'],
    node: PURE,
  },
  'src/systemd': { rooms: [], packages: ['koffi'], node: '*' },
  'src/export-file': { rooms: ['src/wire'], packages: ['zod'], node: PURE },
  'src/rbd-export': {
    rooms: ['src/wire', 'src/trust', 'src/trust/manifest', 'src/export-file'],
    packages: ['ceph-napi'],
    node: '*',
  },
  'src/worker': {
    rooms: ['src/wire', 'src/domain', 'src/rbd-export', 'src/export-file', 'src/systemd'],
    packages: ['ceph-napi', 'node-libvirt', 'koffi'],
    node: '*',
  },
  'src/worker/supervisor': { rooms: ['src/wire'], packages: [], node: '*' },
  'src/sidecar': {
    rooms: [
      'src/wire',
      'src/domain',
      'src/trust',
      'src/trust/manifest',
      'src/hook',
      'src/cache',
      'src/snapshot',
      'src/systemd',
      'src/worker/supervisor',
    ],
    packages: [
      'chokidar',
      'execa',
      'fastify',
      'p-queue',
      'pino',
      'prom-client',
      'smol-toml',
      'zod',
      'better-sqlite3',
    ],
    node: '*',
  },
  'src/cli': {
    rooms: ['src/wire', 'src/export-file', 'src/trust/manifest'],
    packages: ['commander', 'cli-progress'],
    node: '*',
  },
};

/** The room of a file: the longest folder of the table that holds it. */
export function roomOf(file: string): string | undefined {
  return Object.keys(ROOMS)
    .filter((room) => file.startsWith(`${room}/`))
    .toSorted((a, b) => b.length - a.length)[0];
}
