#!/bin/bash
# install.sh [--destdir DIR]: puts what `npm run build` made, Node and the units where they belong, and starts siphon.
#   With --destdir all goes under DIR, nothing is started, and any user will do: the Debian package is made of it.
#   Idempotent: run it again after a new build. An existing /etc/siphon/siphon.toml is left as it is.
#   The hook of libvirt is a step of its own: /usr/lib/siphon/install-hook.sh install
set -euo pipefail
umask 022
here=$(cd "$(dirname "$0")/.." && pwd)
destdir=
while [ $# -gt 0 ]; do
  case $1 in
  --destdir) destdir=${2:?--destdir needs a folder}; shift 2 ;;
  -h | --help) sed -n 2,5p "$0"; exit 0 ;;
  *) echo "install.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
done
[ -n "$destdir" ] || [ "$(id -u)" = 0 ] || { echo "install.sh: run it as root" >&2; exit 1; }
[ -e "$here/dist/siphond.mjs" ] || { echo "install.sh: nothing is built in $here/dist: npm run build" >&2; exit 1; }
node=$here/node_modules/node/bin/node
[ -x "$node" ] || { echo "install.sh: no $node: npm ci --ignore-scripts" >&2; exit 1; }
# What dpkg put there is dpkg's to change.
if [ -z "$destdir" ] && [ "$(dpkg-query -W -f '${db:Status-Status}' siphon 2>/dev/null)" = installed ]; then
  echo "install.sh: siphon is installed as a Debian package: install a newer one (npm run package), or remove it first" >&2
  exit 1
fi

lib=$destdir/usr/lib/siphon units=$destdir/usr/lib/systemd/system
# Beside the old one first, then swapped: a siphond that starts meanwhile sees one whole version.
rm -rf "$lib.new" "$lib.old"
mkdir -p "$lib.new" "$units" "$destdir/usr/bin"
# Times alone: whoever built it, and with whatever umask, it is root's and not for others to write.
cp -RP --preserve=timestamps "$here/dist/." "$lib.new/"
find "$lib.new" -name '*.deb' -delete
find "$lib.new" -type d -empty -delete
find "$lib.new" -type d -exec chmod 755 {} + -o -exec chmod 644 {} +
install -D -m 755 "$node" "$lib.new/bin/node"
{ echo '#!/usr/lib/siphon/bin/node'; cat "$here/dist/siphon.mjs"; } >"$lib.new/siphon"
chmod 755 "$lib.new/siphon"
rm "$lib.new/siphon.mjs"
install -m 755 "$here/src/hook/siphon-hook.sh" "$here/scripts/install-hook.sh" "$lib.new/"
if [ -e "$lib" ]; then mv "$lib" "$lib.old"; fi
mv "$lib.new" "$lib"
rm -rf "$lib.old"
ln -sfn ../lib/siphon/siphon "$destdir/usr/bin/siphon"
install -D -m 644 "$here/systemd/siphon.sysusers.conf" "$destdir/usr/lib/sysusers.d/siphon.conf"
install -D -m 644 "$here/systemd/siphon.tmpfiles.conf" "$destdir/usr/lib/tmpfiles.d/siphon.conf"
# polkitd reads a rule as soon as it sees its name, and does not look again: it has to be complete by then, and readable.
rules=$destdir/usr/share/polkit-1/rules.d
install -D -m 644 "$here/systemd/siphon.polkit.rules" "$rules/.50-siphon.rules.new"
mv "$rules/.50-siphon.rules.new" "$rules/50-siphon.rules"
install -D -m 644 "$here/debian/apparmor.libvirt-qemu" "$destdir/usr/share/siphon/apparmor/libvirt-qemu"
install -m 644 "$here"/systemd/*.service "$here"/systemd/*.socket "$here"/systemd/*.timer "$here"/systemd/*.mount "$units/"

install -d -m 755 "$destdir/etc/siphon" "$destdir/etc/siphon/trust" "$destdir/etc/siphon/policies.d" "$destdir/etc/siphon/conf.d" \
  "$destdir/var/lib/siphon" "$destdir/var/lib/siphon/bases-rw" "$destdir/var/lib/siphon/bases" "$destdir/var/spool/siphon"
[ -e "$destdir/etc/siphon/siphon.toml" ] || install -m 644 "$here/scripts/siphon.toml" "$destdir/etc/siphon/siphon.toml"

[ -z "$destdir" ] && [ -d /run/systemd/system ] || exit 0
systemd-sysusers siphon.conf
systemd-tmpfiles --create siphon.conf
systemctl daemon-reload
systemctl --quiet enable siphond.service siphond.socket siphon-hook.socket siphon-read.socket siphon-libvirt.socket var-lib-siphon-bases.mount siphon-evict.timer siphon-prune.timer siphon-scrub.timer
for unit in var-lib-siphon-bases.mount siphon-evict.timer siphon-prune.timer siphon-scrub.timer; do
  systemctl --quiet is-active "$unit" || systemctl start "$unit"
done
# Its sockets come with it: one that an older version did not have cannot be started beside a siphond that runs.
systemctl restart siphond.service
echo "siphon $(siphon --version) is installed and running: siphon status"
