#!/bin/bash
# lab.sh: a laboratory of whole Debian hypervisors on this machine: systemd, libvirtd and QEMU in each, a Ceph in the first.
#
#   lab.sh up [--hosts N] [--mons N] [--clusters N] [--release R[,R...]] [--dir D]
#   lab.sh exec HOST [--dir D] -- CMD...    runs CMD in HOST (h1..hN) as root; its exit code is lab.sh's
#   lab.sh boot HOST [--dir D]              boots HOST again, which was powered off (exec HOST -- systemctl poweroff), on its own disk
#   lab.sh status [--dir D]                 exit code 0: the lab is up; 3: it is not
#   lab.sh down [--dir D]                   removes the lab, or what a killed run left of it
#   lab.sh build [--release R[,R...]]       makes the rootfs and the guest of each release, if they are not there
#
# --dir D says which lab (default: /run/siphon-lab/default). R is bookworm, trixie or forky; of several, the first is h1's, and so on,
# and the last one is that of all further hosts. Not said: SIPHON_LAB_RELEASE, else trixie.
# SIPHON_LAB_CACHE (default: /var/cache/siphon-lab) keeps what is built, and the hosts' disks. docs/lab.md tells the rest.
set -euo pipefail

SCRIPTS=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck disable=SC2034 # the pieces'
PROJECT=${SCRIPTS%/*} LAB=$SCRIPTS/lab
# shellcheck disable=SC2034 # the pieces'
CACHE=$(realpath -m "${SIPHON_LAB_CACHE:-/var/cache/siphon-lab}")
DIR=/run/siphon-lab/default RELEASE=${SIPHON_LAB_RELEASE:-trixie} HOSTS=1 MONS=1 CLUSTERS=1 ARGS=()

say() { echo "lab: $*" >&2; }
fail() { say "$*"; exit 1; }
misuse() { say "$*"; say "lab.sh --help tells how to use it"; exit 2; }

for piece in rootfs host ceph state; do
  # shellcheck source=/dev/null
  . "$LAB/$piece.sh"
done

# Reads the options after the command, of which "$1" names those that it takes; others than options go to ARGS.
read_options() {
  local allowed=$1
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      --) shift; ARGS+=("$@"); break ;;
      --hosts | --mons | --clusters | --release | --dir)
        case " $allowed " in *" $1 "*) ;; *) misuse "$1 is not an option of this command" ;; esac
        [ $# -ge 2 ] || misuse "$1 needs a value"
        case $1 in
          --hosts) HOSTS=$(count "$1" "$2" 20) ;;
          --mons) MONS=$(count "$1" "$2" 9) ;;
          --clusters) CLUSTERS=$(count "$1" "$2" 5) ;;
          --release) RELEASE=$2 ;;
          --dir) DIR=$2 ;;
        esac
        shift 2 ;;
      -*) misuse "unknown option: $1" ;;
      *) ARGS+=("$1"); shift ;;
    esac
  done
  [[ ,$RELEASE =~ ^(,(bookworm|trixie|forky))+$ ]] || misuse "--release: bookworm, trixie or forky, or a list of these, not '$RELEASE'"
  [ -n "$DIR" ] || misuse "--dir: a folder is needed"
  name_lab
}

# Prints $2, the value of option $1, if it is a number from 1 to $3.
count() {
  { [[ $2 =~ ^[1-9][0-9]?$ ]] && [ "$2" -le "$3" ]; } || misuse "$1: a number from 1 to $3 is needed, not '$2'"
  echo "$2"
}

no_arguments() { [ ${#ARGS[@]} -eq 0 ] || misuse "unexpected: ${ARGS[*]}"; }
need_root() { [ "$(id -u)" = 0 ] || fail "root is needed"; }

lab_up() {
  no_arguments
  need_root
  local shape="release=$RELEASE hosts=$HOSTS mons=$MONS clusters=$CLUSTERS" worker
  lock_lab
  if lab_is_up; then
    [ "$(cat "$DIR/shape")" = "$shape" ] || fail "another lab is up in $DIR ($(cat "$DIR/shape")): lab.sh down --dir $DIR"
    say "up already: $DIR ($shape)"
    return
  fi
  ! lab_has_traces || { say "removing what is left of a former lab"; remove_lab; lock_lab; }
  ensure_all_rootfs
  trap 'trap "" INT TERM HUP; say "interrupted"; remove_lab; exit 130' INT TERM HUP
  mkdir -p "$CGROUP/up"
  echo "$ID" >"$DIR/siphon-lab"
  echo "$shape" >"$DIR/shape"
  # in the lab's own cgroup, and without the lock: should this run be killed, the next one finds and ends whatever it had started
  (
    trap - INT TERM HUP
    exec 9<&-
    echo $BASHPID >"$CGROUP/up/cgroup.procs"
    bring_up
  ) &
  worker=$!
  wait $worker || { remove_lab; fail "the lab did not come up"; }
  touch "$DIR/up"
  trap - INT TERM HUP
  say "up in ${SECONDS} s: $DIR ($shape)"
}

# Everything at once: hosts boot while Ceph starts.
bring_up() {
  local n k jobs=() job
  make_switch
  make_common_files
  for ((k = 1; k <= CLUSTERS; k++)); do make_cluster_files "$k"; done
  for ((n = 1; n <= HOSTS; n++)); do
    start_host "$n" || fail "h$n does not start: $(tail -n 5 "$DIR/h$n/log")"
    await_host "$n" & jobs+=($!)
    [ "$n" != 1 ] || for ((k = 1; k <= CLUSTERS; k++)); do await_cluster "$k" & jobs+=($!); done
  done
  for job in "${jobs[@]}"; do wait "$job" || exit 1; done
}

# The number of the host that the first argument names; $1 is the command.
host_number() {
  [ ${#ARGS[@]} -ge 1 ] || misuse "$1: which host?"
  [[ ${ARGS[0]} =~ ^h([1-9][0-9]*)$ ]] || misuse "$1: a host is h1, h2 ..., not '${ARGS[0]}'"
  [ -e "$DIR/shape" ] || fail "no lab in $DIR: lab.sh up --dir $DIR"
  n=${BASH_REMATCH[1]}
}

lab_exec() {
  local n
  need_root
  [ ${#ARGS[@]} -ne 1 ] || misuse "exec: which command?"
  host_number exec
  enter_host "$n" "${ARGS[@]:1}"
}

lab_boot() {
  local n
  need_root
  [ ${#ARGS[@]} -le 1 ] || misuse "unexpected: ${ARGS[*]:1}"
  host_number boot
  lock_lab
  [ -e "$DIR/h$n/keeper" ] || fail "there is no h$n in $DIR"
  ! host_pid "$n" >/dev/null || fail "h$n runs: lab.sh exec h$n --dir $DIR -- systemctl poweroff"
  # without the lock: the host holds whatever its first process holds
  (exec 9<&- && boot_host "$n" && await_host "$n") || fail "h$n does not boot: $(tail -n 5 "$DIR/h$n/log")"
}

lab_down() {
  no_arguments
  need_root
  if [ ! -d "$DIR" ] && ! lab_has_traces; then say "nothing to do: no lab in $DIR"; return; fi
  lock_lab
  remove_lab
  say "down: $DIR"
}

lab_status() {
  no_arguments
  [ -e "$DIR/shape" ] || { echo "no lab in $DIR"; exit 3; }
  local n state=up
  lab_is_up || state="not up"
  echo "$DIR: $state ($(cat "$DIR/shape"))"
  for ((n = 1; n <= $(sed 's/.*hosts=\([0-9]*\).*/\1/' "$DIR/shape"); n++)); do
    if host_pid "$n" >/dev/null; then echo "h$n 10.77.0.$n running"; else echo "h$n 10.77.0.$n off"; fi
  done
  [ "$state" = up ] || exit 3
}

case ${1:-} in
  up) read_options "--hosts --mons --clusters --release --dir" "${@:2}"; lab_up ;;
  exec) read_options "--dir" "${@:2}"; lab_exec ;;
  boot) read_options "--dir" "${@:2}"; lab_boot ;;
  down) read_options "--dir" "${@:2}"; lab_down ;;
  status) read_options "--dir" "${@:2}"; lab_status ;;
  build) read_options "--release" "${@:2}"; no_arguments; need_root; ensure_all_rootfs ;;
  "" | -h | --help | help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" ;;
  *) misuse "unknown command: $1" ;;
esac
