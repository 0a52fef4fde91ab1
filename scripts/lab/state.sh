# shellcheck shell=bash
# What of a lab lives where, and how all of it is removed. Sourced by lab.sh.
# A lab is named by its folder; ID, a hash of that, names what it has elsewhere: the cgroup CGROUP, in which all its processes are, the
# network namespaces siphon-ID (the switch) and siphon-ID-hN, and the hosts' disks. So a lab is removed even if its folder is lost.

name_lab() {
  DIR=$(realpath -m "$DIR")
  # a lab inside a host is not the lab of the same folder outside: other processes, another ID
  ID=$(echo "$DIR $(readlink /proc/self/ns/pid)" | sha256sum | cut -c1-8)
  NET=siphon-$ID
  DISKS=$CACHE/disk/$ID
  local tree=/sys/fs/cgroup
  [ -e $tree/cgroup.controllers ] || tree=$tree/unified
  [ -e $tree/cgroup.controllers ] || fail "no cgroup2 in /sys/fs/cgroup"
  CGROUP=$tree/siphon-lab-$ID
}

# One command at a time on a lab. The lock is on the folder itself, which a "down" before us may have removed: then on the new one.
lock_lab() {
  local _
  for _ in 1 2 3 4 5; do
    [ ! -e "$DIR" ] || [ -d "$DIR" ] || misuse "$DIR is not a folder"
    mkdir -p "$DIR" || fail "$DIR cannot be made"
    [ -e "$DIR/siphon-lab" ] || [ -z "$(ls -A "$DIR")" ] || misuse "$DIR is not a lab's folder: it holds other files"
    exec 9<"$DIR"
    flock -w 120 9 || fail "another lab.sh works on $DIR"
    [ ! "$DIR" -ef /proc/self/fd/9 ] || return 0
  done
  fail "$DIR comes and goes: another lab.sh works on it"
}

lab_is_up() {
  [ -e "$DIR/up" ] && host_pid 1 >/dev/null
}

lab_has_traces() {
  [ -e "$DIR/siphon-lab" ] || [ -d "$CGROUP" ] || [ -d "$DISKS" ] || [ -n "$(lab_networks)" ]
}

lab_networks() {
  local path
  for path in "/run/netns/$NET" "/run/netns/$NET"-h*; do [ ! -e "$path" ] || echo "${path##*/}"; done
}

# The whole lab, or what is left of one; the lab is locked.
remove_lab() {
  local net path
  for path in "$DIR"/h*; do [ ! -d "$path" ] || detach_loops "${path##*/h}"; done
  kill_cgroup "$CGROUP"
  for net in $(lab_networks); do ip netns del "$net"; done
  rm -rf --one-file-system "$DISKS" "$DIR"
}

# Ends every process in a cgroup and below it, and removes it.
kill_cgroup() {
  local _ pid
  [ -d "$1" ] || return 0
  for _ in $(seq 250); do
    if [ -e "$1/cgroup.kill" ]; then
      echo 1 >"$1/cgroup.kill"
    else
      find "$1" -name cgroup.procs -exec cat {} + | while read -r pid; do kill -9 "$pid" 2>/dev/null || true; done
    fi
    ! grep -q 'populated 0' "$1/cgroup.events" || break
    sleep 0.02
  done
  find "$1" -depth -type d -exec rmdir {} + || fail "processes of the lab do not end: see $1"
}

# Loop devices belong to the machine, not to a namespace: those on files of host $1 are detached while its files can be told apart.
detach_loops() {
  local pid name inode device file
  pid=$(host_pid "$1") || return 0
  losetup -l -n -O NAME,BACK-INO,BACK-MAJ:MIN,BACK-FILE 2>/dev/null | while read -r name inode device file; do
    [ "$(nsenter -t "$pid" -m stat -c '%i %Hd:%Ld' "$file" 2>/dev/null)" != "$inode $device" ] || losetup -d "$name" || true
  done
}
