import { IDLE, type RunState } from "./state";

/** The state and its listeners. It reports a change of status at once, and other changes at most every `renderMs`. */
export class View {
  state: RunState = IDLE;
  private shown = IDLE;
  private shownAt = Number.NEGATIVE_INFINITY;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly renderMs: () => number;

  /** `renderMs` returns the shortest time between two changes that are shown. */
  constructor(renderMs: () => number) {
    this.renderMs = renderMs;
  }

  get = (): RunState => this.shown;

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  change(change: (state: RunState) => RunState): void {
    this.state = change(this.state);
    const early = this.shownAt + this.renderMs() - performance.now();
    if (early <= 0 || this.state.status !== this.shown.status) this.show();
    else this.timer ??= setTimeout(this.show, early);
  }

  private show = (): void => {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.shownAt = performance.now();
    this.shown = this.state;
    for (const listener of this.listeners) listener();
  };
}
