// siphon trust revoke: distrusts a certificate, or a key, for good.

import { userInfo } from 'node:os';
import path from 'node:path';
import { REVOKED, surveyTrust, type TrustSettings, toUuid } from '../../trust/index.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { TrustChange } from '../../wire/trust-api.ts';
import { writeTrustFile } from './write.ts';

const KEY_ID = /^[0-9a-f]{64}$/;

/** Whatever is there, or comes later. @throws OperatingError */
export async function revokeTrust(
  settings: TrustSettings,
  text: string,
  now: number,
): Promise<TrustChange> {
  const what = toUuid(text) ?? (KEY_ID.test(text.toLowerCase()) ? text.toLowerCase() : undefined);
  if (what === undefined) {
    const hint = 'siphon trust list shows both of each certificate.';
    const why = 'it is neither a UUID nor the id of a key';
    throw new OperatingError({ code: 'usage', op: 'trust', subject: text, why, hint });
  }
  const { certificates, anchors } = await surveyTrust(settings, now);
  const meant = [...certificates, ...anchors].filter(
    (each) => each.uuid === what || each.keyId === what,
  );
  const file = path.join(settings.folder, REVOKED, what);
  const by = `revoked at ${new Date(now).toISOString()} by ${userInfo().username}\n`;
  const isWritten = await writeTrustFile(file, by, false);
  const notes = meant.length === 0 ? ['nothing here has it: it is refused if it comes'] : [];
  const subjects = meant.map((each) => each.subject).join('; ');
  return { file, wasThere: !isWritten, what: subjects || what, notes };
}
