// systemd's calendar, asked of systemd itself: it is on each host, and its timers understand the same.

import { execa } from 'execa';
import PQueue from 'p-queue';
import { OperatingError } from '../wire/errors.ts';
import { type Calendar, type NextRun, SCHEDULE_ALLOWED } from '../wire/schedule.ts';
import type { Policy } from '../wire/vocabulary.ts';

/** It reads the time zone, and computes. */
const ANSWER_MS_MAX = 5000;

export const systemdCalendar: Calendar = {
  async next(expression, afterMs) {
    const second = Math.floor(afterMs / 1000);
    const next = await ask(expression, second);
    // It tells whole seconds: one that elapses within this second may be past already.
    return next !== null && next <= afterMs ? await ask(expression, second + 1) : next;
  },
};

async function ask(expression: string, afterSecond: number): Promise<number | null> {
  const args = ['calendar', '--iterations=1', `--base-time=@${afterSecond}`, '--', expression];
  const { exitCode, stdout, stderr, failed, shortMessage } = await execa('systemd-analyze', args, {
    reject: false,
    timeout: ANSWER_MS_MAX,
    forceKillAfterDelay: 500,
    stdin: 'ignore',
    env: { LC_ALL: 'C', SYSTEMD_COLORS: '0' },
  });
  const about = { op: 'read schedule', subject: expression };
  if (exitCode === 1) {
    const [why = ''] = stderr.split('\n');
    throw new OperatingError({ ...about, code: 'usage', why, hint: `It is ${SCHEDULE_ALLOWED}.` });
  }
  const next = failed ? undefined : parseNext(stdout);
  if (next !== undefined) return next;
  const why = 'systemd-analyze answers otherwise than siphon knows it to';
  throw new OperatingError({ ...about, code: 'unavailable', why: shortMessage ?? why });
}

/** How many are asked at once, and when no further one is: siphond's start waits for the policies. */
const AT_ONCE = 4;
const CHECK_MS_MAX = 10_000;

/** Which of these are no expressions, and why. */
export type CheckSchedules = (
  expressions: ReadonlySet<string>,
) => Promise<ReadonlyMap<string, string>>;

/** Remembers what it was told. What could not be told is not refused: a policy must not go for want of an answer. */
export function createCheck(calendar: Calendar): CheckSchedules {
  let told = new Map<string, string | undefined>();
  return async (expressions) => {
    const queue = new PQueue({ concurrency: AT_ONCE });
    const endMs = performance.now() + CHECK_MS_MAX;
    const known = new Map([...told].filter(([expression]) => expressions.has(expression)));
    const asked = [...expressions].filter((expression) => !known.has(expression));
    const ask = async (expression: string) => {
      if (performance.now() > endMs) return;
      const answer = await whyNone(calendar, expression);
      if (answer !== 'unknown') known.set(expression, answer.why);
    };
    await queue.addAll(asked.map((expression) => () => ask(expression)));
    told = known;
    return new Map([...known].flatMap(([each, why]) => (why === undefined ? [] : [[each, why]])));
  };
}

async function whyNone(
  calendar: Calendar,
  expression: string,
): Promise<{ readonly why: string | undefined } | 'unknown'> {
  try {
    await calendar.next(expression, 0);
    return { why: undefined };
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return error.code === 'usage' ? { why: error.why } : 'unknown';
  }
}

/** When each policy's schedule elapses next; one that cannot be told is left out. */
export async function nextRuns(
  calendar: Calendar,
  policies: readonly Policy[],
  nowMs: number,
): Promise<readonly NextRun[]> {
  const queue = new PQueue({ concurrency: AT_ONCE });
  const runs = policies.map(({ name, schedule }) => async () => {
    if (schedule === undefined) return [];
    try {
      return [{ policy: name, atMs: await calendar.next(schedule.calendar, nowMs) }];
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      return []; // siphond's log says it at each look
    }
  });
  return (await queue.addAll(runs)).flat();
}

const AT = /^ *(?:Next elapse|\(in UTC\)): \w+ (\d+-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC$/m;

/** What `systemd-analyze calendar` prints to ms since the epoch; null: never; undefined: neither is there. */
export function parseNext(printed: string): number | null | undefined {
  const [, date, time] = AT.exec(printed) ?? [];
  if (date !== undefined) return Date.parse(`${date}T${time}Z`);
  return /^ *Next elapse: never$/m.test(printed) ? null : undefined;
}
