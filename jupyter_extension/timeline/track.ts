// Where times are on a lane's track of some width.

import type { Row } from "../src/types.js";
import type { Scale, Zoom } from "./scale.js";

export class Track {
  /** now: where steps end that go on; updated: where others do whose end nobody has told. */
  constructor(
    readonly scale: Scale,
    private readonly zoom: Zoom,
    readonly width: number,
    private readonly now: number,
    private readonly updated: number,
  ) {}

  /** Pixels from the left, of a place on the scale. */
  x(place: number): number {
    const [a, b] = this.zoom;
    return ((place - a) / (b - a)) * this.width;
  }

  /** From where to where a step is. */
  bar(row: Row): [from: number, to: number] {
    const end = row.end ?? (row.status === "running" || row.status === "waiting" ? this.now : this.updated);
    return [this.x(this.scale.x(row.at)), this.x(this.scale.x(Math.max(end, row.at)))];
  }

  /** The step at `x`, or the nearest one a few pixels away; -1: none. */
  hit(x: number, steps: number[], rows: (Row | undefined)[]): number {
    let best = -1;
    let near = 5;
    for (const n of steps) {
      const row = rows[n];
      if (!row) continue;
      const [from, to] = this.bar(row);
      if (x >= from && x <= Math.max(to, from + 3)) return n;
      const off = Math.min(Math.abs(x - from), Math.abs(x - to));
      if (off < near) [best, near] = [n, off];
    }
    return best;
  }
}
