// A reporter for node:test that counts what a run did, as one JSON line: passed, failed, skipped, todo.

import type { TestEvent } from 'node:test/reporters';

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  todo: number;
}

export default async function* tally(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const counts: Tally = { passed: 0, failed: 0, skipped: 0, todo: 0 };
  for await (const event of source) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    if (event.data.details.type === 'suite') continue;
    if (event.data.skip !== undefined && event.data.skip !== false) counts.skipped += 1;
    else if (event.data.todo !== undefined && event.data.todo !== false) counts.todo += 1;
    else if (event.type === 'test:pass') counts.passed += 1;
    else counts.failed += 1;
  }
  yield `${JSON.stringify(counts)}\n`;
}
