// The tree of siphon's commands, for what is written from it: the man page and the completions.

import { globSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';

const FOLDER = path.join(import.meta.dirname, '../../src/cli/commands');

export interface OptionFacts {
  readonly flags: string;
  readonly long: string;
  readonly description: string;
  /** What it takes, as in `--properties <FILE>`; undefined for a switch. */
  readonly value?: string;
}

export interface CommandFacts {
  /** Without the program's name: `snapshot create`. */
  readonly path: readonly string[];
  readonly description: string;
  readonly arguments: readonly ArgumentFacts[];
  readonly options: readonly OptionFacts[];
  readonly commands: readonly CommandFacts[];
}

interface ArgumentFacts {
  /** `FILE`, `DOMAIN` … */
  readonly name: string;
  /** `[FILE]`, `<SOURCE...>` */
  readonly usage: string;
  readonly choices: readonly string[];
}

/** All commands, in the order of their names. */
export async function readCommands(): Promise<CommandFacts[]> {
  const program = new Command('siphon');
  for (const file of globSync('*.ts', { cwd: FOLDER }).toSorted()) {
    const found = (await import(path.join(FOLDER, file))) as Record<string, unknown>;
    for (const [name, add] of Object.entries(found)) {
      if (/^add[A-Z]/.test(name) && typeof add === 'function') add(program);
    }
  }
  return commandsOf(program, []);
}

function commandsOf(parent: Command, path: readonly string[]): CommandFacts[] {
  const sorted = parent.commands.toSorted((a, b) => (a.name() < b.name() ? -1 : 1));
  return sorted.map((command) => factsOf(command, [...path, command.name()]));
}

function factsOf(command: Command, path: readonly string[]): CommandFacts {
  return {
    path,
    description: command.description(),
    arguments: command.registeredArguments.map((one) => {
      const name = one.name() + (one.variadic ? '...' : '');
      const usage = one.required ? `<${name}>` : `[${name}]`;
      return { name: one.name(), usage, choices: one.argChoices ?? [] };
    }),
    options: command.options
      .filter((one) => !one.hidden)
      .map(({ flags, long, description }) => {
        const value = /[<[]([^\]>]+)[\]>]/.exec(flags)?.[1];
        return { flags, long: long ?? flags, description, ...(value !== undefined && { value }) };
      }),
    commands: commandsOf(command, path),
  };
}

/** A command and all below it. */
export const withDescendants = (one: CommandFacts): CommandFacts[] => [
  one,
  ...one.commands.flatMap(withDescendants),
];
