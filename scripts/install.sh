#!/bin/bash
# install.sh [--destdir DIR]: puts what `npm run build` made, Node and the units where they belong, and starts siphon.
#   Idempotent: run it again after a new build. An existing /etc/siphon/siphon.toml is left as it is.
#   The hook of libvirt is a step of its own: /usr/lib/siphon/install-hook.sh install
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
destdir=
while [ $# -gt 0 ]; do
  case $1 in
  --destdir) destdir=${2:?--destdir needs a folder}; shift 2 ;;
  -h | --help) sed -n 2,4p "$0"; exit 0 ;;
  *) echo "install.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
done
[ "$(id -u)" = 0 ] || { echo "install.sh: run it as root" >&2; exit 1; }
[ -e "$here/dist/siphond.mjs" ] || { echo "install.sh: nothing is built in $here/dist: npm run build" >&2; exit 1; }
node=$here/node_modules/node/bin/node
[ -x "$node" ] || { echo "install.sh: no $node: npm ci --ignore-scripts" >&2; exit 1; }

lib=$destdir/usr/lib/siphon units=$destdir/usr/lib/systemd/system
# Beside the old one first, then swapped: a siphond that starts meanwhile sees one whole version.
rm -rf "$lib.new" "$lib.old"
mkdir -p "$lib.new/bin" "$units" "$destdir/usr/bin"
cp -a "$here/dist/." "$lib.new/"
cp "$node" "$lib.new/bin/node"
{ echo '#!/usr/lib/siphon/bin/node'; cat "$here/dist/siphon.mjs"; } >"$lib.new/siphon"
chmod 755 "$lib.new/siphon" "$lib.new/bin/node"
rm "$lib.new/siphon.mjs"
install -m 755 "$here/src/hook/siphon-hook.sh" "$here/scripts/install-hook.sh" "$lib.new/"
if [ -e "$lib" ]; then mv "$lib" "$lib.old"; fi
mv "$lib.new" "$lib"
rm -rf "$lib.old"
ln -sfn ../lib/siphon/siphon "$destdir/usr/bin/siphon"
install -m 644 "$here"/systemd/*.service "$here"/systemd/*.socket "$here"/systemd/*.timer "$here"/systemd/*.mount "$units/"

install -d -m 755 "$destdir/etc/siphon" "$destdir/etc/siphon/trust" "$destdir/etc/siphon/policies.d" \
  "$destdir/var/lib/siphon" "$destdir/var/lib/siphon/bases-rw" "$destdir/var/lib/siphon/bases"
install -d -m 700 "$destdir/var/spool/siphon" "$destdir/var/spool/siphon/hook"
[ -e "$destdir/etc/siphon/siphon.toml" ] || install -m 644 "$here/scripts/siphon.toml" "$destdir/etc/siphon/siphon.toml"

[ -z "$destdir" ] && [ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
systemctl --quiet enable siphond.service siphond.socket siphon-hook.socket var-lib-siphon-bases.mount siphon-evict.timer
for unit in var-lib-siphon-bases.mount siphond.socket siphon-hook.socket siphon-evict.timer; do
  systemctl --quiet is-active "$unit" || systemctl start "$unit"
done
systemctl restart siphond.service
echo "siphon $(siphon --version) is installed and running: siphon status"
