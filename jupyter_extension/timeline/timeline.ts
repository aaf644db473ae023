// The timeline of a run: what comes in, what is drawn of it in a frame, and what people do with it.

import type { Source } from "../src/timeline.js";
import type { Page, Row, RunHead } from "../src/types.js";
import { Announcer } from "./announcer.js";
import { Asking } from "./asking.js";
import { Palette } from "./canvas.js";
import type { Verb } from "./commands.js";
import { Commands } from "./commands.js";
import { Decisions } from "./decisions.js";
import { Details } from "./details.js";
import { Filter } from "./filter.js";
import { Frames } from "./frames.js";
import { Grid } from "./grid.js";
import { Header } from "./header.js";
import { Lanes } from "./lanes.js";
import { List } from "./list.js";
import { Model } from "./model.js";
import { h, put } from "./nodes.js";
import { WHOLE } from "./scale.js";
import type { State } from "./states.js";
import css from "./style/timeline.css";
import { wear } from "./themes.js";
import { isFinal } from "./title.js";
import { Toolbar } from "./toolbar.js";
import type { Mode } from "./viewpoint.js";
import { Viewpoint } from "./viewpoint.js";

/** How often what depends on the time is drawn, in milliseconds. */
const TICK = 500;

export class Timeline {
  private readonly box = h("div", { class: "box-all" });
  private readonly blank = h("p", { class: "blank quiet", text: "Waiting for the first step…" });
  private readonly viewpoint = new Viewpoint();
  private readonly filter = new Filter();
  private readonly palette = new Palette(this.box);
  private readonly announcer = new Announcer();
  // Whoever measures drawing puts something around `draw`: it is looked up each time.
  private readonly frames = new Frames(() => this.draw());
  private readonly model = new Model((row) => {
    if (row.n === this.viewpoint.selected) this.details.refresh(row);
  });
  private readonly queue: Page[] = [];
  private readonly asking: Asking;
  private readonly commands: Commands;
  private readonly header: Header;
  private readonly decisions: Decisions;
  private readonly toolbar: Toolbar;
  private readonly lines: Grid;
  private readonly list: List;
  private readonly lanes: Lanes;
  private readonly details: Details;
  private readonly end: () => void;

  constructor(
    el: HTMLElement,
    private readonly source: Source,
  ) {
    const root = el.shadowRoot || el.attachShadow({ mode: "open" });
    el.setAttribute("data-lm-suppress-shortcuts", "true"); // what is typed here is no shortcut of the notebook's
    const { model, viewpoint, filter, palette } = this;
    const { schedule } = this.frames;
    const open = (n: number, focus?: boolean): void => this.open(n, focus);
    const moved = (): void => schedule("lanes");
    const chosen = (): void => schedule("list", "lanes");
    const left = (): void => this.grid.focus({ preventScroll: true });
    const command = (verb: Verb, step?: string): void => this.command(verb, step);
    const cancel = (): void => this.commands.cancel();
    const step = (id: string): Row | undefined => model.rows.findLast((row) => row && row.id === id);
    const run = (): string => model.run!.id;

    this.asking = new Asking(source, model, () => schedule("list"));
    this.commands = new Commands(source, model);
    const toggle = (state: State): void => {
      filter.toggle(state);
      schedule("head", "filter", "list", "lanes");
    };
    const head = { resume: () => command("resume"), cancel, fork: () => command("fork"), toggle };
    this.header = new Header({ ...head, open: (id) => this.commands.open(id) }, this.commands.note);
    this.decisions = new Decisions({ source, root, run, step, open, cancel });
    this.lines = new Grid((n) => this.select(n));
    const { grid } = this;
    this.list = new List({ grid, model, viewpoint, filter, texts: (numbers) => this.asking.texts(numbers), open });
    this.lanes = new Lanes({ grid, model, viewpoint, filter, palette, moved, open });
    this.details = new Details({ source, model, viewpoint, command, chosen, left });
    this.toolbar = new Toolbar(
      {
        search: (search) => this.narrow({ search }),
        kind: (kind) => this.narrow({ kind }),
        mode: (mode) => this.show(mode),
        zoomIn: () => this.lanes.zoomIn(),
        zoomOut: () => this.lanes.zoomOut(),
        zoomFit: () => this.lanes.setZoom(WHOLE),
      },
      this.header.chips,
    );
    this.lines.show(this.list);
    this.box.append(this.header.el, this.decisions.el, this.toolbar.el, this.lanes.axis, grid);
    this.box.append(this.blank, this.details.el, this.announcer.el);
    root.replaceChildren(h("style", { text: css }), this.box);
    this.box.addEventListener("keydown", (event) => this.key(event));
    const unwatch = this.watch();
    const unsubscribe = source.subscribe((page) => this.take(page));
    this.end = () => {
      unsubscribe();
      unwatch();
      root.replaceChildren();
    };
  }

