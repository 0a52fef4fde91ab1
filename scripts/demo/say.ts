// The demo's voice: a line for each step, a line for each thing that was checked and by which tool.

import assert from 'node:assert/strict';

const isTerminal = process.env['DEMO_COLOURS'] === '1';
const paint = (code: number, text: string) =>
  isTerminal ? `\u001b[${code}m${text}\u001b[0m` : text;
let number = 0;

/** Runs one step: its title, then what it prints, then how long it took. A failed check ends the demo. */
export async function step(title: string, action: () => Promise<void>): Promise<void> {
  number += 1;
  console.log(paint(1, `\n${number}. ${title}`));
  const from = performance.now();
  await action();
  console.log(paint(2, `   ${((performance.now() - from) / 1000).toFixed(1)} s`));
}

/** States what another tool found, and fails the demo if it is not so. */
export function check(tool: string, what: string, isSo: boolean): void {
  assert.ok(isSo, `${tool} does NOT say: ${what}`);
  console.log(`   ${paint(32, '✓')} ${tool}: ${what}`);
}

/** Shows a command's output, indented. */
export function show(text: string): void {
  for (const line of text.split('\n')) console.log(`   ${line}`);
}
