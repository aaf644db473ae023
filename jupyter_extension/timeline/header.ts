// The run: its title, how many steps are in which state, where it comes from and what it says.

import type { RunHead } from "../src/types.js";
import { Meter } from "./meter.js";
import { h } from "./nodes.js";
import { Relations } from "./relations.js";
import type { State } from "./states.js";
import type { TitleHost } from "./title.js";
import { Title } from "./title.js";

/** What is done with it. `toggle`: filter by a state, or no more; `open` shows another run, if that can be done. */
export interface HeaderHost extends TitleHost {
  toggle: (state: State) => void;
  open: (run: string) => boolean;
}

export class Header {
  readonly el: HTMLElement;
  readonly title: Title;
  readonly chips: HTMLElement;
  private readonly meter: Meter;
  private readonly relations: Relations;

  /** note: what is said about what the run is told. */
  constructor(host: HeaderHost, note: HTMLElement) {
    this.title = new Title(host);
    this.meter = new Meter((state) => host.toggle(state));
    this.relations = new Relations((run) => host.open(run));
    this.chips = this.meter.chips;
    this.el = h("header", {}, this.title.el, this.meter.bar, this.relations.el, note);
  }

  /** asks: whether something can be asked of the run at all; chosen: the states that steps are filtered by. */
  draw(run: RunHead, now: number, asks: boolean, chosen: Set<string>): void {
    this.title.draw(run, now, asks);
    this.meter.draw(run.counts, chosen);
    this.relations.draw(run);
  }
}
