// What is known of the run: rows by number, scopes, waits. Pages come in, whoever draws reads.

import type { Lane, Page, Row, RunHead, Wait } from "../src/types.js";

/** What a page brought. `missed`: something before it has not come. `waits`: other ones than before. */
export interface Taken {
  missed: boolean;
  waits: boolean;
}

export class Model {
  run: RunHead | null = null;
  /** By number; there may be holes. */
  rows: (Row | undefined)[] = [];
  waits: Wait[] = [];
  readonly lanes = new Map<number, Lane>();
  /** The numbers of the rows in a lane. */
  readonly inLane = new Map<number, number[]>();
  /** The lanes, parents before their children. */
  order: number[] = [];
  /** The kinds of steps there have been. */
  readonly kinds = new Set<string>();
  /** Rows whose texts are under way. */
  readonly asked = new Set<number>();
  feed = "";
  /** Up to where nothing is missing. */
  mark = 0;
  /** How many steps have no row here. */
  leftOut = 0;
  private skew = 0;

  /** told: a row came, or came again. */
  constructor(private readonly told: (row: Row) => void) {}

  /** The time where the run is, in POSIX seconds: our own clock need not be right. */
  get now(): number {
    return Date.now() / 1000 - this.skew;
  }

  take(page: Page): Taken {
    if (page.feed !== this.feed) this.forget(page.feed);
    const whole = !page.left_out || page.since > 0;
    const missed = page.since > this.mark || !whole;
    for (const lane of page.lanes) this.lanes.set(lane.id, lane);
    if (page.lanes.length) this.orderLanes();
    for (const row of page.rows) this.add(row);
    const waits = this.isNew(page.run) && this.takeRun(page);
    if (!missed) this.mark = Math.max(this.mark, page.mark);
    this.leftOut = Math.max(0, page.run.steps - this.rows.length);
    return { missed, waits };
  }

  /** A row that is new, or instead of the one with its number. */
  add(row: Row): void {
    const before = this.rows[row.n];
    if (!before) {
      this.place(row);
      this.kinds.add(row.kind);
    } else if (row.call === undefined && before.call !== undefined) {
      row.call = before.call;
      if (row.says === undefined && row.status === before.status) row.says = before.says;
    }
    this.asked.delete(row.n);
    this.rows[row.n] = row;
    this.told(row);
  }

  private forget(feed: string): void {
    this.rows = [];
    this.lanes.clear();
    this.inLane.clear();
    this.asked.clear();
    this.feed = feed;
    this.mark = 0;
  }

  private isNew(run: RunHead): boolean {
    return run.updated >= (this.run?.updated ?? 0) || run.id !== this.run?.id;
  }

  /** Whether it waits for something else now. */
  private takeRun(page: Page): boolean {
    this.run = page.run;
    this.skew = Date.now() / 1000 - page.run.now;
    if (JSON.stringify(page.waits) === JSON.stringify(this.waits)) return false;
    this.waits = page.waits;
    return true;
  }

  private place(row: Row): void {
    let lane = this.inLane.get(row.lane);
    if (!lane) this.inLane.set(row.lane, (lane = []));
    lane.push(row.n);
    if (lane.length > 1 && lane[lane.length - 2]! > row.n) lane.sort((a, b) => a - b);
  }

  private orderLanes(): void {
    const below = new Map<number, number[]>();
    for (const lane of this.lanes.values()) {
      const parent = this.lanes.has(lane.parent) ? lane.parent : 0;
      below.set(
        parent,
        [...(below.get(parent) || []), lane.id].sort((a, b) => a - b),
      );
    }
    this.order = [];
    const todo = [...(below.get(0) || [])].reverse();
    for (let id = todo.pop(); id !== undefined; id = todo.pop()) {
      this.order.push(id);
      todo.push(...[...(below.get(id) || [])].reverse());
    }
  }
}
