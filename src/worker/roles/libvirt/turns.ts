// One thing after the other for each key.

export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs the body when all earlier ones of the key have ended, however. */
  take<T>(key: string, body: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const turn = before.then(body, body);
    this.#last.set(key, turn);
    const forget = () => {
      if (this.#last.get(key) === turn) this.#last.delete(key);
    };
    turn.then(forget, forget);
    return turn;
  }
}
