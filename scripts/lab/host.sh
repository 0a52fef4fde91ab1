# shellcheck shell=bash
# One host: a Debian in namespaces (mount, PID, network, UTS, IPC, cgroup) on an overlay of the rootfs that goes with
# the lab. Sourced by lab.sh.

# Prints the release of host h$1: RELEASE is a list, whose last one is that of all further hosts.
release_of() {
  local releases
  IFS=, read -r -a releases <<<"$RELEASE"
  echo "${releases[$(($1 <= ${#releases[@]} ? $1 - 1 : ${#releases[@]} - 1))]}"
}

# Builds what is missing of the releases, all at once: each waits for the network and for one processor.
ensure_all_rootfs() {
  local release job jobs=()
  for release in $(tr , '\n' <<<"$RELEASE" | sort -u); do
    ensure_rootfs "$release" & jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || exit 1; done
}

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

# Makes what host h$1 keeps while it is off (its place on the switch, its disk), and boots it.
start_host() {
  local n=$1 state=$DIR/h$1 disk=$DISKS/h$1 rootfs
  rootfs=$(rootfs_path "$(release_of "$n")")
  mkdir -p "$state"/{root,etc} "$disk"/{siphon,disk}
  ip netns add "$NET-h$n"
  ip -n "$NET-h$n" link set lo up
  ip -n "$NET" link add "h$n" type veth peer name eth0 netns "$NET-h$n"
  ip -n "$NET" link set "h$n" master br0 up
  ip -n "$NET-h$n" addr add "10.77.0.$n/24" dev eth0
  ip -n "$NET-h$n" link set eth0 up
  in_environment "$n" ROOTFS="$rootfs" setsid unshare -m "$LAB/host-root" </dev/null >"$state/log" 2>&1 &
  note_process "$state/keeper" $! sleep && boot_host "$n"
}

# Boots host h$1, which is off: a new PID 1 on the root file system of its former life.
boot_host() {
  local n=$1 state=$DIR/h$1 keeper controller _
  keeper=$(noted_process "$state/keeper") || return 1
  # what systemd left of its former groups is in the way of the first process
  kill_cgroup "$CGROUP/h$n"
  mkdir -p "$CGROUP/h$n/lab-exec"
  # what the machine's cgroups can limit, the host's can
  while read -r -d ' ' controller; do
    [ -z "$controller" ] || echo "+$controller" >"$CGROUP/cgroup.subtree_control" || true
  done < <(tr '\n' ' ' <"$CGROUP/cgroup.controllers")
  # the first process in the group, so that all others are in it
  # shellcheck disable=SC2016 # the inner shell's
  in_environment "$n" setsid bash -c 'echo $$ >"$1/cgroup.procs" &&
      exec nsenter "--mount=/proc/$2/ns/mnt" "--net=/run/netns/$3" unshare -m -u -i -p -C --fork --kill-child "$4"' \
    - "$CGROUP/h$n" "$keeper" "$NET-h$n" "$LAB/host-init" </dev/null >>"$state/log" 2>&1 &
  note_process "$state/pid" $! systemd
}

# Runs a command that makes host h$1; where things are is in its environment, and nothing else.
in_environment() {
  local n=$1
  exec env -i PATH="$PATH" NAME="h$n" STATE="$DIR/h$n" COMMON="$DIR/etc" DISK="$DISKS/h$n" CACHE="$CACHE" PROJECT="$PROJECT" "${@:2}"
}

# Waits until process $2, or a child of it, has become program $3, and notes which in file $1, with its start time: a number may be used again.
note_process() {
  local pid _
  for _ in $(seq 500); do
    for pid in "$2" $(pgrep -P "$2"); do
      [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$3" ] || continue
      echo "$pid $(start_time "$pid")" >"$1"
      return 0
    done
    [ -d "/proc/$2" ] || break
    sleep 0.02
  done
  return 1
}

# When process $1 started, in ticks since the machine's boot.
start_time() {
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

# Prints the process that file $1 notes; fails if that does not run.
noted_process() {
  local pid start
  read -r pid start 2>/dev/null <"$1" || return 1
  [ "$(start_time "$pid")" = "$start" ] && echo "$pid"
}

# Prints the process that is PID 1 of host h$1; fails if that is not running.
host_pid() { noted_process "$DIR/h$1/pid"; }

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
  local n=$1 pid release folder=/root
  shift
  pid=$(host_pid "$n") || fail "h$n does not run in $DIR"
  case $PWD/ in "$PROJECT"/*) folder=$PWD ;; esac
  release=$(RELEASE=$(sed 's/^release=\([^ ]*\).*/\1/' "$DIR/shape") && release_of "$n")
  sh -c 'echo $PPID' >"$CGROUP/h$n/lab-exec/cgroup.procs"
  exec nsenter -t "$pid" -m -u -i -n -p -C -- setpriv --pdeathsig TERM env -i -C "$folder" HOME=/root USER=root LANG=C.UTF-8 \
    TERM="${TERM:-dumb}" SIPHON_LAB_CACHE="$CACHE" SIPHON_LAB_RELEASE="$release" \
    PATH="$PROJECT/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}
