// The config's table of trust: where certificates are, what chains are held to, and what sources must carry.

import { z } from 'zod';
import { REQUIREMENTS } from '../../trust/index.ts';
import { oneOf, path, someOf, text } from './types.ts';

const RULES_ALLOWED =
  'a list of at most 100 tables of pools, images, require, formats and allow_foreign_raw';
const GLOBS_ALLOWED = 'a list of at most 100 globs';
const globs = () =>
  z
    .array(
      text('a glob of at most 200 letters', (each) => each.length > 0 && each.length <= 200),
      { error: GLOBS_ALLOWED },
    )
    .max(100, { error: GLOBS_ALLOWED })
    .default([]);

const REQUIRE_ALLOWED = `one of ${REQUIREMENTS.join(', ')}, or a list of some of them`;
const trustRule = z.strictObject({
  pools: globs(),
  images: globs(),
  // Stated in each: a rule that forgot it would ask for nothing.
  require: z.union(
    [z.enum(REQUIREMENTS).transform((one) => [one]), z.array(z.enum(REQUIREMENTS)).min(1)],
    { error: REQUIRE_ALLOWED },
  ),
  formats: someOf('raw', 'qcow2').min(1).default(['raw', 'qcow2']),
  allow_foreign_raw: z.boolean({ error: 'true or false' }).default(false),
});

export const TRUST = {
  folder: path()
    .default('/etc/siphon/trust')
    .describe(
      'the certificates that may sign images, each as `UUID.pem`; in `anchors/` those to which they must have a chain, in `crls/` lists of revoked ones; in `manifest-keys/` the keys that may sign manifests',
    ),
  chains: oneOf('anchored', 'always')
    .default('anchored')
    .describe(
      'when a certificate must have a chain to an anchor: `anchored`, while there is any in `anchors/`; `always`',
    ),
  path_length: oneOf('optional', 'required')
    .default('optional')
    .describe(
      'whether each authority in a chain has to state a path length, as OpenStack’s verifier wants it; X.509 does not',
    ),
  rules: z
    .array(trustRule, { error: RULES_ALLOWED })
    .max(100, { error: RULES_ALLOWED })
    .meta({ allowed: RULES_ALLOWED })
    .default([])
    .describe('what sources must carry, `[[trust.rules]]`: the first that is about one decides'),
};
