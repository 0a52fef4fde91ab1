#!/bin/bash
# guest.sh ROOT: makes the tiny guest in a rootfs, with that rootfs' own packages: /var/lib/siphon-guest/{vmlinuz,initrd.gz}.
# Debian's cloud kernel; an initramfs of busybox, mke2fs, e2fsck, blkid, qemu-guest-agent and the few modules that a virtio
# disk, or one by virtio-scsi, needs.
set -euo pipefail
LAB=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
ROOT=$1 WORK=/tmp/guest OUT=/var/lib/siphon-guest
X=$ROOT$WORK/x TREE=$ROOT$WORK/tree
MODULES=(virtio_pci virtio_blk virtio_scsi sd_mod virtio_console ext4 button evdev)

# Fetched and unpacked, not installed: a host needs none of these.
fetch() {
  local kernel parts
  kernel=$(chroot "$ROOT" apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
  mkdir -p "$X" "$TREE"
  # newer releases have the kernel and its modules in packages of their own, on which this one depends
  mapfile -t parts < <(chroot "$ROOT" apt-cache depends "$kernel" | awk '/Depends: linux-(binary|modules)-/ { print $2 }')
  chroot "$ROOT" env -C "$WORK" apt-get download -q "$kernel" "${parts[@]}" busybox-static qemu-guest-agent
  for deb in "$ROOT$WORK"/*.deb; do chroot "$ROOT" dpkg-deb -x "$WORK/${deb##*/}" "$WORK/x"; done
}

# Copies program $1 (a path in the rootfs) to $2 of the tree with the libraries that it needs.
add_program() {
  local lib
  install -D "$ROOT$1" "$TREE/$2"
  chroot "$ROOT" ldd "$1" | grep 'not found' && { echo "$1: libraries are missing" >&2; exit 1; }
  for lib in $(chroot "$ROOT" ldd "$1" | grep -o '/[^ ]*'); do
    case $lib in */ld-linux*) install -D "$ROOT$lib" "$TREE/lib64/${lib##*/}" ;; *) install -D "$ROOT$lib" "$TREE/lib/${lib##*/}" ;; esac
  done
}

# Copies module $1 after those that it needs, and notes the order; one that is not there is part of the kernel.
add_module() {
  local file needs need
  [ ! -e "$TREE/lib/modules/$1.ko" ] || return 0
  file=$(find "$X" -name "$1.ko*" -o -name "${1//_/-}.ko*" | head -n 1)
  [ -n "$file" ] || return 0
  case $file in *.xz) chroot "$ROOT" "$WORK/x/$BUSYBOX" xzcat "${file#"$ROOT"}" ;; *) cat "$file" ;; esac >"$TREE/lib/modules/$1.ko"
  needs=$(grep -a -o -m1 'depends=[a-z0-9_,-]*' "$TREE/lib/modules/$1.ko" | head -n 1 | cut -d= -f2)
  for need in ${needs//,/ }; do add_module "${need//-/_}"; done
  echo "$1" >>"$TREE/lib/modules/order"
}

fetch
BUSYBOX=$(cd "$X" && find . -type f -path "*/bin/busybox")
mkdir -p "$TREE"/{bin,sbin,lib/modules,lib64,dev,proc,sys,run,tmp,mnt,etc/acpi/PWRF,var/log}
ln -s ../run "$TREE/var/run"
install "$X/$BUSYBOX" "$TREE/bin/busybox"
add_program "$WORK/x/usr/sbin/qemu-ga" sbin/qemu-ga
for program in mke2fs e2fsck blkid; do add_program "/sbin/$program" "sbin/$program"; done
cp "$ROOT/etc/mke2fs.conf" "$TREE/etc/"
for module in "${MODULES[@]}"; do add_module "$module"; done
install "$LAB/guest-init" "$TREE/init"
# the power button (acpid) and the agent's shutdown
printf '#!/bin/sh\nsync; poweroff -f\n' >"$TREE/etc/acpi/PWRF/00000080"
# shellcheck disable=SC2016 # the guest's
printf '#!/bin/sh\nsync; case "$*" in *-r*) reboot -f ;; *) poweroff -f ;; esac\n' >"$TREE/sbin/shutdown"
chmod 755 "$TREE/etc/acpi/PWRF/00000080" "$TREE/sbin/shutdown"
mkdir -p "$ROOT$OUT"
(cd "$TREE" && find . | chroot "$ROOT" env -C "$WORK/tree" "$WORK/x/$BUSYBOX" cpio -o -H newc) | gzip -6 >"$ROOT$OUT/initrd.gz"
cp "$(find "$X" -name 'vmlinuz*' -type f)" "$ROOT$OUT/vmlinuz"
chmod 755 "$ROOT$OUT" && chmod 644 "$ROOT$OUT"/*
rm -rf --one-file-system "${ROOT:?}$WORK"
