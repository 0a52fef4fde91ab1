// Domains for the tests of the hook and of snapshots.

export const UUIDS = [
  '0f6f6d5c-52b1-4b4a-9d3c-1f0c5f6d7a01',
  '0f6f6d5c-52b1-4b4a-9d3c-1f0c5f6d7a02',
] as const;

/** A domain whose disks vda, vdb, … are these images of the pool `vms`. */
export function domainXml(uuid: string, images: readonly string[] = ['root'], name = 'vm'): string {
  const disks = images.map((image, index) => {
    const target = `vd${String.fromCharCode(97 + index)}`;
    return rbdDisk(target, `<source protocol='rbd' name='vms/${image}'/>`);
  });
  return `<domain type='kvm'><name>${name}</name><uuid>${uuid}</uuid><devices>${disks.join('')}</devices></domain>`;
}

export function rbdDisk(target: string, inner: string, device = 'disk'): string {
  return `<disk type='network' device='${device}'>${inner}<target dev='${target}'/></disk>`;
}
