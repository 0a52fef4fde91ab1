// What looks at the second clones of a set's disks, in the guest: POSIX sh, run by its agent with the disks' targets as arguments. It
// prints a line for each filesystem: target, partition, type, result and text, with tabs between. A clone may be written: a journal has
// to be replayed before a check says anything. What is made of several devices, or is known by an id that the guest's own disks have, is
// only named: a second one confuses the guest's kernel.

import type { CheckedFilesystem } from '../../wire/verify-api.ts';

export const CHECK_SCRIPT = String.raw`
PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 077
modprobe -a virtio_scsi sd_mod 2>/dev/null
at=/run/siphon-check.$$
mkdir -p "$at" || exit 1

tell() {
  text=$(printf '%s' "$2" | tr '\t\n\r' '   ' | cut -c1-300)
  printf '%s\t%s\t%s\t%s\t%s\n' "$target" "$number" "$type" "$1" "$text"
}
read_word() { tr -d ' \n' <"$1" 2>/dev/null; }

find_disk() {
  for each in /sys/block/*; do
    [ "$(read_word "$each/device/vendor")" = SIPHON ] || continue
    [ "$(read_word "$each/device/model")" = "$target" ] || continue
    disk=$(basename "$each")
    [ -b "/dev/$disk" ] && return 0
  done
  return 1
}
await_disk() {
  tries=0
  until find_disk; do
    tries=$((tries + 1))
    [ "$tries" -le 20 ] || return 1
    sleep 1
  done
}

# $1: the device, $2: options. Reads the root folder: that it can be mounted does not say that it can be read.
mounts() {
  said=$(mount -t "$type" -o "$2" "$1" "$at" 2>&1) || { tell no-mount "$said"; return 1; }
  said=$(ls -a "$at" 2>&1) && listed=yes || listed=no
  umount "$at" 2>/dev/null || { sleep 1; umount "$at"; } || { tell unchecked 'it cannot be unmounted'; return 1; }
  [ "$listed" = yes ] || { tell damaged "ls: $said"; return 1; }
}
# $1: the device. The bit 4 of e2fsck's exit code: errors that it left.
check_ext() {
  mounts "$1" ro || return
  command -v e2fsck >/dev/null || { tell unchecked 'it mounts; the guest has no e2fsck'; return; }
  said=$(e2fsck -f -n "$1" 2>&1)
  code=$?
  if [ "$code" = 0 ]; then tell clean ''
  elif [ $((code & 4)) != 0 ]; then tell damaged "e2fsck: $said"
  else tell unchecked "it mounts; e2fsck: $code: $said"; fi
}
check_xfs() {
  mounts "$1" ro,nouuid || return
  command -v xfs_repair >/dev/null || { tell unchecked 'it mounts; the guest has no xfs_repair'; return; }
  said=$(xfs_repair -n "$1" 2>&1)
  code=$?
  case $code,$said in
    0,*) tell clean '' ;;
    *'in a log'*) tell unchecked 'it mounts; its log is not empty, and xfs_repair ignores it' ;;
    1,*) tell damaged "xfs_repair: $said" ;;
    *) tell unchecked "it mounts; xfs_repair: $code: $said" ;;
  esac
}

# $1: the device's name.
look() {
  type=$(blkid "/dev/$1" 2>/dev/null | sed -n 's/.* TYPE="\([^"]*\)".*/\1/p')
  case $type in
    ext2 | ext3 | ext4) check_ext "/dev/$1" ;;
    xfs) check_xfs "/dev/$1" ;;
    vfat) mounts "/dev/$1" ro && tell mounts '' ;;
    swap) ;;
    '')
      type=unknown
      # Partitions of loaders have no filesystem.
      if [ -n "$number" ] && [ "$(cat "/sys/class/block/$1/size")" -le 32768 ]; then return; fi
      tell unchecked 'no filesystem is known on it'
      ;;
    *) tell unchecked 'a second one beside the disk itself would confuse the guest' ;;
  esac
}

command -v blkid >/dev/null || { echo 'the guest has no blkid' >&2; exit 1; }
for target; do
  number='' type=unknown
  await_disk || { tell unchecked 'the guest finds no such disk: it has no driver for virtio-scsi'; continue; }
  isParted=no
  for part in /sys/block/"$disk"/"$disk"*; do
    [ -e "$part/partition" ] || continue
    isParted=yes number=$(cat "$part/partition")
    look "$(basename "$part")"
  done
  number=''
  [ "$isParted" = yes ] || look "$disk"
done
rmdir "$at"
exit 0
`;

const LINES_MAX = 200;
/** What says nothing of the bytes: the guest has no such filesystem, or lets its agent do nothing. */
const NOT_THE_DISK = /permission denied|not permitted|unknown filesystem|no such device/i;

/** The script's lines, as a guest that nobody trusts has printed them, of these targets alone. */
export function readChecks(
  output: string,
  targets: readonly string[],
): readonly CheckedFilesystem[] {
  const lines = output.split('\n').slice(0, LINES_MAX);
  return lines.flatMap((line) => {
    const [target = '', number = '', type = '', word = '', text = ''] = line.split('\t');
    const result = resultOf(word, text);
    if (!targets.includes(target) || result === undefined) return [];
    const why = plain(text);
    return {
      target,
      ...(/^\d{1,4}$/.test(number) && { partition: Number(number) }),
      type: plain(type),
      result,
      ...(why !== '' && { why: word === 'no-mount' ? `it does not mount: ${why}` : why }),
    };
  });
}

function resultOf(word: string, text: string): CheckedFilesystem['result'] | undefined {
  if (word === 'no-mount') return NOT_THE_DISK.test(text) ? 'unchecked' : 'damaged';
  return (['clean', 'mounts', 'damaged', 'unchecked'] as const).find((each) => each === word);
}

const TEXT_MAX = 300;

/** No control characters, and not long: it is told to a terminal, and kept. */
export function plain(text: string): string {
  return text
    .replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, ' ')
    .trim()
    .slice(0, TEXT_MAX);
}
