// Who holds an image: owners of its exclusive lock, lockers (the same and advisory locks, as stored), watchers (who has it open for
// writing).
import { check, errno } from './errors.ts';
import type { Image } from './image.ts';
import { type CValue, librbd } from './library.ts';
import {
  bytes,
  ints,
  safeInteger,
  textAt,
  textOf,
  textsOf,
  withRoom,
  word,
  words,
} from './memory.ts';

const getOwners = librbd(`int rbd_lock_get_owners(rbd_image_t image, rbd_lock_mode_t *lock_mode,
  char **lock_owners, size_t *max_lock_owners)`);
const ownersCleanup = librbd(
  'void rbd_lock_get_owners_cleanup(char **lock_owners, size_t lock_owner_count)',
);
const listLockersC = librbd(`ssize_t rbd_list_lockers(rbd_image_t image, int *exclusive, char *tag,
  size_t *tag_len, char *clients, size_t *clients_len, char *cookies, size_t *cookies_len,
  char *addrs, size_t *addrs_len)`);
const watchersList = librbd(`int rbd_watchers_list(rbd_image_t image, rbd_image_watcher_t *watchers,
  size_t *max_watchers)`);
const watchersCleanup = librbd(
  'void rbd_watchers_list_cleanup(rbd_image_watcher_t *watchers, size_t num_watchers)',
);

const lockBreak = librbd(`int rbd_lock_break(rbd_image_t image, rbd_lock_mode_t lock_mode,
  const char *lock_owner)`);

const exclusiveMode = 0; // RBD_LOCK_MODE_EXCLUSIVE

export interface LockOwners {
  readonly mode: 'exclusive' | 'shared';
  /** Addresses, as in {@link Watcher.address}: an owner that is among no watchers is dead. */
  readonly owners: readonly string[];
}

export interface Locker {
  /** `client.4123` */
  readonly client: string;
  readonly cookie: string;
  readonly address: string;
}

export interface Lockers {
  readonly exclusive: boolean;
  readonly tag: string;
  readonly lockers: readonly Locker[];
}

export interface Watcher {
  /** `10.0.0.1:0/123456` */
  readonly address: string;
  /** The number in `client.4123`. */
  readonly client: number;
  /** Chosen by the watcher; may use all 64 bits. */
  readonly cookie: bigint;
}

/**
 * Owners of the exclusive lock; null where nobody owns it. Needs a writable handle (EINVAL). Throws EINVAL without the feature.
 * Implements: rbd_lock_get_owners, rbd_lock_get_owners_cleanup
 */
export async function lockOwners(image: Image): Promise<LockOwners | null> {
  const answer = await withRoom(getOwners.symbol, 8, async (room) => {
    const [mode, owners, count] = [ints(), words(room), words()];
    count[0] = BigInt(room);
    const result = await image.try(getOwners, mode, owners, count);
    return { result, wanted: Number(word(count)), mode, owners, count: Number(word(count)) };
  });
  const { result, mode, owners, count } = answer;
  if (result === -errno.ENOENT) return null;
  check(result, getOwners.symbol);
  try {
    const list = Array.from({ length: count }, (_, index) => textAt(word(owners, index)));
    return { mode: mode[0] === 0 ? 'exclusive' : 'shared', owners: list };
  } finally {
    ownersCleanup.call(owners, count);
  }
}

/**
 * The locks stored in the image's header, as the handle last read it (at opening; and when told of a change, if it is writable); null where
 * there is none.
 * Implements: rbd_list_lockers
 */
export function listLockers(image: Image): Promise<Lockers | null> {
  return readLockers(listLockersC.symbol, (...room) => image.try(listLockersC, ...room));
}

/**
 * Takes the exclusive lock from `owner`, an address of {@link lockOwners}, and blocklists that client, unless `rbd_blocklist_on_break_lock`
 * is off. A running guest loses its disk: see first that the owner is among no watchers. Needs a writable handle, and the caps to blocklist
 * (mon 'profile rbd'). Throws CephError: EBUSY (somebody else owns it), ENOENT (nobody does), EACCES or EPERM (the caps).
 * Implements: rbd_lock_break
 */
export async function breakLock(image: Image, owner: string): Promise<void> {
  await image.call(lockBreak, exclusiveMode, owner);
}

/**
 * Who has the image open for writing, this handle included where it does.
 * Implements: rbd_watchers_list, rbd_watchers_list_cleanup
 */
export async function listWatchers(image: Image): Promise<Watcher[]> {
  const { result, watchers, count } = await withRoom(watchersList.symbol, 16, async (room) => {
    const [watchers, count] = [words(room * 3), words()]; // rbd_image_watcher_t: addr, id, cookie
    count[0] = BigInt(room);
    const result = await image.try(watchersList, watchers, count);
    return { result, wanted: Number(word(count)), watchers, count: Number(word(count)) };
  });
  check(result, watchersList.symbol);
  try {
    return Array.from({ length: count }, (_, index) => ({
      address: textAt(word(watchers, index * 3)),
      client: safeInteger(word(watchers, index * 3 + 1), 'client id'),
      cookie: word(watchers, index * 3 + 2),
    }));
  } finally {
    watchersCleanup.call(watchers, count);
  }
}

/** What rbd_list_lockers and rados_list_lockers answer: `list` is called with room for it. */
export async function readLockers(
  symbol: string,
  list: (...room: CValue[]) => Promise<number>,
): Promise<Lockers | null> {
  const answer = await withRoom(symbol, 1024, async (room) => {
    const exclusive = ints();
    const texts = Array.from({ length: 4 }, () => bytes(room));
    const sizes = texts.map(() => words().fill(BigInt(room)));
    const pairs = texts.flatMap((text, index) => [text, sizes[index] ?? null]);
    const result = await list(exclusive, ...pairs);
    const used = sizes.map((size) => Number(word(size)));
    return { result, wanted: Math.max(...used), exclusive, texts, used };
  });
  if (check(answer.result, symbol) === 0) return null;
  const { exclusive, texts, used } = answer;
  const [tag = bytes(0), ...lists] = texts.map((text, index) => text.subarray(0, used[index]));
  const [clients = [], cookies = [], addresses = []] = lists.map(textsOf);
  const lockers = clients.map((client, index) => ({
    client,
    cookie: cookies[index] ?? '',
    address: addresses[index] ?? '',
  }));
  return { exclusive: exclusive[0] !== 0, tag: textOf(tag), lockers };
}
