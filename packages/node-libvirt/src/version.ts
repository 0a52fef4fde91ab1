// libvirt's and QEMU's versions. Pure.

/** As libvirt packs it: major * 1,000,000 + minor * 1,000 + release; 11003000 -> '11.3.0'. */
export function versionText(number: number): string {
  return [Math.floor(number / 1e6), Math.floor(number / 1e3) % 1e3, number % 1e3].join('.');
}
