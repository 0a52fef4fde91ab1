// siphon(1) from the tree of commands, siphon.toml(5) from the config's shape, siphond(8) from its template. Language: man(7).

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CONFIG_KEYS, type ConfigKey } from '../../src/sidecar/config/keys.ts';
import { ERROR_TABLE } from '../../src/wire/errors.ts';
import { type CommandFacts, withDescendants } from './commands.ts';

export interface PageFacts {
  readonly version: string;
  /** YYYY-MM-DD */
  readonly date: string;
}

/** Text as roff prints it: no escapes, no requests by chance, hyphens that can be copied. */
const text = (plain: string): string =>
  plain
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^([.'])/gm, '\\&$1');

const title = (name: string, section: number, { version, date }: PageFacts): string =>
  `.TH ${name} ${section} "${date}" "siphon ${version}" "System administration"`;

export function siphonPage(commands: readonly CommandFacts[], facts: PageFacts): string {
  return `${[
    title('SIPHON', 1, facts),
    '.SH NAME',
    'siphon \\- ask siphond about base images and RBD snapshots of this hypervisor',
    '.SH SYNOPSIS',
    '.B siphon',
    '.I COMMAND',
    '[\\fIARGUMENT\\fR|\\fIOPTION\\fR]...',
    '.SH DESCRIPTION',
    'A client of',
    '.BR siphond (8).',
    'Root may do all; a member of the group siphon what only reads. With \\fB\\-\\-json\\fR a command prints',
    "the API's own objects; errors then are one JSON object on standard error.",
    '.PP',
    '\\fISOURCE\\fR is rbd:POOL/[NAMESPACE/]IMAGE@SNAP, or rbd://FSID/POOL/IMAGE/SNAP with each part URL\\-escaped.',
    "\\fIBASE\\fR is a base's id or path as \\fBsiphon list\\fR shows it, or a SOURCE.",
    '.SH COMMANDS',
    ...commands
      .flatMap(withDescendants)
      .filter((one) => one.commands.length === 0)
      .flatMap(commandLines),
    '.SH EXIT STATUS',
    ...exitLines(),
    '.SH ENVIRONMENT',
    '.TP',
    'SIPHON_SOCKET',
    'The socket to ask, in place of /run/siphon/siphon.sock.',
    '.SH SEE ALSO',
    '.BR siphond (8),',
    '.BR siphon.toml (5)',
  ].join('\n')}\n`;
}

function commandLines(one: CommandFacts): string[] {
  const usage = one.arguments.map((argument) => ` ${text(argument.usage)}`).join('');
  return [
    `.SS "siphon ${one.path.join(' ')}${usage}"`,
    text(one.description),
    ...one.options.flatMap(({ flags, description }) => [
      '.TP',
      `\\fB${text(flags)}\\fR`,
      text(description),
    ]),
  ];
}

function exitLines(): string[] {
  const rows = Object.values(ERROR_TABLE).map(({ exit, means }) => [exit, means] as const);
  return [[0, 'done'] as const, ...rows].flatMap(([code, means]) => [
    '.TP',
    `${code}`,
    text(means),
  ]);
}

export function configPage(facts: PageFacts): string {
  const tables = Object.entries(Object.groupBy(CONFIG_KEYS, ({ path: [first = ''] }) => first));
  return `${[
    title('SIPHON.TOML', 5, facts),
    '.SH NAME',
    'siphon.toml \\- configuration of siphond',
    '.SH DESCRIPTION',
    'siphond reads \\fI/etc/siphon/siphon.toml\\fR, then \\fI/etc/siphon/conf.d/*.toml\\fR in the order of their names; a later',
    'file wins, key by key. A mistake in any keeps siphond from starting, and a running one from taking up what changed:',
    '\\fBsiphon config check\\fR tells them all. What needs no restart is taken up by itself, and by \\fBsiphon reload\\fR.',
    ...tables.flatMap(([name, keys = []]) => [
      `.SH "KEYS OF ${text(name.toUpperCase())}"`,
      ...keys.flatMap(keyLines),
    ]),
    '.SH SEE ALSO',
    '.BR siphon (1),',
    '.BR siphond (8)',
  ].join('\n')}\n`;
}

function keyLines({ key, fallback, allowed, change, description }: ConfigKey): string[] {
  const facts = [
    ...(allowed === undefined ? [] : [`Allowed: ${allowed}.`]),
    ...(fallback === undefined ? [] : [`Default: ${JSON.stringify(fallback)}.`]),
    ...(change === 'restart' ? ['A change waits for a restart of siphond.'] : []),
  ];
  const meaning = description === undefined ? [] : [text(`${description}.`)];
  return ['.TP', `\\fB${text(key)}\\fR`, ...meaning, ...facts.map(text)];
}

export function daemonPage({ version, date }: PageFacts): string {
  const template = readFileSync(path.join(import.meta.dirname, '../../man/siphond.8'), 'utf8');
  return template.replaceAll('@VERSION@', version).replaceAll('@DATE@', date);
}
