// npm run build: one bundled file an entry point under dist/, with the two native libraries beside them.

import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const ROOT = path.join(import.meta.dirname, '..');
const DIST = path.join(ROOT, 'dist');
/** Beside the old one first, then swapped: who installs meanwhile sees whole files. */
const [NEW, OLD] = [`${DIST}.new`, `${DIST}.old`];
const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
  version: string;
};

/** dist name -> source. The threads are started by their file's name, not imported. */
const ENTRIES = {
  siphond: 'src/sidecar/main.ts',
  worker: 'src/worker/main.ts',
  siphon: 'src/cli/main.ts',
  'hash-thread': 'src/rbd-export/hash-thread.ts',
  'chunk-thread': 'src/rbd-export/chunk-thread.ts',
};

/** Native prebuilds stay packages; of each only what this platform loads. */
const NATIVE = ['koffi', '@koromix/koffi-linux-x64', 'better-sqlite3'];
const NEEDLESS =
  /^\/(deps|doc|vendor)(\/|$)|\.([ch]pp|cc|hh|inc|def|S|asm|gyp)$|(darwin|win32|musl|arm64)[^/]*$|\/(cnoke\.cjs|trampolines\.cjs|CMakeLists\.txt)$/;

for (const folder of [NEW, OLD]) rmSync(folder, { recursive: true, force: true });
await build({
  absWorkingDir: ROOT,
  entryPoints: ENTRIES,
  outdir: NEW,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node26',
  external: NATIVE,
  define: { SIPHON_VERSION: JSON.stringify(version) },
  // Some bundled packages are CommonJS and call require for built-in modules.
  banner: {
    js: "import { createRequire as _cr } from 'node:module'; const require = _cr(import.meta.url);",
  },
  legalComments: 'linked',
  logLevel: 'warning',
});
for (const name of NATIVE) {
  const from = path.join(ROOT, 'node_modules', name);
  const to = path.join(NEW, 'node_modules', name);
  mkdirSync(path.dirname(to), { recursive: true });
  cpSync(from, to, {
    recursive: true,
    filter: (source) => !NEEDLESS.test(source.slice(from.length)),
  });
}
writeFileSync(path.join(NEW, 'package.json'), `${JSON.stringify({ type: 'module', version })}\n`);
if (existsSync(DIST)) renameSync(DIST, OLD);
renameSync(NEW, DIST);
rmSync(OLD, { recursive: true, force: true });
