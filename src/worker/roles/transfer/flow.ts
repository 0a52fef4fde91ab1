// The bound on what an import holds in memory and has under way, whatever the size of its frames.

/** Memory of writes in flight, and of reads when they are checked. */
export const IN_FLIGHT_BYTES_MAX = 32 * 1024 * 1024;
/** Of small ones so many at once. */
export const IN_FLIGHT_MAX = 128;

/** Requests in flight, bounded in number and in bytes. The first that fails fails all that wait. */
export class Flow {
  readonly #running = new Set<Promise<void>>();
  #bytes = 0;
  #fault: { readonly why: unknown } | undefined;

  /** When there is room for it. */
  async memory(length: number): Promise<Buffer> {
    await this.room(length);
    return Buffer.allocUnsafeSlow(length);
  }

  async room(bytes: number): Promise<void> {
    while (
      this.#running.size >= IN_FLIGHT_MAX ||
      (this.#running.size > 0 && this.#bytes + bytes > IN_FLIGHT_BYTES_MAX)
    ) {
      await Promise.race(this.#running);
    }
    this.#assertWell();
  }

  add(bytes: number, work: Promise<unknown>): void {
    this.#bytes += bytes;
    const running: Promise<void> = work
      .then(
        () => undefined,
        (why: unknown) => void (this.#fault ??= { why }),
      )
      .finally(() => {
        this.#bytes -= bytes;
        this.#running.delete(running);
      });
    this.#running.add(running);
  }

  async drained(): Promise<void> {
    await Promise.all(this.#running);
    this.#assertWell();
  }

  #assertWell(): void {
    if (this.#fault !== undefined) throw this.#fault.why;
  }
}
