// siphon trust revoke: distrusts a certificate, or a key, for good.

import { userInfo } from 'node:os';
import path from 'node:path';
import { REVOKED, readNamedKeys, type TrustSettings, tokenOf } from '../../trust/index.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { TrustChange } from '../../wire/trust-api.ts';
import { writeTrustFile } from './write.ts';

/** Whatever is there, or comes later. @throws OperatingError */
export async function revokeTrust(
  settings: TrustSettings,
  text: string,
  now: number,
): Promise<TrustChange> {
  const found = tokenOf(text, await readNamedKeys(settings));
  if (found === undefined) {
    const hint = 'siphon trust list shows both of each certificate.';
    const why =
      'it is neither a UUID nor the id of a key, and no file of the folder is called that';
    throw new OperatingError({ code: 'usage', op: 'trust', subject: text, why, hint });
  }
  const { token, known } = found;
  const file = path.join(settings.folder, REVOKED, token);
  const by = `revoked at ${new Date(now).toISOString()} by ${userInfo().username}\n`;
  const isWritten = await writeTrustFile(file, by, false);
  const notes = known.length === 0 ? ['nothing here has it: it is refused if it comes'] : [];
  const subjects = known.map((each) => each.what).join('; ');
  return { file, wasThere: !isWritten, what: subjects || token, notes };
}
