// A reporter for node:test that counts what each file did, as one JSON line: passed, failed, skipped, todo and crashed, by its path, and
// what failed in it.

import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  todo: number;
  /** Its process ended by a signal that nobody sent: a fault in native code. */
  crashed: number;
  /** Tests and why, in few lines each. */
  failures: string[];
}

const FAILURE_LINES = 12;
const none = (): Tally => ({
  passed: 0,
  failed: 0,
  skipped: 0,
  todo: 0,
  crashed: 0,
  failures: [],
});
const CRASHES: readonly unknown[] = ['SIGSEGV', 'SIGABRT', 'SIGBUS', 'SIGILL', 'SIGFPE', 'SIGTRAP'];

/** node:test tells it of a file whose process did not end by itself. */
const signalOf = (error: Error): unknown => ('signal' in error ? error.signal : undefined);

/** That a part of a test failed is told by the part. */
const isOfParts = (error: Error): boolean =>
  'failureType' in error && error.failureType === 'subtestsFailed';

function told(name: string, error: Error): string {
  if (isOfParts(error)) return name;
  const lines = inspect(error.cause ?? error).split('\n');
  const some = lines.slice(0, FAILURE_LINES).map((line) => `    ${line.slice(0, 300)}`);
  return [name, ...some].join('\n');
}

export default async function* tally(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const files: Record<string, Tally> = {};
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    if (data.details.type === 'suite') continue;
    const counts = (files[data.file ?? ''] ??= none());
    if (data.skip !== undefined && data.skip !== false) counts.skipped += 1;
    else if (data.todo !== undefined && data.todo !== false) counts.todo += 1;
    else if (type === 'test:pass') counts.passed += 1;
    else counts.failed += 1;
    if (type === 'test:fail') counts.failures.push(told(data.name, data.details.error));
    if (type === 'test:fail' && CRASHES.includes(signalOf(data.details.error))) counts.crashed += 1;
  }
  yield `${JSON.stringify(files)}\n`;
}
