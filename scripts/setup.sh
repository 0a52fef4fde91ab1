#!/bin/bash
# setup.sh: all that "npm test" and "npm run demo" need on a Debian machine with Node 20 and npm: Debian packages, node_modules, the
# laboratory's rootfs. npm's scripts call it, nobody else has to. With nothing to do it says nothing and takes a moment.
#   setup.sh [--releases | --no-lab]    --releases: the rootfs of each release that is tested, and what looks over the package and the
#                                       metrics; else the rootfs of one
#                                       --no-lab: only what building siphon needs, for a hypervisor that is to run it
set -euo pipefail

SCRIPTS=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
cd "${SCRIPTS%/*}"

# What docs/lab.md names, and no more.
PACKAGES=(mmdebstrap debian-archive-keyring iproute2 util-linux mount procps openssl
  libatomic1) # Node's

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

RELEASES=trixie
case ${1-} in
  '') ;;
  --releases) RELEASES=trixie,bookworm,forky PACKAGES+=(lintian) ;;
  --no-lab) RELEASES='' PACKAGES=(libatomic1) ;;
  *) say "unknown argument: $1 (there are --releases and --no-lab)"; exit 2 ;;
esac

# Prints those of PACKAGES that are not installed.
missing_packages() {
  local installed
  # dpkg-query fails if one is unknown to it, and still prints the others
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${PACKAGES[@]}" 2>/dev/null || true)
  comm -23 <(printf '%s\n' "${PACKAGES[@]}" | sort) <(sed -n 's/^installed //p' <<<"$installed" | sort)
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >&2 || fail "apt-get update failed: is this machine's Debian mirror reachable?"
  apt-get install -q -y --no-install-recommends "${missing[@]}" >&2 || fail "apt-get could not install: ${missing[*]}"
}

# node_modules holds the hash of what it was made from; it is written last, so a half-made one is made again.
install_modules() {
  local stamp=node_modules/.siphon-setup hash
  hash=$(cat package.json package-lock.json packages/*/package.json | sha256sum | cut -d' ' -f1)
  [ "$(cat $stamp 2>/dev/null)" != "$hash" ] || return 0
  command -v npm >/dev/null || fail "npm is missing: Node 20 or later with npm is needed"
  say "installing node_modules"
  # npm puts node_modules/.bin first, and this replaces the Node there
  PATH=${PATH//"$PWD/node_modules/.bin:"/}
  npm ci --ignore-scripts --no-audit --no-fund >&2 || fail "npm ci failed"
  # the one install script that is needed: it puts the Node that everything here runs on into node_modules/.bin
  npm rebuild node >&2 || fail "Node could not be installed from the npm registry"
  node_modules/.bin/node --version >/dev/null || fail "node_modules/.bin/node does not run on this machine"
  echo "$hash" >$stamp
}

# Debian's promtool alone: its package would start a server here.
install_promtool() {
  local folder
  [ ! -x node_modules/.bin/promtool ] || return 0
  say "fetching promtool"
  folder=$(mktemp -d)
  (
    cd "$folder"
    download() { apt-get -q -o APT::Sandbox::User=root download prometheus >&2; }
    download || { apt-get update -q >&2 && download; }
    dpkg-deb --fsys-tarfile prometheus_*.deb | tar x ./usr/bin/promtool
  ) || fail "promtool could not be fetched from Debian's package prometheus"
  mv "$folder/usr/bin/promtool" node_modules/.bin/
  rm -r "$folder"
}

# OpenStack's verifier, for the tests to be compared with: Python alone, which uses the hosts' python3-cryptography. What its package
# depends on it does not need there.
install_cursive() {
  local folder
  [ ! -d node_modules/.cursive ] || return 0
  say "fetching python3-cursive"
  folder=$(mktemp -d)
  (
    cd "$folder"
    download() { apt-get -q -o APT::Sandbox::User=root download python3-cursive >&2; }
    download || { apt-get update -q >&2 && download; }
    dpkg-deb -x python3-cursive_*.deb .
  ) || fail "python3-cursive could not be fetched from Debian"
  mv "$folder/usr/lib/python3/dist-packages" node_modules/.cursive
  rm -r "$folder"
}

[ "$(id -u)" = 0 ] || fail "root is needed: packages are installed, and the laboratory makes namespaces, mounts and network switches"
{ [ -e /etc/debian_version ] && command -v apt-get >/dev/null; } || fail "a Debian machine is needed"
[ "$(uname -m)" = x86_64 ] || fail "an x86_64 machine is needed"
install_packages
install_modules
case $RELEASES in *,*) install_promtool; install_cursive ;; esac
[ -z "$RELEASES" ] || exec bash "$SCRIPTS/lab.sh" build --release "$RELEASES"
