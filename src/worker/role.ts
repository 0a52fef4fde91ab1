// What a role of the child program is: its methods, and what a method may do while it runs.

import type { Methods } from '../wire/worker-protocol.ts';

export interface CallContext<Progress = unknown> {
  /** Aborted by the caller's cancel, or when siphond is gone. */
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
}

type ProgressOf<T> = T extends { progress: infer P } ? P : never;

/** One function a method, typed by the protocol. */
export type Handlers<M> = {
  readonly [K in keyof M]: M[K] extends { params: infer P; result: infer R }
    ? (params: P, context: CallContext<ProgressOf<M[K]>>) => Promise<R>
    : never;
};

export type AnyHandler = (params: never, context: CallContext) => Promise<unknown>;

export interface Role<M = Methods> {
  readonly handlers: Handlers<M>;
  /** Closes what is open between calls, when all of them have returned and no more will come. */
  readonly end?: () => Promise<void>;
}

/** Makes a role ready to be called. It must not wait for a cluster or a daemon: those may be down. */
export type StartRole = (
  settings: unknown,
  emit: (event: unknown) => void,
) => {
  readonly handlers: Readonly<Record<string, AnyHandler>>;
  readonly end?: () => Promise<void>;
};
