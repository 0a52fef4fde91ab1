// Follows jobs to their ends, with progress bars on a terminal. Leaving (Ctrl-C) ends the watching, not the work.

import { constants } from 'node:os';
import { MultiBar, type SingleBar } from 'cli-progress';
import type { JobLine } from '../wire/api.ts';
import { fromWire, OperatingError } from '../wire/errors.ts';
import type { JobProgress } from '../wire/journal.ts';
import { formatSize } from '../wire/size.ts';
import { reportError } from './output.ts';

interface Place {
  /** Its name in siphond's journal. */
  begun(jobId: string): void;
  update(progress: JobProgress): void;
  /** It is all done: the bar is full. */
  finish(): void;
  close(): void;
}

export interface Screen extends Disposable {
  /** A place for one job's progress. */
  open(title: string): Place;
}

/** Progress goes to stderr, so that stdout holds results alone. While there is a screen, signals that end siphon are told. */
export function createScreen(isJson: boolean, whyLeft = 'left; siphond goes on with it'): Screen {
  const bars = isJson || !process.stderr.isTTY ? undefined : new MultiBar(BARS);
  const jobs = new Map<string, string | undefined>();
  let isOpen = true;
  const close = () => {
    // A bar that is not stopped leaves the terminal without cursor and line wrap.
    if (isOpen && bars?.isActive) bars.stop();
    isOpen = false;
    for (const signal of ENDS) process.off(signal, leave);
  };
  const leave = (signal: NodeJS.Signals) => {
    close();
    reportError(goesOn(jobs, whyLeft), isJson);
    process.exit(128 + constants.signals[signal]);
  };
  for (const signal of ENDS) process.on(signal, leave);
  return {
    open(title) {
      jobs.set(title, undefined);
      const bar = bars === undefined ? NO_BAR : openBar(bars, title);
      return {
        ...bar,
        begun: (jobId) => void jobs.set(title, jobId),
        close() {
          jobs.delete(title);
          bar.close();
        },
      };
    },
    [Symbol.dispose]: close,
  };
}

const ENDS = ['SIGINT', 'SIGTERM'] as const;

const BAR_SIZE = 30;
const BARS = {
  format: '{title} [{bar}] {percentage}% | {done} of {all}{left}',
  stream: process.stderr,
  hideCursor: true,
  clearOnComplete: false,
};
/** What stands beside title and bar, at its longest. */
const BESIDE = ' [] 100% | 1023.9 MiB of 1023.9 MiB | 999 s left'.length;

/** `jobs`: by what is watched; undefined where siphond has not begun one yet. */
function goesOn(jobs: ReadonlyMap<string, string | undefined>, why: string): OperatingError {
  const ids = [...jobs.values()].filter((id) => id !== undefined);
  const cancels = ids.map((id) => `siphon jobs --cancel ${id}`).join('; ');
  const hint = `\`siphon jobs\` shows it${cancels === '' ? '' : `; to end it: ${cancels}`}.`;
  return new OperatingError({
    code: 'cancelled',
    op: 'watch',
    subject: [...jobs.keys()].join(' '),
    why,
    hint,
  });
}

type Bar = Omit<Place, 'begun'>;
const NO_BAR: Bar = { update: () => {}, finish: () => {}, close: () => {} };

function openBar(bars: MultiBar, title: string): Bar {
  const room = (process.stderr.columns || Number.POSITIVE_INFINITY) - title.length - BESIDE;
  const barsize = Math.max(5, Math.min(BAR_SIZE, room));
  let bar: SingleBar | undefined;
  let last: JobProgress = { doneBytes: 0, totalBytes: 0 };
  const update = (progress: JobProgress) => {
    const { doneBytes, totalBytes } = (last = progress);
    const left = leftText(progress);
    const shown = { title, done: formatSize(doneBytes), all: formatSize(totalBytes), left };
    bar ??= bars.create(Math.max(totalBytes, 1), 0, shown, { barsize });
    bar.setTotal(Math.max(totalBytes, 1));
    bar.update(Math.max(doneBytes, totalBytes === 0 ? 1 : 0), shown);
  };
  return {
    update,
    finish: () => bar && update({ ...last, doneBytes: last.totalBytes }),
    close: () => bar?.stop(),
  };
}

/** ` | 12 s left`; nothing while that is not known, and at the end. */
function leftText({ doneBytes, totalBytes, remainingMs }: JobProgress): string {
  if (remainingMs === undefined || doneBytes >= totalBytes) return '';
  return ` | ${Math.ceil(remainingMs / 1000)} s left`;
}

/** Follows one job; gives its result. @throws OperatingError: the job's own, or `unavailable` if the line was cut. */
export async function follow(
  lines: AsyncIterable<JobLine>,
  title: string,
  screen: Screen,
): Promise<unknown> {
  const place = screen.open(title);
  try {
    for await (const line of lines) {
      if (line.kind === 'job') place.begun(line.id);
      if (line.kind === 'progress') place.update(line.progress);
      if (line.kind === 'done') {
        place.finish();
        return line.result;
      }
      if (line.kind === 'failed') throw fromWire(line.error);
    }
  } finally {
    place.close();
  }
  throw new OperatingError({
    code: 'unavailable',
    op: 'follow job',
    subject: title,
    why: 'siphond ended the answer early',
    hint: 'The job goes on, or is taken up again when siphond starts: see siphon jobs.',
  });
}
