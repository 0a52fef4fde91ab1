// What a proof asks of libvirt's worker: a domain of siphon's own, which lives as long as the worker's connection, and its guest.

import type { SeenFilesystem } from './verify-api.ts';

/** Names of such domains begin so; only these are started, entered and ended. */
export const PROOF_MARK = 'siphon.v-';

export type GuestLook =
  /** The domain has ended by itself. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'silent'; readonly why: string }
  | {
      readonly kind: 'answers';
      readonly agent: string;
      readonly os?: string;
      /** Why it runs no command; absent: it does. */
      readonly whyNoExec?: string;
      readonly filesystems: readonly SeenFilesystem[];
      /** The agent does not tell. */
      readonly whyNoFilesystems?: string;
    };

/** Of the `libvirt` role. `domain`: its UUID. */
export interface ProofMethods {
  /**
   * Starts it without defining it. It may reach nothing of this host that no domain defined here does; its name and its disks' have the mark.
   * `not`: libvirt or QEMU did not start it. @throws OperatingError refused
   */
  startProof: {
    params: { readonly xml: string };
    result: { readonly kind: 'started' } | { readonly kind: 'not'; readonly why: string };
  };
  /** One question to its agent, with an answer in a few seconds. */
  lookAtProof: { params: { readonly domain: string }; result: GuestLook };
  attachToProof: {
    params: { readonly domain: string; readonly xml: string };
    result: { readonly kind: 'attached' } | { readonly kind: 'not'; readonly why: string };
  };
  /** Runs a script by the guest's sh, through its agent. `not`: it does not run one, or not to its end. */
  execInProof: {
    params: {
      readonly domain: string;
      readonly script: string;
      readonly args: readonly string[];
      readonly timeoutMs: number;
    };
    result:
      | { readonly kind: 'ran'; readonly exitCode: number; readonly output: string }
      | { readonly kind: 'not'; readonly why: string };
  };
  endProof: {
    params: { readonly domain: string };
    result: { readonly was: 'ended' | 'absent' };
  };
}
