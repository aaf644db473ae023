// What a run comes from and what came of it, and what it says about itself.

import type { Relative, RunHead } from "../src/types.js";
import { button, copy, h } from "./nodes.js";
import { stateOf } from "./states.js";
import { short } from "./words.js";

export class Relations {
  readonly el = h("div", { class: "relations" });
  private drawn = "";

  /** open: show another run; false: that cannot be done here. */
  constructor(private readonly open: (run: string) => boolean) {}

  draw({ parent, forks, error, log, line }: RunHead): void {
    const key = JSON.stringify([parent, forks, error, log, line]);
    if (key === this.drawn) return;
    this.drawn = key;
    const at = ({ step }: Relative): string => (step ? `at step ${step} ` : "");
    this.el.replaceChildren(
      ...(error ? [h("p", { class: "error", text: `✗ ${error}` })] : []),
      ...(parent ? [this.link(parent, `forked ${at(parent)}from`)] : []),
      ...(forks || []).slice(0, 5).map((one) => this.link(one, `${at(one)}continued as`)),
      ...(log || []).slice(-2).map((one) => h("span", { class: "quiet", text: one.text })),
    );
    this.el.hidden = !this.el.childNodes.length;
  }

  private link(one: Relative, says: string): HTMLElement {
    const onclick = (event: Event): unknown => this.open(one.id) || copy(one.id, event.currentTarget as HTMLElement);
    const run = button(`${one.name} ${short(one.id)}`, { class: "link", onclick });
    return h("span", {}, `↱ ${says} `, run, ` (${stateOf(one.status)[1]})`);
  }
}
