// A run in one line: what state it is in, what it has done and cost, and what can be done with it.

import type { RunHead } from "../src/types.js";
import { button, h, icon, put } from "./nodes.js";
import { stateOf, TEXT } from "./states.js";
import { count, figure, money, span } from "./words.js";

/** What the buttons do. */
export interface TitleHost {
  resume: () => void;
  cancel: () => void;
  fork: () => void;
}

export class Title {
  readonly resume: HTMLElement;
  readonly cancel: HTMLElement;
  readonly fork: HTMLElement;
  readonly el: HTMLElement;
  private readonly badge = h("span", { class: "badge" });
  private readonly name = h("strong", { class: "name" });
  private readonly facts = h("span", { class: "facts" });

  constructor(host: TitleHost) {
    this.resume = button("Resume", { class: "primary", onclick: () => host.resume() });
    this.cancel = button("Cancel", { onclick: () => host.cancel() });
    this.fork = button("Fork", { onclick: () => host.fork() });
    const buttons = h("span", { class: "buttons" }, this.resume, this.cancel, this.fork);
    this.el = h("div", { class: "title" }, this.badge, this.name, this.facts, buttons);
  }

  /** asks: whether something can be asked of the run at all. */
  draw(run: RunHead, now: number, asks: boolean): void {
    const [sign, word] = stateOf(run.status);
    this.badge.className = `badge ${run.status}`;
    if (this.badge.textContent !== `${sign}${TEXT} ${word}`) this.badge.replaceChildren(icon(sign + TEXT), ` ${word}`);
    put(this.name, run.name);
    const where = run.notebook ? `\n${run.notebook}` : "";
    this.name.title = `run ${run.id}${where}${run.owner ? `\n${run.owner}` : ""}`;
    put(this.facts, factsOf(run, now).join(" · "));
    this.resume.hidden = isFinal(run) || Boolean(run.owner);
    this.cancel.hidden = isFinal(run) || !asks;
  }
}

/** Whether nothing more will come of it. */
export const isFinal = (run: RunHead): boolean => run.status === "completed" || run.status === "cancelled";

function factsOf(run: RunHead, now: number): string[] {
  const worked = run.sessions.reduce((sum, [from, to]) => sum + Math.max(0, (to ?? now) - from), 0);
  const facts = [`${figure(run.steps)} step${run.steps === 1 ? "" : "s"}`, span(worked)];
  if (run.calls) {
    facts.push(`${count(run.tokens[0]!)} tokens in, ${count(run.tokens[1]!)} out`);
    facts.push(run.cost || !run.unpriced ? money(run.cost) : "price unknown");
  }
  if (run.saved) facts.push(`${money(run.saved)} saved by replay`);
  else if (run.counts.replayed) facts.push(`${figure(run.counts.replayed)} replayed`);
  if (run.progress !== undefined) facts.push(`${Math.round(run.progress * 100)} %`);
  return facts;
}
