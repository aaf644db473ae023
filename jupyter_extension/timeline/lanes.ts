// The run's scopes under each other, with the steps of each as bars in time.

import { AXIS, drawAxis } from "./axis.js";
import { drawSteps } from "./bars.js";
import type { Palette } from "./canvas.js";
import { prepare } from "./canvas.js";
import type { Filter } from "./filter.js";
import type { Lines } from "./grid.js";
import { fillLane, makeLane, trackOf } from "./lane.js";
import { laneMove } from "./moves.js";
import type { Model } from "./model.js";
import { h } from "./nodes.js";
import type { Zoom } from "./scale.js";
import { panned, Scale, WHOLE, zoomed } from "./scale.js";
import { LABEL, LABEL_NARROW, LANE, NARROW } from "./sizes.js";
import { Track } from "./track.js";
import type { Viewpoint } from "./viewpoint.js";

/** What the lanes need of what is around them. `moved`: another part of the time is in sight; `open` shows a step. */
export interface LanesHost {
  grid: HTMLElement;
  model: Model;
  viewpoint: Viewpoint;
  filter: Filter;
  palette: Palette;
  moved: () => void;
  open: (n: number, focus?: boolean) => void;
}

export class Lanes implements Lines {
  readonly label = "Lanes";
  readonly height = LANE;
  readonly atEnd = false;
  readonly axis = h("canvas", { class: "axis", "aria-hidden": "true" });
  private scale = new Scale([], 0);

  constructor(private readonly host: LanesHost) {
    host.grid.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  get length(): number {
    return this.host.model.order.length;
  }

  make(): HTMLElement {
    const { model, open } = this.host;
    return makeLane({
      at: (id, x, width) => model.rows[this.track(width).hit(x, model.inLane.get(id) || [], model.rows)],
      open,
    });
  }

  begin(): void {
    const { run, now } = this.host.model;
    if (run) this.scale = new Scale(run.sessions, run.owner ? now : run.updated);
  }

  fill(line: HTMLElement, place: number, anew: boolean): void {
    const { grid, model, viewpoint } = this.host;
    const id = model.order[place]!;
    const before = line.dataset.lane;
    const steps = model.inLane.get(id) || [];
    const chosen = model.rows[viewpoint.selected];
    const here = chosen?.lane === id ? chosen : null;
    fillLane(line, model.lanes.get(id)!, steps.length, here);
    if (here) grid.setAttribute("aria-activedescendant", line.id);
    if (anew || before !== String(id)) this.drawLane(trackOf(line), steps);
  }

  end(): void {
    const { width } = this;
    const pen = prepare(this.axis, width, AXIS);
    this.axis.style.marginLeft = `${this.left}px`;
    drawAxis(pen, this.host.palette.colours, this.track(width), this.host.viewpoint.zoom);
  }

  placeOf(n: number): number {
    const { rows, order } = this.host.model;
    return order.indexOf(rows[n]?.lane as number);
  }

  key(key: string): number | undefined {
    const { model, viewpoint, open } = this.host;
    const row = model.rows[viewpoint.selected];
    if (key === "Enter" || key === " ") {
      if (row) open(row.n, true);
    } else if (key === "+" || key === "=") this.zoomIn();
    else if (key === "-") this.zoomOut();
    else if (key === "0") this.setZoom(WHOLE);
    else return laneMove(key, row, model);
    return -1;
  }

  zoomIn(): void {
    this.setZoom(zoomed(this.host.viewpoint.zoom, 1 / 1.6, 0.5));
  }

  zoomOut(): void {
    this.setZoom(zoomed(this.host.viewpoint.zoom, 1.6, 0.5));
  }

  setZoom(zoom: Zoom): void {
    this.host.viewpoint.zoom = zoom;
    this.host.moved();
  }

  /** Where tracks begin. */
  private get left(): number {
    return this.host.grid.clientWidth <= NARROW ? LABEL_NARROW : LABEL;
  }

  /** How wide tracks are. */
  private get width(): number {
    return Math.max(40, this.host.grid.clientWidth - this.left - 8);
  }

  private track(width: number): Track {
    const { model, viewpoint } = this.host;
    return new Track(this.scale, viewpoint.zoom, width, model.now, model.run?.updated ?? 0);
  }

  private drawLane(canvas: HTMLCanvasElement, steps: number[]): void {
    const { model, viewpoint, filter, palette } = this.host;
    const { width } = this;
    const pen = prepare(canvas, width, LANE - 6);
    const { colours } = palette;
    const { selected } = viewpoint;
    drawSteps({ pen, colours, track: this.track(width), lit: filter.lit, selected }, steps, model.rows);
  }

  private wheel(event: WheelEvent): void {
    const { grid, viewpoint } = this.host;
    if (viewpoint.mode !== "lanes" || !(event.ctrlKey || event.metaKey || event.shiftKey)) return;
    event.preventDefault();
    const box = grid.getBoundingClientRect();
    const room = Math.max(1, box.width - this.left - 8);
    const at = Math.max(0, Math.min(1, (event.clientX - box.left - this.left) / room));
    if (event.shiftKey) this.setZoom(panned(viewpoint.zoom, (event.deltaY || event.deltaX) / 600));
    else this.setZoom(zoomed(viewpoint.zoom, Math.exp(event.deltaY / 300), at));
  }
}
