#!/bin/sh
# siphon's filter for libvirt's qemu hook, installed as /etc/libvirt/hooks/qemu.d/50-siphon. argv: NAME OP SUBOP EXTRA; stdin: XML.
# libvirtd holds the domain's lock while this runs, so: every wait is bounded, stdout stays empty, and the answer is 0 unless
# siphond said a whole `refuse` line. What siphond did not answer is spooled for it. AppArmor lets a hook run /usr/bin alone.
# siphon-hook version 1
run=/run/siphon
spool=/var/spool/siphon/hook
spool_max=1000

case ${2-} in
  prepare) bound=10 ;; # seconds, the budget: the longest fill_wait, unless siphond says below what its own is
  migrate | restore | release) bound=1 ;;
  *) exit 0 ;; # siphond learns the rest from libvirt's events; `reconnect` must never fail
esac
[ -e "$run/bypass" ] && exit 0

exec 3>&2 >/dev/null 2>&1
PATH=/usr/bin LC_ALL=C
export PATH LC_ALL
umask 077

# Only words of this list reach a URL or a file's name.
op=$2
case ${3-} in begin | end) subop=$3 ;; *) subop=unknown ;; esac
case ${4--} in
  -) extra=none ;;
  shutdown | destroyed | crashed | migrated | saved | failed | daemon) extra=$4 ;;
  'from snapshot') extra=from-snapshot ;;
  *) extra=unknown ;;
esac

# siphond says it by a name. Nothing of siphond's, who is not root, is ever opened here: it might be a pipe that nobody writes to.
if [ "$op" = prepare ]; then
  for told in 1 2 3 4 5 6 7 8 9 10; do
    [ -e "$run/bound/$told" ] && bound=$told
  done
fi

# A command substitution drops trailing newlines, so each ends in a mark that is cut off again.
xml=$(cat && echo .)
xml=${xml%.}

# One curl, one connection: any answer to `ready` must come within a second (a stopped siphond still accepts connections),
# then the event. While siphond decides it sends a space every 250 ms; it is given up when these cease (curl takes up to 7 s to see
# that: its rate is a mean of 5 s, with what was sent), and in any case at the end of the budget, a quarter of a second
# before which siphond answers.
ask() {
  printf '%s' "$xml" | timeout "$bound" curl -q -s -o /dev/null --fail-early --noproxy '*' --unix-socket "$run/hook.sock" \
    --max-time 1 http://siphon/v1/hook/ready --next -sf --noproxy '*' --unix-socket "$run/hook.sock" \
    --speed-limit 2 --speed-time 1 -H Expect: -H 'Content-Type: application/xml' --data-binary @- \
    "http://siphon/v1/hook/$op?subop=$subop&extra=$extra&pid=$$" 3>&-
}

# For siphond to catch up with; in memory where the spool's disk is full.
keep() { keep_in "$spool" || keep_in "$run/spool"; }

# No passwords, mode 0600 (by the umask), whole or not there. It is written beside the spool, in root's own folder, and then given
# away: whatever siphond's user puts into the spool, root follows no link and opens nothing in it.
keep_in() {
  folder=$1 part=${1%/*}/.part-$$
  [ -d "$folder" ] || { mkdir -p "$folder" && chown siphon: "$folder"; } || return
  set -- "$folder"/*.xml
  if [ $# -ge "$spool_max" ]; then
    : >"$part" && give dropped
  else
    printf '%s' "$xml" | strip >"$part" && [ -s "$part" ] && give "$(date +%s%N)-$$-$op.$subop.$extra.xml"
  fi || { rm -f "$part"; return 1; }
}

give() { chown --reference="$folder" "$part" && mv -fT "$part" "$folder/$1"; }

# As libvirt writes them: passwd='…' in either kind of quotes, and the text of <cookie>.
strip() {
  sed -zE \
    -e "s/[[:space:]]+([^[:space:]:=<>\"']*:)?(passwd|password)[[:space:]]*=[[:space:]]*('[^'<]*('|\$)|\"[^\"<]*(\"|\$))//gI" \
    -e 's/(<([^[:space:]:<>]*:)?cookie([[:space:]][^>]*)?>)[^<]*/\1/gI'
}

if ! answer=$(ask && echo .); then
  keep
  exit 0
fi
answer=${answer#"${answer%%[! 
]*}"} # the signs of life before the verdict's line
case $op,$answer in
  *,'allow
.') ;;
  prepare,'refuse '*'
.' | migrate,'refuse '*'
.' | restore,'refuse '*'
.')
    answer=${answer%??}
    printf '%s\n' "${answer#refuse }" >&3
    exit 1
    ;;
  *) keep ;; # no verdict: somebody else answered
esac
exit 0
