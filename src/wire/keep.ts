// How many sets stay: the newest ones, and beyond them the newest of each of so many periods of the calendar.

/** Of the calendar, in UTC; `weekly` are ISO weeks, which begin on Monday. Shorter ones count before longer ones. */
export const PERIODS = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
export type Period = (typeof PERIODS)[number];

export interface KeepCounts {
  /** So many sets stay, whatever else is said. */
  readonly keepLast: number;
  /** Of so many further periods one set each; what is left out is none. */
  readonly keepPeriods: Readonly<Partial<Record<Period, number>>>;
}

/** `last 2, daily 7`. */
export function formatKeep({ keepLast, keepPeriods }: KeepCounts): string {
  const periods = PERIODS.filter((period) => (keepPeriods[period] ?? 0) > 0);
  return [`last ${keepLast}`, ...periods.map((each) => `${each} ${keepPeriods[each]}`)].join(', ');
}
