// Why a worker ended, in one sentence, out of all that is known of it: pure.

export interface EndingFacts {
  /** siphond killed it, and why. */
  readonly killedFor?: string;
  /** It could not be started: spawn's error. */
  readonly spawnError?: string;
  /** It said itself that it cannot do its work. */
  readonly initError?: string;
  /** What broke its channel. */
  readonly channelError?: string;
  readonly exitCode?: number | null;
  readonly signal?: string | null;
  /** The last line of its standard error. */
  readonly lastLine?: string;
}

/** The better of several errors: what siphond did, then what the worker said, then how it ended; a broken channel comes last. */
export function describeEnding(facts: EndingFacts): string {
  if (facts.killedFor !== undefined) return `worker was killed: ${facts.killedFor}`;
  if (facts.spawnError !== undefined) return `worker could not be started: ${facts.spawnError}`;
  if (facts.initError !== undefined) return `worker could not start its work: ${facts.initError}`;
  const said = facts.lastLine === undefined ? '' : `; its last words: ${facts.lastLine}`;
  if (facts.signal) return `worker ended by ${facts.signal}${said}`;
  if (typeof facts.exitCode === 'number') return `worker ended with code ${facts.exitCode}${said}`;
  return `worker's channel broke: ${facts.channelError ?? 'closed'}${said}`;
}
