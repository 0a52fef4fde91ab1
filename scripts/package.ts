// npm run package: dist/siphon_VERSION_amd64.deb. What goes where is install.sh's to say; here come the documents, and dpkg's own files.
// The same sources give the same bytes. package.ts [--out DIR] [--version-suffix TEXT]

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  globSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { ROOT } from './command.ts';
import { copyrightText, sbomText } from './package/bundled.ts';
import { readCommands } from './package/commands.ts';
import { bashCompletion, zshCompletion } from './package/completions.ts';
import { configPage, daemonPage, siphonPage } from './package/man-pages.ts';

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: path.join(ROOT, 'dist') },
    'version-suffix': { type: 'string', default: '' },
  },
});

const DEBIAN = path.join(ROOT, 'debian');
const changelog = readFileSync(path.join(DEBIAN, 'changelog'), 'utf8');
const ownVersion = (
  JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string }
).version;
const version = `${ownVersion}${values['version-suffix']}`;

/** The time of everything in the package: the changelog's, unless the environment says another. */
const epochSeconds = Number(process.env['SOURCE_DATE_EPOCH'] ?? Date.parse(changelogDate()) / 1000);
const time = new Date(epochSeconds * 1000).toISOString();

function changelogDate(): string {
  const [, released, date] = /^siphon \((.+?)\)[\s\S]*?^ -- .*? {2}(.+)$/m.exec(changelog) ?? [];
  if (released !== ownVersion || date === undefined) {
    throw new Error(`debian/changelog begins with ${released}, package.json says ${ownVersion}`);
  }
  return date;
}

const run = (command: string, ...args: readonly string[]): void => {
  execFileSync(command, args, {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, SOURCE_DATE_EPOCH: String(epochSeconds) },
    timeout: 300_000,
  });
};

/** The files that dpkg unpacks. */
async function stage(root: string): Promise<void> {
  run('bash', 'scripts/install.sh', '--destdir', root);
  const put = (file: string, content: string | Buffer): void => {
    mkdirSync(path.join(root, path.dirname(file)), { recursive: true });
    writeFileSync(path.join(root, file), content, { mode: 0o644 });
  };
  const zipped = (content: string): Buffer => gzipSync(content, { level: 9 });
  const facts = { version, date: time.slice(0, 10) };
  const commands = await readCommands();
  put('usr/share/man/man1/siphon.1.gz', zipped(siphonPage(commands, facts)));
  put('usr/share/man/man5/siphon.toml.5.gz', zipped(configPage(facts)));
  put('usr/share/man/man8/siphond.8.gz', zipped(daemonPage(facts)));
  put('usr/share/bash-completion/completions/siphon', bashCompletion(commands));
  put('usr/share/zsh/vendor-completions/_siphon', zshCompletion(commands));
  put('usr/share/doc/siphon/copyright', copyrightText());
  put('usr/share/doc/siphon/changelog.gz', zipped(changelog));
  put('usr/share/doc/siphon/sbom.cdx.json', sbomText(version, time));
  put('usr/share/lintian/overrides/siphon', readFileSync(path.join(DEBIAN, 'lintian-overrides')));
  dropDocuments(root);
}

/** Documents of bundled packages: their licences are in the copyright file. */
function dropDocuments(root: string): void {
  const found = globSync(['**/*.LEGAL.txt', '**/node_modules/**/{LICENSE,README,CHANGELOG}*'], {
    cwd: path.join(root, 'usr/lib/siphon'),
  });
  for (const file of found) rmSync(path.join(root, 'usr/lib/siphon', file));
}

/** dpkg's own files: what the package is, what it needs, and what is done around its unpacking. */
function writeControl(root: string): void {
  const folder = path.join(root, 'DEBIAN');
  const files = filesBelow(root);
  const sizeKiB = files.reduce((sum, file) => sum + kibibytesOf(path.join(root, file)), 0);
  mkdirSync(folder);
  const put = (name: string, content: string): void =>
    writeFileSync(path.join(folder, name), content, { mode: 0o644 });
  const template = readFileSync(path.join(DEBIAN, 'control'), 'utf8');
  put('control', template.replace('@VERSION@', version).replace('@SIZE@', String(sizeKiB)));
  const isConfig = (file: string): boolean => file.startsWith('etc/');
  put(
    'conffiles',
    files
      .filter(isConfig)
      .map((file) => `/${file}\n`)
      .join(''),
  );
  put(
    'md5sums',
    files
      .filter((file) => !isConfig(file))
      .map((file) => sumLine(root, file))
      .join(''),
  );
  for (const script of ['postinst', 'prerm', 'postrm']) {
    cpSync(path.join(DEBIAN, script), path.join(folder, script));
    chmodSync(path.join(folder, script), 0o755);
  }
}

/** Regular files, paths relative to the root, in the order of their names. */
const filesBelow = (root: string): string[] =>
  readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((file) => lstatSync(path.join(root, file)).isFile())
    .toSorted();

const kibibytesOf = (file: string): number => Math.ceil(lstatSync(file).size / 1024);

function sumLine(root: string, file: string): string {
  const sum = createHash('md5')
    .update(readFileSync(path.join(root, file)))
    .digest('hex');
  return `${sum}  ${file}\n`;
}

/** dpkg-deb takes later times down to the epoch, and would keep earlier ones. */
function setTimes(root: string): void {
  for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    lutimesSync(path.join(root, file), epochSeconds, epochSeconds);
  }
  lutimesSync(root, epochSeconds, epochSeconds);
}

process.umask(0o022);
run(path.join(ROOT, 'node_modules/.bin/node'), 'scripts/build.ts');
const root = mkdtempSync(path.join(tmpdir(), 'siphon-package-'));
try {
  chmodSync(root, 0o755);
  await stage(root);
  writeControl(root);
  setTimes(root);
  mkdirSync(values.out, { recursive: true });
  const deb = path.join(values.out, `siphon_${version}_amd64.deb`);
  // One thread: the bytes then do not depend on the machine. The lowest level: a third larger, and not a minute to make.
  run('dpkg-deb', '--root-owner-group', '-Zxz', '-z1', '--threads-max=1', '--build', root, deb);
  console.log(deb);
} finally {
  rmSync(root, { recursive: true, force: true });
}
