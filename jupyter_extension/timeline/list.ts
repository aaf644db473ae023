// All steps as a list, in the order in which they began.

import type { Filter } from "./filter.js";
import type { Lines } from "./grid.js";
import type { Model } from "./model.js";
import { fillRow, makeRow } from "./row.js";
import { ROW } from "./sizes.js";
import type { Viewpoint } from "./viewpoint.js";

/** What the list needs of what is around it. `texts` asks for what rows say; `open` shows a step. */
export interface ListHost {
  grid: HTMLElement;
  model: Model;
  viewpoint: Viewpoint;
  filter: Filter;
  texts: (numbers: number[]) => void;
  open: (n: number, focus?: boolean) => void;
}

export class List implements Lines {
  readonly label = "Steps";
  readonly height = ROW;
  private bare: number[] = []; // rows in sight that do not say yet what they said

  constructor(private readonly host: ListHost) {}

  get length(): number {
    const { filter, model } = this.host;
    return filter.shown ? filter.shown.length : model.rows.length;
  }

  get atEnd(): boolean {
    const { viewpoint, model } = this.host;
    return viewpoint.follow && Boolean(model.run?.owner) && viewpoint.selected < 0;
  }

  make(): HTMLElement {
    return makeRow((n) => this.host.open(n));
  }

  begin(): void {
    this.bare = [];
  }

  fill(line: HTMLElement, place: number): void {
    const { grid, model, viewpoint, filter } = this.host;
    const n = filter.shown ? filter.shown[place]! : place;
    const row = model.rows[n];
    line.dataset.n = String(n);
    const chosen = n === viewpoint.selected;
    line.setAttribute("aria-selected", String(chosen));
    if (chosen) grid.setAttribute("aria-activedescendant", line.id);
    fillRow(line, row, model.now);
    if (row && row.call === undefined && !model.asked.has(n)) this.bare.push(n);
  }

  end(): void {
    if (this.bare.length) this.host.texts(this.bare);
  }

  placeOf(n: number): number {
    const { shown } = this.host.filter;
    return shown ? shown.indexOf(n) : n;
  }

  key(key: string): number | undefined {
    const { grid, viewpoint, filter } = this.host;
    if (key === "Enter" || key === " ") {
      if (viewpoint.selected >= 0) this.host.open(viewpoint.selected, true);
      return -1;
    }
    const total = this.length;
    const at = viewpoint.selected < 0 ? -1 : this.placeOf(viewpoint.selected);
    const page = Math.max(1, Math.floor(grid.clientHeight / ROW) - 1);
    const moves: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: at < 0 ? total - 1 : at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: total - 1,
    };
    const move = moves[key];
    if (move === undefined || !total) return undefined;
    const to = Math.max(0, Math.min(total - 1, move));
    return filter.shown ? filter.shown[to] : to;
  }
}
