// Schedules of snapshot policies: when sets are taken by the calendar, whatever happens to the domain.

export interface Schedule {
  /** A calendar expression of systemd's (systemd.time(7)); in the host's time zone, where it names none. */
  readonly calendar: string;
  /** A set that was missed is taken afterwards, once. */
  readonly isCaughtUp: boolean;
  /** A domain's sets come so much later at most, always by the same. */
  readonly jitterMs: number;
}

export interface Calendar {
  /**
   * When an expression elapses next after that time, in ms since the epoch; null: never again.
   * @throws OperatingError usage: it is no such expression; unavailable: it could not be told
   */
  next(expression: string, afterMs: number): Promise<number | null>;
}

/** When a policy's schedule elapses next, in ms since the epoch; null: never again. */
export interface NextRun {
  readonly policy: string;
  readonly atMs: number | null;
}

export const SCHEDULE_ALLOWED =
  'a calendar expression of systemd\'s such as "daily" or "Mon..Fri 02:00" (`man systemd.time`; `systemd-analyze calendar` tells)';
