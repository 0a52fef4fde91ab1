# shellcheck shell=bash
# The hosts' root file system: a Debian with systemd, Ceph, libvirt and QEMU, and the tiny guest, built once for each release and
# kept in the cache. Its name holds a hash of all that it is made from, so that a changed list is a new rootfs. Sourced by lab.sh.

PACKAGES=(systemd-sysv systemd-container dbus iproute2 iputils-ping procps util-linux
  ceph-mon ceph-osd ceph-mgr ceph-mgr-modules-core ceph-common librbd1 python3-rbd python3-rados
  libvirt-daemon-system libvirt-clients libvirt-daemon-driver-storage-rbd qemu-system-x86 qemu-utils qemu-block-extra
  swtpm swtpm-tools
  librbd-dev librados-dev libvirt-dev
  e2fsprogs fsverity xfsprogs btrfs-progs openssl ca-certificates curl jq apparmor libfaketime
  libatomic1) # Node's

# Prints the folder of release $1, present or not.
rootfs_path() {
  local hash
  hash=$({
    echo "${PACKAGES[@]}"
    cat "$LAB/rootfs.sh" "$LAB/guest.sh" "$LAB/guest-init"
  } | sha256sum | cut -c1-12)
  echo "$CACHE/$1-$hash"
}

# The mirror that this machine's own apt uses for Debian; none: mmdebstrap's default.
apt_mirror() {
  apt-get update --print-uris 2>/dev/null | sed -n "s|^'\(.*/debian/\)dists/.*|\1|p" | sort -u | head -n 1
}

# Builds the rootfs of release $1 if it is not there. One builder at a time; the folder gets its name only when it is complete.
ensure_rootfs() {
  local release=$1 root
  root=$(rootfs_path "$release")
  [ ! -d "$root" ] || return 0
  { mkdir -p "$CACHE" 2>/dev/null && [ -w "$CACHE" ]; } || fail "no rootfs of $release in $CACHE, and it is read-only here"
  command -v mmdebstrap >/dev/null || fail "mmdebstrap is missing: apt-get install mmdebstrap"
  (
    flock 8
    [ ! -d "$root" ] || exit 0
    say "building the rootfs of $release, once: about a minute (log: $CACHE/build-$release.log)"
    build_rootfs "$release" "$CACHE/.build-$release" "$root" >"$CACHE/build-$release.log" 2>&1 8<&- || {
      tail -n 20 "$CACHE/build-$release.log" >&2
      fail "the rootfs of $release could not be built: see $CACHE/build-$release.log"
    }
    remove_old_rootfs "$release" "$root"
  ) 8>"$CACHE/.lock-$release"
}

# A mount namespace of its own: the mounts of a build that was killed are gone with it.
build_rootfs() {
  local release=$1 partial=$2 root=$3 options mirror path unit
  rm -rf --one-file-system "$partial" "$partial.conf"
  mirror=$(apt_mirror)
  # the machine's own way to its mirror (proxies and the like) serves the rootfs too; a mirror of testing may be older than its
  # Release file allows
  { apt-config dump Acquire | grep -v ' "";$' || true; echo 'Acquire::Check-Valid-Until "false"; Apt::Install-Recommends "false";'; } >"$partial.conf"
  options=(--variant=minbase --mode=root --include="$(IFS=,; echo "${PACKAGES[*]}")" --aptopt="$partial.conf" --dpkgopt=force-unsafe-io)
  for path in doc man info locale; do options+=(--dpkgopt="path-exclude=/usr/share/$path/*"); done
  # shellcheck disable=SC2016 # $1 is the hook's
  unshare -m --propagation private mmdebstrap "${options[@]}" --customize-hook="$LAB/guest.sh \"\$1\"" \
    --customize-hook='rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap' \
    "$release" "$partial" ${mirror:+"$mirror"} || return
  # no console, no devices to manage, and nothing that wakes up by itself
  for unit in console-getty.service systemd-udevd.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer; do
    ln -sf /dev/null "$partial/etc/systemd/system/$unit"
  done
  rm -f "$partial.conf"
  sync -f "$partial" && mv -T "$partial" "$root"
}

# Former builds of release $1 that no running host stands on (a host holds a shared lock on its rootfs).
remove_old_rootfs() {
  local old
  for old in "$CACHE/$1"-*; do
    if [ "$old" = "$2" ] || [ ! -d "$old" ]; then continue; fi
    flock -n -x "$old" rm -rf --one-file-system "$old" || true
  done
}
