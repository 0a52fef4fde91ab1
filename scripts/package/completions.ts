// Completions for bash and zsh, written from the tree of commands.

import { type CommandFacts, type OptionFacts, withDescendants } from './commands.ts';

const nameOf = ({ path }: CommandFacts): string => path.at(-1) ?? '';
const joined = ({ path }: CommandFacts): string => path.join(' ');
const optionWords = ({ options }: CommandFacts): string[] => [
  ...options.map((one) => one.long),
  '--help',
];

/** For `complete -F`: commands, options, choices, files, and libvirt's domains. */
export function bashCompletion(commands: readonly CommandFacts[]): string {
  const all = commands.flatMap(withDescendants);
  const top = [...commands.map(nameOf), '--help', '--version'];
  return `# Completion of siphon for bash, written from its commands.

_siphon_offer() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "\${COMP_WORDS[COMP_CWORD]}"); }
_siphon_offer_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}")
}
_siphon_domains() { timeout 2 virsh -q list --all --name 2>/dev/null; }

_siphon() {
  local current=\${COMP_WORDS[COMP_CWORD]} path= word
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
      ${all.map((one) => `' ${joined(one)}'`).join(' | ')}) path="$path $word" ;;
    esac
  done
  case "\${path# } \${COMP_WORDS[COMP_CWORD-1]}" in
${all.flatMap(bashValues).join('\n')}
  esac
  case "\${path# }" in
    '') _siphon_offer "${top.join(' ')}" ;;
${all.map((one) => `    '${joined(one)}') ${bashWords(one)} ;;`).join('\n')}
  esac
}

complete -F _siphon siphon
`;
}

/** What stands after an option that takes something. */
const bashValues = (one: CommandFacts): string[] =>
  one.options.filter(takesValue).map((option) => {
    const offer = option.value === 'FILE' ? '_siphon_offer_files; ' : '';
    return `    '${joined(one)} ${option.long}') ${offer}return ;;`;
  });

const takesValue = ({ value }: OptionFacts): boolean => value !== undefined;

function bashWords(one: CommandFacts): string {
  const words = [
    ...one.commands.map(nameOf),
    ...one.arguments.flatMap(({ choices }) => choices),
    ...optionWords(one),
  ];
  const offer = (more = '') => `_siphon_offer "${words.join(' ')}${more}"`;
  const names = one.arguments.map(({ name }) => name);
  if (names.includes('DOMAIN')) return offer(' $(_siphon_domains)');
  if (!names.includes('FILE')) return offer();
  return `if [[ $current == -* ]]; then ${offer()}; else _siphon_offer_files; fi`;
}

/** A function of zsh's new completion for each command, by the names that `_arguments` knows. */
export function zshCompletion(commands: readonly CommandFacts[]): string {
  const all = commands.flatMap(withDescendants);
  const functions = all.map((one) => zshFunction(zshName(one.path), one.commands, zshSpecs(one)));
  const top = ["'--help[tell what siphon does]'", "'--version[tell the version]'"];
  return `#compdef siphon
# Completion of siphon for zsh, written from its commands.

_siphon_domains() {
  local -a domains
  domains=(\${(f)"$(timeout 2 virsh -q list --all --name 2>/dev/null)"})
  _describe -t domains domain domains
}

${[...functions, zshFunction('_siphon', commands, top)].join('\n')}
_siphon "$@"
`;
}

const zshName = (path: readonly string[]): string => ['_siphon', ...path].join('__');

/** Text within single quotes, and within brackets of _arguments. */
const zshText = (text: string): string =>
  text.replaceAll("'", "'\\''").replaceAll(/[[\]:\\]/g, (each) => `\\${each}`);

function zshFunction(
  name: string,
  commands: readonly CommandFacts[],
  specs: readonly string[],
): string {
  if (commands.length === 0) return `${name}() {\n  _arguments ${specs.join(' ')}\n}\n`;
  const described = commands.map((one) => `'${nameOf(one)}:${zshText(one.description)}'`);
  const cases = commands.map((one) => `    ${nameOf(one)}) ${zshName(one.path)} ;;`);
  return `${name}() {
  local state line
  local -a commands
  commands=(${described.join(' ')})
  _arguments -C ${specs.join(' ')} '1:command:->command' '*::argument:->argument'
  case $state in
    command) _describe -t commands command commands ;;
    argument) case $line[1] in
${cases.join('\n')}
    esac ;;
  esac
}
`;
}

function zshSpecs(one: CommandFacts): string[] {
  const options = one.options.map(({ long, value, description }) => {
    const takes = value === undefined ? '' : `:${value}:${value === 'FILE' ? '_files' : ' '}`;
    return `'${long}[${zshText(description)}]${takes}'`;
  });
  const rest = one.arguments.map(({ name, choices }) => {
    const actions: Readonly<Record<string, string>> = { DOMAIN: '_siphon_domains', FILE: '_files' };
    const action = choices.length > 0 ? `(${choices.join(' ')})` : (actions[name] ?? ' ');
    return `'*:${name}:${action}'`;
  });
  return [...options, "'--help[tell about this command]'", ...rest];
}
