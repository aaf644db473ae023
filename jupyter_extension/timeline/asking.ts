// What is asked for while somebody looks: rows that were missed, and texts of rows that are in sight.

import type { Source } from "../src/timeline.js";
import type { Row } from "../src/types.js";
import type { Model } from "./model.js";

/** So long nobody has scrolled before texts are asked for, and so many of them. */
const REST = 60;
const MOST = 100;
/** After a failure, texts may be asked for again when so much time has passed. */
const AGAIN = 3000;

export class Asking {
  private catching = false;
  private readonly wanted = new Set<number>(); // of the asked ones, those for which nothing was sent yet
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** came: rows with texts did. */
  constructor(
    private readonly source: Source,
    private readonly model: Model,
    private readonly came: () => void,
  ) {}

  /** What came after the last mark that is sure. */
  catchUp(): void {
    if (!this.source.ask || this.catching) return;
    this.catching = true;
    void this.source
      .ask({ type: "since", feed: this.model.feed, mark: this.model.mark })
      .catch(() => {})
      .finally(() => (this.catching = false));
  }

  /** What rows say, and how their calls were made. */
  texts(numbers: number[]): void {
    if (!this.source.ask) return;
    for (const n of numbers) {
      this.model.asked.add(n);
      this.wanted.add(n);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), REST);
  }

  private send(): void {
    const { asked } = this.model;
    // Where one has stopped scrolling; what was passed by is asked for when it is seen again.
    const wanted = [...this.wanted].slice(-MOST);
    for (const n of this.wanted) if (!wanted.includes(n)) asked.delete(n);
    this.wanted.clear();
    this.source
      .ask?.({ type: "texts", ns: wanted })
      .then((answer) => {
        for (const row of (answer as { rows?: Row[] } | null)?.rows || []) this.model.add(row);
        this.came();
      })
      .catch(() => setTimeout(() => wanted.forEach((n) => asked.delete(n)), AGAIN));
  }
}
