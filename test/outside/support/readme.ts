// The README's commands, as they stand there.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { PROJECT } from './lab-host.ts';

/** The fenced blocks of one part of the README, in order. */
export function readmeBlocks(heading: string): string[] {
  const text = readFileSync(path.join(PROJECT, 'README.md'), 'utf8');
  const part = text.split(/^## /m).find((each) => each.startsWith(`${heading}\n`));
  assert.ok(part !== undefined, `the README has no part "${heading}"`);
  return [...part.matchAll(/^```\w*\n([^]*?)^```$/gm)].map(([, block = '']) => block);
}
