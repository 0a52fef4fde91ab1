// siphond --trust: the trust folder of the config, listed or changed by whoever runs this. Prints JSON for `siphon trust`.

import { ruleText, surveyTrust } from '../../trust/index.ts';
import { ERROR_TABLE, OperatingError } from '../../wire/errors.ts';
import type { TrustAnswer, TrustChange } from '../../wire/trust-api.ts';
import { loadConfig } from '../config/load.ts';
import { formatProblem } from '../config/problems.ts';
import { addTrust } from './add.ts';
import { revokeTrust } from './revoke.ts';

export interface TrustOptions {
  readonly configFile: string;
  readonly verb: string;
  /** Of `add`: the file; of `revoke`: what. */
  readonly what?: string;
  readonly uuid?: string;
  readonly isAnchor: boolean;
  readonly isCrl: boolean;
  readonly isReplaced: boolean;
}

/** Prints, and gives the exit code. */
export async function runTrust(options: TrustOptions): Promise<number> {
  try {
    console.log(JSON.stringify(await answerOf(options), null, 2));
    return 0;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    console.error(JSON.stringify({ error: error.toWire() }));
    return ERROR_TABLE[error.code].exit;
  }
}

async function answerOf(options: TrustOptions): Promise<TrustAnswer | TrustChange> {
  const { verb, what = '', uuid, isAnchor, isCrl, isReplaced } = options;
  const loaded = await loadConfig(options.configFile);
  if (loaded.kind === 'bad') {
    const why = loaded.problems.map(formatProblem).join('; ');
    throw new OperatingError({ code: 'usage', op: 'trust', subject: options.configFile, why });
  }
  const { trust } = loaded.config;
  if (verb === 'list')
    return { ...(await surveyTrust(trust, Date.now())), rules: trust.rules.map(ruleText) };
  if (verb === 'revoke') return await revokeTrust(trust, what, Date.now());
  const as = isAnchor ? 'anchor' : isCrl ? 'crl' : 'signer';
  const wish = { file: what, as, isReplaced, ...(uuid !== undefined && { uuid }) } as const;
  return await addTrust(trust, wish, Date.now());
}
