# shellcheck shell=bash
# One host: a Debian in namespaces (mount, PID, network, UTS, IPC, cgroup) on a throwaway overlay of the rootfs. Sourced by lab.sh.

# The hosts' switch, in a network namespace of its own: nothing leaves this machine.
make_switch() {
  ip netns add "$NET"
  ip -n "$NET" link set lo up
  ip -n "$NET" link add br0 type bridge
  ip -n "$NET" link set br0 up
}

# Files that every host gets into its /etc.
make_common_files() {
  local n etc=$DIR/etc
  mkdir -p "$etc/systemd/system/sockets.target.wants" "$etc/ceph" "$etc/libvirt/secrets"
  chmod 700 "$etc/libvirt/secrets"
  echo '127.0.0.1 localhost' >"$etc/hosts"
  for ((n = 1; n <= HOSTS; n++)); do echo "10.77.0.$n h$n" >>"$etc/hosts"; done
  # reports crashes with a key that no lab has
  ln -s /dev/null "$etc/systemd/system/ceph-crash.service"
  # migration between hosts goes over plain TCP
  ln -s /usr/lib/systemd/system/libvirtd-tcp.socket "$etc/systemd/system/sockets.target.wants/"
}

# Starts host h$1 and notes the process that is its PID 1, with its start time: a number may be used again.
start_host() {
  local n=$1 state=$DIR/h$1 disk=$DISKS/h$1 outer pid controller _
  mkdir -p "$state"/{root,etc} "$disk"/{siphon,disk} "$CGROUP/h$n/lab-exec"
  # what the machine's cgroups can limit, the host's can
  while read -r -d ' ' controller; do
    [ -z "$controller" ] || echo "+$controller" >"$CGROUP/cgroup.subtree_control" || true
  done < <(tr '\n' ' ' <"$CGROUP/cgroup.controllers")
  ip netns add "$NET-h$n"
  ip -n "$NET-h$n" link set lo up
  ip -n "$NET" link add "h$n" type veth peer name eth0 netns "$NET-h$n"
  ip -n "$NET" link set "h$n" master br0 up
  ip -n "$NET-h$n" addr add "10.77.0.$n/24" dev eth0
  ip -n "$NET-h$n" link set eth0 up
  # the lock on the rootfs keeps it from being removed as an old one; the first process in the group, so that all others are in it
  # shellcheck disable=SC2016 # the inner shell's
  env -i PATH="$PATH" NAME="h$n" STATE="$state" COMMON="$DIR/etc" ROOTFS="$ROOTFS" DISK="$disk" CACHE="$CACHE" PROJECT="$PROJECT" \
    setsid bash -c 'echo $$ >"$1/cgroup.procs" && exec 8<"$ROOTFS" && flock -s 8 &&
      exec nsenter "--net=/run/netns/$2" unshare -m -u -i -p -C --fork --kill-child "$3"' \
    - "$CGROUP/h$n" "$NET-h$n" "$LAB/host-init" </dev/null >"$state/log" 2>&1 &
  outer=$!
  for _ in $(seq 500); do
    if pid=$(pgrep -P $outer -x systemd); then
      echo "$pid $(start_time "$pid")" >"$state/pid"
      return 0
    fi
    [ -d "/proc/$outer" ] || break
    sleep 0.02
  done
  return 1
}

# When process $1 started, in ticks since the machine's boot.
start_time() {
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

# Prints the process that is PID 1 of host h$1; fails if that is not running.
host_pid() {
  local pid start
  read -r pid start 2>/dev/null <"$DIR/h$1/pid" || return 1
  [ "$(start_time "$pid")" = "$start" ] && echo "$pid"
}

# Waits until host h$1 has booted, and says so.
await_host() {
  local state='' _
  for _ in $(seq 500); do
    state=$( (enter_host "$1" timeout 60 systemctl is-system-running --wait) 2>/dev/null) || true
    case $state in
      running) say "h$1 runs at 10.77.0.$1"; return 0 ;;
      degraded) say "h$1 runs at 10.77.0.$1, but for $( (enter_host "$1" systemctl --failed --plain --no-legend) | cut -d' ' -f1 | xargs)"; return 0 ;;
    esac
    host_pid "$1" >/dev/null || break
    sleep 0.02
  done
  say "h$1 does not boot (systemd says: ${state:-nothing})"
  return 1
}

# Becomes a command in host h$1, in its cgroup, in the folder where we are if that is the project's. Ends with us.
enter_host() {
  local n=$1 pid folder=/root
  shift
  pid=$(host_pid "$n") || fail "h$n does not run in $DIR"
  case $PWD/ in "$PROJECT"/*) folder=$PWD ;; esac
  sh -c 'echo $PPID' >"$CGROUP/h$n/lab-exec/cgroup.procs"
  exec nsenter -t "$pid" -m -u -i -n -p -C -- setpriv --pdeathsig TERM env -i -C "$folder" HOME=/root USER=root LANG=C.UTF-8 \
    TERM="${TERM:-dumb}" SIPHON_LAB_CACHE="$CACHE" \
    PATH="$PROJECT/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}
