// A policy that says where: each of its sets is published as soon as it is taken.

import { splitPlace } from '../../wire/caps.ts';
import { OperatingError } from '../../wire/errors.ts';
import { type PublishAsk, TO_FILE } from '../../wire/publish-api.ts';
import type { Policy, SnapshotSet } from '../../wire/vocabulary.ts';
import type { SnapshotLog } from '../ports.ts';
import type { Publishing } from './publishing.ts';

export interface ByPolicyParts {
  readonly policies: readonly Policy[];
  readonly publishing: Pick<Publishing, 'begin'>;
  readonly log: SnapshotLog;
}

/** In the background: its job says how it ends. */
export function publishByPolicy(
  { policies, publishing, log }: ByPolicyParts,
  set: SnapshotSet,
): void {
  const policy = policies.find(({ name }) => name === set.policy);
  if (policy?.publishTo === undefined) return;
  const { publishTo, publishCluster: cluster } = policy;
  const [pool, namespace] = splitPlace(publishTo);
  const to: PublishAsk['to'] =
    publishTo === TO_FILE ? TO_FILE : { pool, namespace, ...(cluster && { cluster }) };
  try {
    const { flatten = 'here', fallback = 'copy' } = policy;
    publishing.begin(set.id, { to, flatten, fallback });
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    log.warn({ set: set.id, policy: policy.name, error: error.toWire() }, 'not published');
  }
}
