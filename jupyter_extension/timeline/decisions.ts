// Everything a run waits for people to say, as cards.

import type { Wait } from "../src/types.js";
import type { CardHost } from "./card.js";
import { makeCard } from "./card.js";
import { h } from "./nodes.js";

export class Decisions {
  readonly el = h("div", { class: "waits" });
  private readonly cards = new Map<string, HTMLElement>();

  constructor(private readonly host: CardHost) {}

  draw(waits: Wait[]): void {
    const keys = new Set(waits.map((wait) => wait.key));
    for (const [key, card] of this.cards) {
      if (keys.has(key)) continue;
      card.remove();
      this.cards.delete(key);
    }
    for (const wait of waits) {
      if (this.cards.has(wait.key)) continue; // what somebody is typing stays
      const card = makeCard(wait, this.host);
      this.cards.set(wait.key, card);
      this.el.append(card);
    }
    this.el.hidden = !waits.length;
  }
}
