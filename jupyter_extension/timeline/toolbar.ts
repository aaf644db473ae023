// How steps are looked at: searched, by kind, as a list or in lanes, how much of the time.

import { button, h, put } from "./nodes.js";
import type { Mode } from "./viewpoint.js";

/** What was chosen in it. */
export interface ToolbarHost {
  search: (text: string) => void;
  kind: (kind: string) => void;
  mode: (mode: Mode) => void;
  zoomIn: () => void;
  zoomOut: () => void;
  zoomFit: () => void;
}

export class Toolbar {
  readonly el: HTMLElement;
  private readonly search: HTMLElement;
  private readonly kind: HTMLElement;
  private readonly list: HTMLElement;
  private readonly lanes: HTMLElement;
  private readonly zoom: HTMLElement;
  private readonly matches = h("span", { class: "quiet matches" });
  private offered = 0;

  /** chips: how to filter by state. */
  constructor(host: ToolbarHost, chips: HTMLElement) {
    this.search = h("input", {
      type: "search",
      placeholder: "Search steps",
      "aria-label": "Search steps",
      oninput: (event: Event) => host.search((event.target as HTMLInputElement).value.toLowerCase()),
    });
    const onchange = (event: Event): void => host.kind((event.target as HTMLSelectElement).value);
    const every = h("option", { value: "", text: "All kinds" });
    this.kind = h("select", { "aria-label": "Kind of step", onchange }, every);
    this.list = button("List", { "aria-pressed": "true", onclick: () => host.mode("list") });
    this.lanes = button("Lanes", { "aria-pressed": "false", onclick: () => host.mode("lanes") });
    this.zoom = h(
      "span",
      { class: "zoom", hidden: true },
      button("−", { "aria-label": "Zoom out", onclick: () => host.zoomOut() }),
      button("+", { "aria-label": "Zoom in", onclick: () => host.zoomIn() }),
      button("Fit", { "aria-label": "Show the whole time", onclick: () => host.zoomFit() }),
    );
    const tabs = h("span", { class: "tabs", role: "group", "aria-label": "View" }, this.list, this.lanes);
    const right = h("span", { class: "right" }, this.zoom, tabs);
    this.el = h("div", { class: "tools" }, this.search, this.kind, chips, this.matches, right);
  }

  /** The kinds that steps have; what was there once stays. */
  offer(kinds: Set<string>): void {
    if (kinds.size === this.offered) return;
    for (const kind of [...kinds].slice(this.offered)) this.kind.append(h("option", { value: kind, text: kind }));
    this.offered = kinds.size;
  }

  /** How many steps match. */
  tell(matches: string): void {
    put(this.matches, matches);
  }

  show(mode: Mode): void {
    this.list.setAttribute("aria-pressed", String(mode === "list"));
    this.lanes.setAttribute("aria-pressed", String(mode === "lanes"));
    this.zoom.hidden = mode !== "lanes";
  }

  focus(): void {
    this.search.focus();
  }
}
