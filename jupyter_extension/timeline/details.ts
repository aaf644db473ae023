// One step in full, below the steps.

import type { Source } from "../src/timeline.js";
import type { Lane, Row } from "../src/types.js";
import type { Model } from "./model.js";
import { button, h, icon, put } from "./nodes.js";
import { stateOf, TEXT } from "./states.js";
import { sections } from "./values.js";
import type { Viewpoint } from "./viewpoint.js";
import { figure, money, span } from "./words.js";

/** What a step in full needs of what is around it. `chosen`: another step is, or none; `left`: it was closed. */
export interface DetailsHost {
  source: Source;
  model: Model;
  viewpoint: Viewpoint;
  command: (verb: "fork" | "goto", step: string) => void;
  chosen: () => void;
  left: () => void;
}

export class Details {
  readonly el = h("section", { class: "details", "aria-label": "Step", hidden: true });
  private tail: HTMLElement | null = null; // what the step says while it goes on
  private drawn = ""; // what it was when it was drawn

  constructor(private readonly host: DetailsHost) {}

  get there(): boolean {
    return !this.el.hidden;
  }

  open(n: number, focus = false): void {
    const { source, model, viewpoint } = this.host;
    const row = model.rows[n];
    if (!row) return;
    viewpoint.choose(n);
    const close = button("✕", { class: "plain", "aria-label": "Close step", onclick: () => this.close() });
    this.tail = h("pre", { class: "stream", tabindex: "0", "aria-label": "Live output" });
    const facts = h(
      "dl",
      {},
      ...factsOf(row, model.lanes.get(row.lane)).map(([name, value]) =>
        h("div", {}, h("dt", { text: name }), h("dd", { text: value })),
      ),
    );
    this.el.replaceChildren(this.head(row, close), facts, this.tail, ...sections(row, source));
    this.el.hidden = false;
    this.drawn = stage(row);
    this.refresh(row);
    this.host.chosen();
    if (focus) close.focus();
  }

  close(): void {
    this.el.hidden = true;
    this.el.replaceChildren();
    this.host.viewpoint.selected = -1;
    this.host.left();
    this.host.chosen();
  }

  /** The row of the step came again. */
  refresh(row: Row): void {
    if (this.el.hidden || !this.tail) return;
    if (stage(row) !== this.drawn && row.status !== "running") {
      queueMicrotask(() => this.open(row.n));
      return;
    }
    const lines = (row.log || []).map((line) => `${new Date(line.at * 1000).toLocaleTimeString()}  ${line.text}`);
    if (row.text) lines.push(row.text);
    put(this.tail, lines.join("\n"));
    this.tail.hidden = !lines.length;
  }

  private head(row: Row, close: HTMLElement): HTMLElement {
    const [sign, word] = stateOf(row.status);
    const { command } = this.host;
    const fork = button("Fork from here", { onclick: () => command("fork", row.id) });
    const then = "The namespace as it was then";
    const goto = button("Go to", { title: then, onclick: () => command("goto", row.id) });
    return h(
      "div",
      { class: "head" },
      h("span", { class: `badge ${row.status}` }, icon(sign + TEXT), ` ${word}`),
      h("strong", { text: `${row.id} ${row.name}` }),
      row.old ? h("span", { class: "quiet", text: "left behind by a retry, an edit or a fork" }) : null,
      h("span", { class: "buttons" }, fork, goto, close),
    );
  }
}

/** What may not change without the whole being drawn again. */
const stage = (row: Row): string => `${row.status} ${row.attempts || 1}`;

function factsOf(row: Row, lane: Lane | undefined): [name: string, value: string][] {
  const { replays, tokens } = row;
  const all: [name: string, value: string][] = [
    ["kind", row.kind],
    ["scope", lane?.name || ""],
    ["began", new Date(row.at * 1000).toLocaleString()],
    ["took", row.took !== undefined ? span(row.took) : ""],
    ["attempts", (row.attempts || 1) > 1 ? String(row.attempts) : ""],
    ["replayed", replays ? `${replays} time${replays > 1 ? "s" : ""}` : ""],
    ["effect", row.effect || ""],
    ["outcome given by", row.given || ""],
    ["model", row.model || ""],
    ["tokens", tokens ? used(tokens) : ""],
    ["price", row.cost !== undefined ? money(row.cost) : tokens ? "unknown" : ""],
    ["saved by replay", row.saved ? money(row.saved) : ""],
  ];
  return all.filter(([, value]) => value);
}

function used([given, made, cached]: number[]): string {
  return `${figure(given!)} in${cached ? ` (${figure(cached)} cached)` : ""}, ${figure(made!)} out`;
}
