// Whether a worker's event loop still turns: it is asked again and again, and must answer one of so many. A call's own deadline says
// nothing of that: a fill may take hours.

export interface PulseParts {
  readonly everyMs: number;
  /** So many questions without an answer are a lost pulse. Counted, not timed: whoever was stopped himself has heard nothing either. */
  readonly missesMax: number;
  readonly ask: () => void;
  readonly onLost: () => void;
}

export interface Pulse extends Disposable {
  /** It said something, whatever it was. */
  heard(): void;
}

export function startPulse({ everyMs, missesMax, ask, onLost }: PulseParts): Pulse {
  let unanswered = 0;
  const timer = setInterval(() => {
    if (unanswered >= missesMax) return onLost();
    unanswered += 1;
    ask();
  }, everyMs);
  return {
    heard: () => {
      unanswered = 0;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
