// What others made and the package brings along: for people (copyright) and for machines (SBOM).

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '../..');

interface Bundled {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly author: string;
  readonly texts: readonly string[];
}

interface LockedPackage {
  readonly dev?: true;
  readonly devOptional?: true;
  readonly link?: true;
}

/** Every package that is installed and not only for development. */
function readBundled(): Bundled[] {
  const lock = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockedPackage>;
  };
  return Object.entries(lock.packages)
    .filter(([folder, one]) => folder.startsWith('node_modules/') && !one.dev && !one.link)
    .filter(([folder, one]) => !one.devOptional && existsSync(path.join(ROOT, folder)))
    .map(([folder]) => bundledOf(path.join(ROOT, folder)))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function bundledOf(folder: string): Bundled {
  const facts = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
    license?: string;
    author?: string | { name?: string };
  };
  const author = typeof facts.author === 'object' ? facts.author.name : facts.author;
  const texts = readdirSync(folder)
    .filter((name) => /^(licen[cs]e|copying|notice)/i.test(name))
    .toSorted();
  return {
    name: facts.name,
    version: facts.version,
    license: facts.license ?? 'unknown',
    author: author ?? 'its authors',
    texts: texts.map((name) => readFileSync(path.join(folder, name), 'utf8').trim()),
  };
}

/** The copyright file: siphon's own words, then each work with its licence's text. */
export function copyrightText(): string {
  const own = readFileSync(path.join(ROOT, 'debian/copyright'), 'utf8');
  return `${own}${readBundled().map(sectionOf).join('')}`;
}

const LINE = '-'.repeat(72);

function sectionOf({ name, version, license, author, texts }: Bundled): string {
  const isApache = license === 'Apache-2.0';
  const whole = isApache
    ? '/usr/share/common-licenses/Apache-2.0 has its text.'
    : texts.join('\n\n');
  const told =
    whole === '' ? `Copyright: ${author}. Its package carries no text of the licence.` : whole;
  return `\n${LINE}\n${name} ${version}: ${license}\n${LINE}\n${told.replaceAll('\r', '')}\n`;
}

/**
 * A CycloneDX document of the same packages, by npm out of package-lock.json. What npm makes anew each time (a random number, the time)
 * or takes from this machine (its version, the folder's name) is replaced.
 */
export function sbomText(version: string, timestamp: string): string {
  const args = ['sbom', '--sbom-format', 'cyclonedx', '--omit', 'dev'];
  const made = execFileSync('npm', args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 * 1024 * 1024,
    timeout: 60_000,
  });
  const { metadata, ...rest } = JSON.parse(made) as Record<string, unknown> & {
    metadata: { component: Record<string, unknown> };
  };
  const component = { ...metadata.component, name: 'siphon', version };
  const document = { ...rest, metadata: { timestamp, component } };
  const hash = createHash('sha256').update(JSON.stringify({ ...document, serialNumber: '' }));
  return `${JSON.stringify({ ...document, serialNumber: uuidOf(hash.digest('hex')) }, null, 2)}\n`;
}

/** A name-like uuid (version 8, RFC 9562) of a digest. */
const uuidOf = (hex: string): string =>
  `urn:uuid:${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
