# shellcheck shell=bash
# The clusters, all in host h1: monitors, a manager, and an OSD that keeps its data in memory. Sourced by lab.sh.
# Cluster 1 is "ceph", cluster K "cephK": its files are /etc/ceph/NAME.*, its units NAME-mon-a, NAME-mgr-x, NAME-osd-0.
# Every setting is in the conf file from the start, and keys and units are written before the host boots: a Ceph that is told its
# settings by "ceph config set" takes three times as long to come up.

cluster_name() { if [ "$1" = 1 ]; then echo ceph; else echo "ceph$1"; fi; }

# The libvirt secret with the key of client.libvirt of cluster $1, on every host.
secret_uuid() { printf '51f04000-0000-4000-8000-%012d\n' "$1"; }

# A cephx key (type AES): le16 type, le32 seconds, le32 nanoseconds, le16 length, 16 random bytes.
new_key() {
  local t=$EPOCHSECONDS
  {
    printf '%b' "$(printf '\\x01\\x00\\x%02x\\x%02x\\x%02x\\x%02x' $((t & 255)) $((t >> 8 & 255)) $((t >> 16 & 255)) $((t >> 24 & 255)))"
    printf '\0\0\0\0\20\0'
    head -c 16 /dev/urandom
  } | base64
}

# Writes what cluster $1 needs into the files that the hosts boot with.
make_cluster_files() {
  local k=$1 name common=$DIR/etc/ceph first=$DIR/h1/etc ids=(a b c d e f g h i) id i
  name=$(cluster_name "$k")
  mkdir -p "$first/ceph-lab/$name" "$first/systemd/system/multi-user.target.wants"
  ids=("${ids[@]:0:MONS}")
  cluster_conf "$k" "$name" >"$common/$name.conf"
  cluster_keys "$k" "$name"
  cat /proc/sys/kernel/random/uuid >"$first/ceph-lab/$name/osd-uuid"
  {
    echo "fsid=$(sed -n 's/^fsid = //p' "$common/$name.conf")"
    echo "monmap=('--clobber'"
    for ((i = 0; i < MONS; i++)); do echo "  --addv ${ids[i]} '$(mon_address "$k" "$i")'"; done
    echo ")"
  } >"$first/ceph-lab/$name/monmap"
  # every change of a map takes a second at the monitors' usual pace, and bringing up makes ten
  echo 'BRING_UP=--paxos-propose-interval=0.05' >"$first/ceph-lab/$name/bring-up"
  for id in "${ids[@]}"; do cluster_unit "$name" mon "$id"; done
  cluster_unit "$name" mgr x
  cluster_unit "$name" osd 0
}

# The addresses of monitor number $2 of cluster $1.
mon_address() {
  local port=$((10 * ($1 - 1) + $2))
  echo "[v2:10.77.0.1:$((3300 + port)),v1:10.77.0.1:$((6789 + port))]"
}

cluster_conf() {
  local k=$1 name=$2 i hosts=''
  for ((i = 0; i < MONS; i++)); do hosts+="${hosts:+ }$(mon_address "$k" "$i")"; done
  cat <<C
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = $hosts
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
ms bind ipv6 = false
log file =
log to stderr = true
# Debian's Ceph 20 has a relative folder here, and every rbd call fails
osd class dir = /usr/lib/x86_64-linux-gnu/rados-classes
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 16
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0

[client]
keyring = /etc/ceph/$name.\$name.keyring
log to stderr = false

[mon]
mon data = /var/lib/ceph/lab/$name/mon-\$id
public addr = 10.77.0.1
mon allow pool delete = true
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 2000
mon data avail warn = 2
mon data avail crit = 1
mon cluster log to file = false
mon cluster log to stderr = false
auth allow insecure global id reclaim = false
debug rocksdb = 1

[mgr]
mgr data = /var/lib/ceph/lab/$name/mgr-\$id
keyring = /etc/ceph-lab/$name/keyring
public addr = 10.77.0.1
mgr initial modules =
# what nobody asks here: each costs a Python interpreter at start
mgr disabled modules = alerts cephadm cli_api dashboard diskprediction_local feedback hello influx insights iostat k8sevents localpool mds_autoscaler mirroring nfs nvmeof osd_perf_query osd_support prometheus restful rgw rook selftest smb snap_schedule stats telegraf test_orchestrator zabbix

[osd]
osd data = /var/lib/ceph/lab/$name/osd-\$id
keyring = /etc/ceph-lab/$name/keyring
public addr = 10.77.0.1
cluster addr = 10.77.0.1
osd objectstore = memstore
memstore device bytes = 8589934592
# memory is written out by an orderly end alone
osd fast shutdown = false
# without peers it hears of a new map by asking the monitors, else every 30 s
osd mon heartbeat interval = 1
# no scheduler that holds clients to the speed of a disk that is not there
osd op queue = wpq
C
}

