// A child's output as lines for the log, each bounded.

import type { Readable } from 'node:stream';

const LINE_CHARS_MAX = 8192;

/** Calls `onLine` for each line, and for the last one if it has no newline. Longer lines are cut. */
export function forwardLines(stream: Readable, onLine: (line: string) => void): void {
  let rest = '';
  const say = (line: string) => {
    if (line.trim() !== '') onLine(line.slice(0, LINE_CHARS_MAX));
  };
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!.slice(0, LINE_CHARS_MAX);
    lines.forEach(say);
  });
  stream.on('close', () => say(rest));
}
