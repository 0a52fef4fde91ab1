// Bytes and facts in, verdict out.

export { type Certificate, parseCertificates } from './certificate.ts';
export { CRL_BYTES_MAX, type Crl, isSignedBy, parseCrls } from './crl.ts';
export type { Inspection } from './inspect.ts';
export { INSPECT_HEAD_BYTES, inspectHead } from './inspect.ts';
export { MANIFEST_KEYS, manifestKeys } from './manifest-folder.ts';
export { hasPrivateKey } from './pem.ts';
export type { PlanRequest } from './plan.ts';
export { planVerification } from './plan.ts';
export { type FindCertificate, toUuid } from './plan-signature.ts';
export { REQUIREMENTS, ruleText, standingOf, type TrustRule } from './policy.ts';
export {
  createReach,
  type ProvenBase,
  proofText,
  type Reach,
  type Reached,
} from './reach.ts';
export {
  type NamedKey,
  type ReachFolder,
  readNamedKeys,
  readReachFolder,
  tokenOf,
} from './reach-folder.ts';
export { certificateFacts, crlFacts, surveyTrust, trustProblems } from './survey.ts';
export {
  ANCHORS,
  CRLS,
  certificateFolder,
  filesIn,
  REVOKED,
  readTrust,
  type TrustSettings,
} from './trust-folder.ts';
export type { Hasher, HashJob, HashOutcome, Verdict } from './verify.ts';
export { hashJobs, judge, openHasher } from './verify.ts';
