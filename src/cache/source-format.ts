// The suffix that a fill would give a source's base, before there is one.

import { parseQcow2Header, QCOW2_HEAD_BYTES } from '../domain/qcow2-header.ts';
import type { DiskFormat, SourceFacts } from '../wire/vocabulary.ts';
import type { CacheParts } from './parts.ts';

/** qcow2 bytes stay qcow2; raw ones become what the settings say. Looks at the bytes only where that makes a difference. */
export async function formatOfFill(
  { settings, clusters }: Pick<CacheParts, 'settings' | 'clusters'>,
  { ids, name, properties }: SourceFacts,
): Promise<DiskFormat> {
  const declared = properties?.disk_format;
  if (settings.rawBecomes === 'qcow2' || declared === 'qcow2') return 'qcow2';
  if (declared === 'raw') return 'raw';
  const cluster = await clusters.byFsid(ids.fsid);
  const { pool, namespace, image, snap } = name;
  const head = { pool, namespace, image, snap, lengthBytes: QCOW2_HEAD_BYTES };
  const options = { deadlineMs: settings.cephDeadlineMs };
  const { base64 } = await cluster.ceph.call('readHead', head, options);
  return parseQcow2Header(Buffer.from(base64, 'base64')).kind === 'not-qcow2' ? 'raw' : 'qcow2';
}
