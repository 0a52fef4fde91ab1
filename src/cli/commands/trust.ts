// siphon trust list|add|revoke: the trust folder, looked at and changed by whoever runs this, by siphond's own program: also while
// siphond is down. What stands on a key, siphond tells.

import path from 'node:path';
import type { Command } from 'commander';
import { CONFIG_PATH } from '../../wire/api.ts';
import { OperatingError } from '../../wire/errors.ts';
import type {
  TrustAnswer,
  TrustCertificate,
  TrustChange,
  TrustCrl,
  TrustManifestKey,
} from '../../wire/trust-api.ts';
import { print, printJson, sheet, table, time } from '../output.ts';
import { askSiphond } from './config.ts';
import { impact, impactOrWhy, reachText } from './trust-impact.ts';

interface Common {
  readonly config: string;
  readonly json?: true;
}

interface AddOptions extends Common {
  readonly uuid?: string;
  readonly anchor?: true;
  readonly crl?: true;
  readonly replace?: true;
}

export function addTrust(program: Command): void {
  const trust = program
    .command('trust')
    .description('who may sign images: the trust folder')
    .helpCommand(false);
  const command = (name: string, description: string) =>
    trust
      .command(name)
      .description(description)
      .option('--config <file>', "siphond's config", CONFIG_PATH)
      .option('--json', 'print JSON');
  command('list', 'what is trusted, and what is not; the rules, in their order').action(list);
  command('add', 'puts a certificate, or a CRL, into the folder; as root')
    .argument('<FILE>', 'PEM or DER; the certificates of its chain may follow a signer’s')
    .option('--uuid <uuid>', "by which images name a signer's certificate; else FILE's own name")
    .option('--anchor', 'an authority, or a signer, to which others must have a chain')
    .option('--crl', 'a list of revoked certificates')
    .option('--replace', 'in the place of the one that is there')
    .action(add);
  command('revoke', 'distrusts a certificate, or a key, for good; as root')
    .argument(
      '<KEY>',
      "a certificate's UUID, the id of a key, or a file's name, as list shows them",
    )
    .action(revoke);
  trust
    .command('impact')
    .description('the bases that stand on a certificate, a key or an authority, and their domains')
    .argument(
      '<KEY>',
      "a certificate's UUID, the id of a key, or a file's name, as list shows them",
    )
    .option('--json', 'print JSON')
    .action(impact);
}

const OP = 'trust';

async function list({ config, json }: Common): Promise<void> {
  const args = ['--trust', 'list', `--config=${path.resolve(config)}`];
  const answer = await askSiphond<TrustAnswer>(OP, config, args);
  if (json) return printJson(answer);
  print(sections(answer).join('\n\n'));
}

async function add(file: string, options: AddOptions): Promise<void> {
  const { config, json, uuid, anchor, crl, replace } = options;
  if ([uuid, anchor, crl].filter((each) => each !== undefined).length > 1) {
    const why = 'it is one of --uuid, --anchor and --crl';
    throw new OperatingError({ code: 'usage', op: OP, subject: file, why });
  }
  const args = [
    '--trust',
    'add',
    `--what=${path.resolve(file)}`,
    `--config=${path.resolve(config)}`,
    ...(uuid === undefined ? [] : [`--uuid=${uuid}`]),
    ...(anchor ? ['--anchor'] : []),
    ...(crl ? ['--crl'] : []),
    ...(replace ? ['--replace'] : []),
  ];
  tell(await askSiphond<TrustChange>(OP, file, args), 'is in', json);
}

async function revoke(what: string, { config, json }: Common): Promise<void> {
  const args = ['--trust', 'revoke', `--what=${what}`, `--config=${path.resolve(config)}`];
  const change = await askSiphond<TrustChange>(OP, what, args);
  const found = await impactOrWhy(path.basename(change.file));
  if (json) return printJson({ ...change, ...('impact' in found && found) });
  tell(change, 'is distrusted by', json);
  if ('why' in found)
    return print(
      `note: what that reaches siphond does not tell now (${found.why}); later: siphon trust impact`,
    );
  print(`it reaches ${reachText(found.impact)}`);
  if (found.impact.bases.length > 0) print(`siphon trust impact ${found.impact.key} lists them`);
}

