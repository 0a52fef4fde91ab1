// Bytes and facts in, verdict out.

export type { Inspection } from './inspect.ts';
export { INSPECT_HEAD_BYTES, inspectHead } from './inspect.ts';
export type { PlanRequest } from './plan.ts';
export { planVerification } from './plan.ts';
export type { FindCertificate } from './plan-signature.ts';
export { REQUIREMENTS, standingOf, type TrustRule } from './policy.ts';
export { certificateFolder, readTrust, type TrustSettings } from './trust-folder.ts';
export type { Hasher, HashJob, HashOutcome, Verdict } from './verify.ts';
export { hashJobs, judge, openHasher } from './verify.ts';
