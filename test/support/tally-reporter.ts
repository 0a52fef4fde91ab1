// A reporter for node:test that counts what each file did, as one JSON line: passed, failed, skipped, todo and crashed, by its path.

import type { TestEvent } from 'node:test/reporters';

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  todo: number;
  /** Its process ended by a signal that nobody sent: a fault in native code. */
  crashed: number;
}

const NONE: Tally = { passed: 0, failed: 0, skipped: 0, todo: 0, crashed: 0 };
const CRASHES: readonly unknown[] = ['SIGSEGV', 'SIGABRT', 'SIGBUS', 'SIGILL', 'SIGFPE', 'SIGTRAP'];

/** node:test tells it of a file whose process did not end by itself. */
const signalOf = (error: Error): unknown => ('signal' in error ? error.signal : undefined);

export default async function* tally(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const files: Record<string, Tally> = {};
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    if (data.details.type === 'suite') continue;
    const counts = (files[data.file ?? ''] ??= { ...NONE });
    if (data.skip !== undefined && data.skip !== false) counts.skipped += 1;
    else if (data.todo !== undefined && data.todo !== false) counts.todo += 1;
    else if (type === 'test:pass') counts.passed += 1;
    else counts.failed += 1;
    if (type === 'test:fail' && CRASHES.includes(signalOf(data.details.error))) counts.crashed += 1;
  }
  yield `${JSON.stringify(files)}\n`;
}
