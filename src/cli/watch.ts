// Follows jobs to their ends: progress bars on a terminal, two lines a job elsewhere.

import { MultiBar, type SingleBar } from 'cli-progress';
import type { JobLine } from '../wire/api.ts';
import { fromWire, OperatingError } from '../wire/errors.ts';
import type { JobProgress } from '../wire/journal.ts';
import { formatSize } from '../wire/size.ts';

interface Place {
  update(progress: JobProgress): void;
  /** It is all done: the bar is full. */
  finish(): void;
  close(): void;
}

export interface Screen extends Disposable {
  /** A place for one job's progress. */
  open(title: string): Place;
}

/** Progress goes to stderr, so that stdout holds results alone. */
export function createScreen(isQuiet: boolean): Screen {
  if (isQuiet || !process.stderr.isTTY) {
    const nowhere = { update: () => {}, finish: () => {}, close: () => {} };
    return { open: () => nowhere, [Symbol.dispose]: () => {} };
  }
  const bars = new MultiBar({
    format: '{title} [{bar}] {percentage}% | {done} of {all}{left}',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: false,
    barsize: 30,
  });
  return {
    open: (title) => openBar(bars, title),
    [Symbol.dispose]: () => bars.stop(),
  };
}

function openBar(bars: MultiBar, title: string): Place {
  const startedAt = performance.now();
  let bar: SingleBar | undefined;
  let last: JobProgress = { doneBytes: 0, totalBytes: 0 };
  const update = (progress: JobProgress) => {
    const { doneBytes, totalBytes } = (last = progress);
    const left = leftText(progress, performance.now() - startedAt);
    const shown = { title, done: formatSize(doneBytes), all: formatSize(totalBytes), left };
    bar ??= bars.create(Math.max(totalBytes, 1), 0, shown);
    bar.setTotal(Math.max(totalBytes, 1));
    bar.update(Math.max(doneBytes, totalBytes === 0 ? 1 : 0), shown);
  };
  return {
    update,
    finish: () => update({ ...last, doneBytes: last.totalBytes }),
    close: () => bar?.stop(),
  };
}

/** ` | 12 s left` at the rate so far; nothing before there is one, and at the end. */
function leftText({ doneBytes, totalBytes }: JobProgress, elapsedMs: number): string {
  if (doneBytes === 0 || doneBytes >= totalBytes) return '';
  return ` | ${Math.ceil(((totalBytes - doneBytes) / doneBytes) * (elapsedMs / 1000))} s left`;
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
