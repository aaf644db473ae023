// How many steps are in which state: chips that filter, and a bar of shares.

import type { Counts } from "../src/types.js";
import { button, h, icon, put } from "./nodes.js";
import type { State } from "./states.js";
import { METER, ORDER, stateOf, TEXT } from "./states.js";
import { figure } from "./words.js";

interface Chip {
  el: HTMLElement;
  figure: HTMLElement;
}

export class Meter {
  readonly chips = h("div", { class: "chips", role: "group", "aria-label": "Filter by state" });
  readonly bar = h("div", { class: "meter", "aria-hidden": "true" });
  private readonly chipOf = new Map<State, Chip>();

  /** toggle: a chip was clicked. */
  constructor(private readonly toggle: (state: State) => void) {}

  /** chosen: the states that steps are filtered by. */
  draw(counts: Counts, chosen: Set<string>): void {
    if (!this.bar.childNodes.length) this.bar.append(...METER.map((state) => h("span", { class: state })));
    const total = ORDER.reduce((sum, state) => sum + counts[state], 0) || 1;
    for (const state of ORDER) {
      const chip = this.chip(state);
      put(chip.figure, ` ${figure(counts[state])}`);
      chip.el.hidden = !counts[state] && !chosen.has(state);
      chip.el.setAttribute("aria-pressed", String(chosen.has(state)));
      const part = this.bar.children[METER.indexOf(state)] as HTMLElement;
      part.hidden = !counts[state];
      part.style.flexGrow = String(counts[state] / total);
    }
  }

  private chip(state: State): Chip {
    const known = this.chipOf.get(state);
    if (known) return known;
    const [sign, word] = stateOf(state);
    const el = button("", { class: `chip ${state}`, "aria-pressed": "false", onclick: () => this.toggle(state) });
    const made = { el, figure: h("b") };
    el.append(icon(sign + TEXT), made.figure, ` ${word}`);
    this.chipOf.set(state, made);
    this.chips.append(el);
    return made;
  }
}
