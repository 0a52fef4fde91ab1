#!/bin/sh
# Installs siphon's filter among libvirt's qemu hooks: install-hook.sh install|status|uninstall [--prefix DIR].
# Other hooks are left alone; libvirt is reloaded, never restarted, and only where it has to see its first hook.
# With --prefix all paths are under DIR, nothing is reloaded, and any user will do: for packaging and tests.
set -eu

usage() {
  echo "usage: install-hook.sh install|status|uninstall [--prefix DIR]" >&2
  exit 2
}
fail() {
  echo "install-hook.sh: $*" >&2
  exit 1
}

command=${1-}
prefix=
case $# in
  1) ;;
  3)
    if [ "$2" != --prefix ] || [ -z "$3" ]; then usage; fi
    prefix=${3%/}
    ;;
  *) usage ;;
esac

hooks=$prefix/etc/libvirt/hooks
hook=$hooks/qemu.d/50-siphon
spool=$prefix/var/spool/siphon/hook
made=$prefix/var/spool/siphon/made-folders # those that were not there before
here=$(cd "$(dirname "$0")" && pwd)

# The filter stands beside this script, in the source tree, or where siphon is installed.
find_source() {
  for source in "$here/siphon-hook.sh" "$here/../src/hook/siphon-hook.sh" /usr/lib/siphon/siphon-hook.sh; do
    [ -f "$source" ] && return
  done
  fail "siphon-hook.sh is neither beside this script nor in /usr/lib/siphon"
}

need_root_and_libvirt() {
  [ -n "$prefix" ] && return
  [ "$(id -u)" = 0 ] || fail "only root may change libvirt's hooks: run it with sudo"
  [ -d /etc/libvirt ] || fail "there is no /etc/libvirt: install libvirt first (Debian: libvirt-daemon-system)"
}

daemons() {
  for unit in libvirtd.service virtqemud.service; do
    if systemctl -q is-active "$unit" 2>/dev/null; then echo "$unit"; fi
  done
}

# libvirt looks whether there is any hook when it starts and when it is reloaded; from then on changes in qemu.d count at
# once. So a daemon calls hooks if one was there when it last looked. Times are microseconds since the epoch.
is_seen_by() {
  looked=$(date -d "$(systemctl show -P StateChangeTimestamp --timestamp=us+utc "$1")" +%s%6N) || return 1
  for each in "$hooks/qemu" "$hooks"/qemu.d/*; do
    if [ ! -f "$each" ] || [ ! -x "$each" ]; then continue; fi
    # Our own keeps its mtime when it is replaced: when it first came. Of another, only ctime is sure.
    if [ "$each" = "$hook" ]; then came=$(stat -c %.6Y "$each"); else came=$(stat -c %.6Z "$each"); fi
    [ "${came%.*}${came#*.}" -le "$looked" ] && return
  done
  return 1
}

# Not by a daemon that is down: it looks when it starts.
unseen_by() {
  [ -n "$prefix" ] && return
  for unit in $(daemons); do
    is_seen_by "$unit" || echo "$unit"
  done
}

reload_where_unseen() {
  for unit in $(unseen_by); do
    # It waits for a hook that runs, and each of ours ends by its own bounds.
    systemctl reload "$unit" || fail "'systemctl reload $unit' failed: it does not call the hook before its next start"
    echo "reloaded $unit: it had no hook before"
  done
}

# libvirt runs every executable file of the folder, an editor's backup too.
warn_of_copies() {
  for each in "$hooks"/qemu.d/*siphon*; do
    if [ "$each" != "$hook" ] && [ -f "$each" ] && [ -x "$each" ]; then
      echo "warning: $each is executable, so libvirt runs it too: remove it" >&2
    fi
  done
}

is_regular() { [ -f "$hook" ] && [ ! -L "$hook" ] && [ -x "$hook" ]; }

install_hook() {
  find_source
  need_root_and_libvirt
  warn_of_copies
  make_spool
  for folder in "$hooks" "$hooks/qemu.d"; do
    [ -d "$folder" ] || { mkdir -p "$folder" && echo "$folder" >>"$made"; }
  done
  if is_regular && cmp -s "$source" "$hook"; then
    echo "already installed: $hook"
  else
    put_in_place
    echo "installed: $hook"
  fi
  reload_where_unseen
}

# siphond's own, where there is its user.
make_spool() {
  mkdir -p "${spool%/*}"
  [ -d "$spool" ] || mkdir -m 700 "$spool"
  if [ -z "$prefix" ] && id -u siphon >/dev/null 2>&1; then chown -h siphon:siphon "$spool"; fi
}

# A regular file (AppArmor), whole when it gets its name. Made outside qemu.d, where libvirt would run it by any name.
put_in_place() {
  part=$hooks/.50-siphon.$$
  trap 'rm -f "$part"' EXIT
  install -m 755 "$source" "$part"
  if is_regular; then touch -r "$hook" "$part"; fi
  mv -fT "$part" "$hook"
  trap - EXIT
}

show_status() {
  find_source
  warn_of_copies
  [ -e "$hook" ] || [ -L "$hook" ] || fail "not installed: $hook"
  is_regular || fail "installed, but not as an executable regular file, so libvirt or AppArmor refuses it: $hook"
  cmp -s "$source" "$hook" || fail "installed, but another version than $source: run 'install-hook.sh install'"
  unseen=$(unseen_by)
  [ -z "$unseen" ] || fail "installed, but not seen yet: run 'systemctl reload $unseen'"
  echo "installed and seen: $hook"
}

uninstall_hook() {
  need_root_and_libvirt
  warn_of_copies
  if [ -e "$hook" ] || [ -L "$hook" ]; then
    rm -f "$hook"
    echo "removed: $hook"
  else
    echo "not installed: $hook"
  fi
  # Others may have put theirs in since.
  if [ -f "$made" ]; then
    sort -r "$made" | while read -r folder; do rmdir "$folder" 2>/dev/null || true; done
    rm -f "$made"
  fi
  # Events that wait in it are siphond's to take; it stays with them.
  rmdir "$spool" 2>/dev/null || true
}

case $command in
  install) install_hook ;;
  status) show_status ;;
  uninstall) uninstall_hook ;;
  *) usage ;;
esac
