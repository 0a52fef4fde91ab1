// The documents: their links lead somewhere, every page is reached from the README, and the commands that they name are there.

import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { type CommandFacts, readCommands } from '../../scripts/package/commands.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const PAGES = globSync(['*.md', 'docs/**/*.md'], { cwd: ROOT });
const textOf = (page: string) => readFileSync(path.join(ROOT, page), 'utf8');

/** The project's own files that a page links to, relative to the project. */
const linksOf = (page: string): string[] =>
  [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = '']) => link.replace(/#.*/, ''))
    .filter((link) => link !== '' && !link.includes('://'))
    .map((link) => path.join(path.dirname(page), link));

test('every link leads somewhere, and every page can be reached from the README', () => {
  const reached = new Set(['README.md']);
  // A set that grows is walked to its end.
  for (const page of reached) {
    for (const link of linksOf(page)) {
      assert.ok(existsSync(path.join(ROOT, link)), `${page} links to ${link}, which is not there`);
      if (link.endsWith('.md')) reached.add(link);
      else for (const each of globSync(`${link}/*.md`, { cwd: ROOT })) reached.add(each);
    }
  }
  assert.deepEqual(PAGES.filter((page) => !reached.has(page)).toSorted(), []);
});

/** What is wrong with a call as a page names it. */
function mistakeIn(call: string, commands: readonly CommandFacts[]): string | undefined {
  const [, ...words] = call.split(/[\s"')]+/);
  let at: CommandFacts | undefined;
  for (const word of words) {
    const next: CommandFacts | undefined = (at?.commands ?? commands).find(
      (each) => each.path.at(-1) === word,
    );
    if (next === undefined) break;
    at = next;
  }
  if (at === undefined) return words[0]?.startsWith('--') ? undefined : 'no such command';
  const known = [...at.options.map(({ long }) => long), '--help'];
  return words.find(
    (word) => /^\[?--[a-z]/.test(word) && !known.includes(word.replace(/^\[|\]$/g, '')),
  );
}

/** In text between backticks, and on the lines of blocks. */
function callsIn(text: string): string[] {
  const blocks = [...text.matchAll(/^```\w*\n([^]*?)^```$/gm)].map(([, block = '']) => block);
  const inline = text.matchAll(/`(siphon [^`\n]+)`/g);
  const lines = blocks.join('').matchAll(/(?:^|\$\()(siphon [^\n)]+)/gm);
  return [...inline, ...lines].map(([, call = '']) => call);
}

test('every siphon command that a page names is one, with its options', async () => {
  const commands = await readCommands();
  const mistakes = PAGES.flatMap((page) =>
    callsIn(textOf(page)).flatMap((call) => {
      const mistake = mistakeIn(call, commands);
      return mistake === undefined ? [] : [`${page}: ${call}: ${mistake}`];
    }),
  );
  assert.deepEqual(mistakes, []);
  assert.equal(mistakeIn('siphon evict --bogus', commands), '--bogus');
  assert.equal(mistakeIn('siphon wram x', commands), 'no such command');
});