# Writes the keys of cluster $1, named $2: the clients' on every host, the daemons' in h1; libvirt's also as its secret.
cluster_keys() {
  local name=$2 admin libvirt daemons=$DIR/h1/etc/ceph-lab/$2/keyring common=$DIR/etc uuid
  admin=$(new_key) libvirt=$(new_key) uuid=$(secret_uuid "$1")
  umask 077
  cat >"$common/ceph/$name.client.admin.keyring" <<C
[client.admin]
	key = $admin
	caps mon = "allow *"
	caps mgr = "allow *"
	caps osd = "allow *"
	caps mds = "allow *"
C
  cat >"$common/ceph/$name.client.libvirt.keyring" <<C
[client.libvirt]
	key = $libvirt
	caps mon = "profile rbd"
	caps mgr = "profile rbd"
	caps osd = "profile rbd pool=vms, profile rbd pool=images"
C
  cat "$common/ceph/$name".client.{admin,libvirt}.keyring - >"$daemons" <<C
[mon.]
	key = $(new_key)
	caps mon = "allow *"
[mgr.x]
	key = $(new_key)
	caps mon = "allow profile mgr"
	caps osd = "allow *"
	caps mds = "allow *"
[osd.0]
	key = $(new_key)
	caps mon = "allow profile osd"
	caps mgr = "allow profile osd"
	caps osd = "allow *"
C
  echo "<secret ephemeral='no' private='no'><uuid>$uuid</uuid><usage type='ceph'><name>client.libvirt of $name</name></usage></secret>" \
    >"$common/libvirt/secrets/$uuid.xml"
  printf %s "$libvirt" >"$common/libvirt/secrets/$uuid.base64"
  umask 022
}

# The unit of daemon $2.$3 of cluster $1. Its store is made at the first start and kept: a daemon that was stopped can start again
# (the OSD's data survives a stop, not a kill). The OSD waits for its entry in the cluster's map.
cluster_unit() {
  local unit=$1-$2-$3 folder=$DIR/h1/etc/systemd/system options=''
  # shellcheck disable=SC2016 # systemd's
  [ "$2" != mon ] || options=' $BRING_UP'
  cat >"$folder/$unit.service" <<C
[Unit]
Description=Ceph $2.$3 of cluster $1
[Service]
Environment=PYTHONPATH=$LAB/mgr-python PYTHONDONTWRITEBYTECODE=1
EnvironmentFile=-/etc/ceph-lab/$1/bring-up
ExecStartPre=$LAB/ceph-store $1 $2 $3
ExecStart=/usr/bin/ceph-$2 -f -c /etc/ceph/$1.conf -i $3$options
LimitNOFILE=1048576
TimeoutStopSec=20
C
  [ "$2" = osd ] || ln -s "../$unit.service" "$folder/multi-user.target.wants/"
}

# Waits until cluster $1 serves: its OSD is up, its pools can be used, its manager answers.
await_cluster() {
  local name
  name=$(cluster_name "$1")
  # a crash of the Python binding, seen once under load, is no fault of the cluster's: every step of ceph-ready may be done again
  (enter_host 1 timeout 90 "$LAB/ceph-ready" "$name") || { [ $? -ge 128 ] && (enter_host 1 timeout 90 "$LAB/ceph-ready" "$name"); } ||
    { say "$name does not come up: its log is in the journal of h1"; return 1; }
  say "$name serves"
}