function tell(change: TrustChange, verb: string, json: true | undefined): void {
  if (json) return printJson(change);
  const already = change.wasThere ? ' (it was already)' : '';
  print(`${change.what} ${verb} ${change.file}${already}`);
  for (const note of change.notes) print(`note: ${note}`);
}

function sections(answer: TrustAnswer): string[] {
  const { folder, isChainNeeded, rules, certificates, anchors, crls, manifestKeys } = answer;
  const { revoked, problems } = answer;
  const wanted = isChainNeeded ? 'a chain to an anchor' : 'to lie in the folder';
  const ruled = rules.map(({ about, wants }, at) => [String(at + 1), about, wants]);
  return [
    sheet([
      ['folder', folder],
      ['a certificate needs', wanted],
    ]),
    ...listed('RULE', [{ head: 'ABOUT' }, { head: 'WANTS' }], ruled),
    ...listed('CERTIFICATE', SIGNER_COLUMNS, certificates.map(signerRow)),
    ...listed('ANCHOR', ANCHOR_COLUMNS, anchors.map(anchorRow)),
    ...listed('CRL OF', CRL_COLUMNS, crls.map(crlRow)),
    ...listed('MANIFEST KEY', KEY_COLUMNS, manifestKeys.map(keyRow)),
    ...(revoked.length === 0 ? [] : [['REVOKED HERE', ...revoked].join('\n')]),
    ...problems.map(({ where, what }) => `problem: ${where}: ${what}`),
  ];
}

type Columns = Parameters<typeof table>[0];

const listed = (head: string, columns: Columns, rows: readonly (readonly string[])[]): string[] =>
  rows.length === 0 ? [] : [table([{ head }, ...columns], rows)];

const SIGNER_COLUMNS: Columns = [
  { head: 'SUBJECT', drop: 2, isCut: true },
  { head: 'KEY', drop: 4 },
  { head: 'UNTIL', drop: 3 },
  { head: 'TRUSTED' },
  { head: 'KEY ID', drop: 5 },
];
const ANCHOR_COLUMNS: Columns = [
  { head: 'KEY', drop: 3 },
  { head: 'UNTIL', drop: 2 },
  { head: 'KEY ID', drop: 4 },
];
const KEY_COLUMNS: Columns = [{ head: 'KEY' }, { head: 'TRUSTED' }, { head: 'KEY ID' }];
const CRL_COLUMNS: Columns = [
  { head: 'REVOKED' },
  { head: 'OF', drop: 2 },
  { head: 'NEXT', drop: 1 },
];

function signerRow(each: TrustCertificate): string[] {
  const { file, uuid = path.basename(file), subject, key, toMs, keyId, verdict } = each;
  return [uuid, subject, key, time(toMs), verdictText(verdict), keyId];
}

function verdictText(verdict: TrustCertificate['verdict']): string {
  if (verdict === undefined) return '-';
  if (!verdict.isTrusted) return `no: ${verdict.why}`;
  const [, ...issuers] = verdict.chain;
  return issuers.length === 0 ? 'yes' : `yes, by ${issuers.join(' < ')}`;
}

const anchorRow = ({ subject, key, toMs, keyId }: TrustCertificate): string[] => [
  subject,
  key,
  time(toMs),
  keyId,
];

const keyRow = ({ file, key, isRevoked, keyId }: TrustManifestKey): string[] => [
  path.basename(file),
  key,
  isRevoked ? 'no: it was revoked here' : 'yes',
  keyId,
];

const crlRow = ({ issuer, revoked, thisUpdateMs, nextUpdateMs, isOverdue }: TrustCrl): string[] => [
  issuer,
  String(revoked),
  time(thisUpdateMs),
  nextUpdateMs === undefined ? 'never' : `${time(nextUpdateMs)}${isOverdue ? ', overdue' : ''}`,
];
