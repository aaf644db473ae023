// What the run does, for those who listen to it.

import type { RunHead, Wait } from "../src/types.js";
import { h, put } from "./nodes.js";
import { ORDER, stateOf } from "./states.js";

/** Not more than a listener can take in, in milliseconds; a new state at once. */
const APART = 8000;

export class Announcer {
  readonly el = h("div", { class: "away", role: "status", "aria-live": "polite" });
  private said = "";
  private at = 0;

  say(run: RunHead, waits: Wait[]): void {
    const parts = ORDER.filter((state) => run.counts[state]).map(
      (state) => `${run.counts[state]} ${stateOf(state)[1]}`,
    );
    const status = `${run.name} ${stateOf(run.status)[1]}`;
    const text = `${status}: ${parts.join(", ")}${waits[0] ? `. ${waits[0].prompt}` : ""}`;
    if (text === this.said || (this.said.startsWith(status) && Date.now() - this.at <= APART)) return;
    this.said = text;
    this.at = Date.now();
    put(this.el, text);
  }
}