  // -- what those who have mounted it may use ---

  get rows(): Model["rows"] {
    return this.model.rows;
  }

  get run(): RunHead | null {
    return this.model.run;
  }

  get feed(): string {
    return this.model.feed;
  }

  get mark(): number {
    return this.model.mark;
  }

  get grid(): HTMLElement {
    return this.lines.el;
  }

  get resume(): HTMLElement {
    return this.header.title.resume;
  }

  get cancel(): HTMLElement {
    return this.header.title.cancel;
  }

  get fork(): HTMLElement {
    return this.header.title.fork;
  }

  /** Show a step in full. */
  open(n: number, focus = false): void {
    this.details.open(n, focus);
  }

  command(verb: Verb, step?: string): void {
    this.commands.run(verb, step);
  }

  setZoom(from: number, to: number): void {
    this.lanes.setZoom([from, to]);
  }

  /** What has come and changed since the last frame. */
  draw(): void {
    this.frames.begin();
    for (const page of this.queue.splice(0)) this.apply(page);
    const { model } = this;
    if (!model.run) return;
    const dirty = this.frames.take();
    const lanes = this.viewpoint.mode === "lanes";
    this.toolbar.offer(model.kinds);
    if (dirty.filter) this.toolbar.tell(this.filter.match(model));
    if (dirty.head) this.drawHead(model.run);
    if (dirty.waits) this.decisions.draw(model.waits);
    if (dirty.list || dirty.filter || (lanes && dirty.lanes)) this.lines.draw(dirty.lanes || dirty.filter);
  }

  dispose(): void {
    this.end();
  }

  // -- how its parts come together ---

  /** Follow what is around it: scrolling, its size, the front end's looks, the time. Returns what ends that. */
  private watch(): () => void {
    const { viewpoint, model } = this;
    const { schedule } = this.frames;
    this.lines.watch((end) => {
      viewpoint.follow = end;
      schedule("list");
    });
    const sizes = new ResizeObserver(() => schedule("list", "lanes"));
    sizes.observe(this.grid);
    const undress = wear(this.box, () => {
      this.palette.forget();
      schedule("list", "lanes");
    });
    const clock = setInterval(() => {
      const goesOn = model.run?.status === "running" || model.waits.some((wait) => wait.until);
      if (model.run && goesOn) schedule("head", viewpoint.mode === "lanes" ? "lanes" : "head");
    }, TICK);
    return () => {
      clearInterval(clock);
      this.frames.end();
      sizes.disconnect();
      undress();
    };
  }

  private take(page: Page): void {
    if (!page || page.v !== 1) return;
    this.queue.push(page);
    this.frames.schedule();
  }

  private apply(page: Page): void {
    const { missed, waits } = this.model.take(page);
    if (waits) this.frames.touch("waits");
    if (missed) this.asking.catchUp();
    this.frames.touch("head", "list", "lanes", "filter");
  }

  private drawHead(run: RunHead): void {
    const { model } = this;
    this.header.draw(run, model.now, Boolean(this.source.ask), this.filter.states);
    this.box.classList.toggle("spends", run.calls > 0);
    this.blank.hidden = model.rows.length > 0;
    put(this.blank, isFinal(run) || !run.owner ? "No steps." : "Waiting for the first step…");
    this.announcer.say(run, model.waits);
  }

  private narrow(by: { search?: string; kind?: string }): void {
    Object.assign(this.filter, by);
    this.frames.schedule("filter", "list", "lanes");
  }

  private show(mode: Mode): void {
    this.viewpoint.mode = mode;
    this.toolbar.show(mode);
    this.lines.show(mode === "lanes" ? this.lanes : this.list);
    this.box.classList.toggle("in-lanes", mode === "lanes");
    this.frames.schedule("head", "list", "lanes");
  }

  /** Keys that mean the same wherever they are pressed. */
  private key(event: KeyboardEvent): void {
    if (event.key === "/" && !(event.target as HTMLElement).matches("input, textarea, select")) {
      event.preventDefault();
      this.toolbar.focus();
    } else if (event.key === "Escape" && this.details.there) {
      this.details.close();
      event.preventDefault();
    }
    event.stopPropagation();
  }

  /** A key has led to a step. */
  private select(n: number): void {
    this.viewpoint.choose(n);
    this.lines.reveal(n);
    this.frames.schedule("list", "lanes");
    if (this.details.there) this.open(n);
  }
}
