#!/bin/bash
# Makes a lab host one that has siphon: cephx users (of all pools, since each test file makes its own), the installation, a small
# configuration. Run inside the host, once.
set -euo pipefail
here=$(cd "$(dirname "$0")/../../.." && pwd)
# Monitors of Ceph 16 let nobody make snapshots whose grants name no pool: that command is named instead.
mon='allow r, allow command "osd pool op unmanaged-snap"'
key() { ceph auth get-or-create "client.$1" mon "$mon" osd "$2" -o "/etc/ceph/ceph.client.$1.keyring"; }
key siphon-fill 'profile rbd-read-only' &
key siphon-snapshot 'profile rbd-read-only, allow rwx object_prefix rbd_header., allow wx object_prefix rbd_object_map., allow w object_prefix siphon.sets, allow class-read object_prefix rbd_children' &
key siphon-publish 'profile rbd' &
key siphon-restore 'profile rbd' &
wait
systemd-sysusers "$here/systemd/siphon.sysusers.conf"
chgrp siphon /etc/ceph/ceph.client.siphon-*.keyring
chmod 640 /etc/ceph/ceph.client.siphon-*.keyring
mkdir -p /etc/siphon
cat >/etc/siphon/siphon.toml <<'C'
[cache]
limit = "20GiB"
reserve = "256MiB"

[clusters.ceph]
conf = "/etc/ceph/ceph.conf"
default = true
timeout = "5s"

[clusters.ceph.users]
fill = "siphon-fill"
snapshot = "siphon-snapshot"
publish = "siphon-publish"
restore = "siphon-restore"
C
bash "$here/scripts/install.sh"
