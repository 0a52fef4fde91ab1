// Facts of one source file: what it imports and how long its functions are, by a parser.

import path from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';
import { ROOMS, roomOf } from './rooms.ts';

export interface SourceFacts {
  readonly file: string;
  readonly lines: number;
  readonly imports: readonly string[];
  readonly functionLines: readonly number[];
}

export function factsOf(file: string, text: string): SourceFacts {
  const { program, module, errors } = parseSync(file, text);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0]?.message}`);
  const functionLines: number[] = [];
  const measure = (node: { start: number; end: number }) => {
    functionLines.push(text.slice(node.start, node.end).split('\n').length);
  };
  new Visitor({
    FunctionDeclaration: measure,
    FunctionExpression: measure,
    ArrowFunctionExpression: measure,
  }).visit(program);
  const imports = [
    ...module.staticImports.map((one) => one.moduleRequest.value),
    ...module.staticExports.flatMap((one) =>
      one.entries.flatMap((entry) => (entry.moduleRequest ? [entry.moduleRequest.value] : [])),
    ),
    ...module.dynamicImports.map((one) =>
      text.slice(one.moduleRequest.start, one.moduleRequest.end).replaceAll(/^['"`]|['"`]$/g, ''),
    ),
  ];
  return { file, lines: text.split('\n').length, imports, functionLines };
}

/** Why each forbidden import of the file is forbidden; empty when all are within the arrows. */
export function forbiddenImports(facts: SourceFacts): string[] {
  const roomName = roomOf(facts.file);
  const room = roomName === undefined ? undefined : ROOMS[roomName];
  if (!room || !roomName) return [`${facts.file} stands in no room`];
  return facts.imports.flatMap((name) => {
    if (name.startsWith('.')) {
      const target = roomOf(path.join(path.dirname(facts.file), name));
      const isAllowed =
        target === roomName || (target !== undefined && room.rooms.includes(target));
      const isOwn = target?.startsWith(`${roomName}/`) || roomName.startsWith(`${target}/`);
      return isAllowed || isOwn ? [] : [`${facts.file} -> ${name} (${target ?? 'no room'})`];
    }
    if (name.startsWith('node:')) {
      return room.node === '*' || room.node.includes(name) ? [] : [`${facts.file} -> ${name}`];
    }
    const known = room.packages.some((one) => name === one || name.startsWith(`${one}/`));
    return known ? [] : [`${facts.file} -> ${name}`];
  });
}
