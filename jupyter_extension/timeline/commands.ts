// What a run is told: by the front end, or by a line to put into a cell where it knows no such command.

import type { Source } from "../src/timeline.js";
import type { Model } from "./model.js";
import { button, copyable, h, put } from "./nodes.js";
import { reason, short } from "./words.js";

export type Verb = "resume" | "fork" | "goto";

const WHY: Record<Verb, string> = {
  resume: "Run the cell again, or put this into a cell of its own:",
  fork: "Put this into a cell of its own; the fork's cell appears below it:",
  goto: "Put this into a cell of its own:",
};

export class Commands {
  /** What is said about it. */
  readonly note = h("div", { class: "note", hidden: true });

  constructor(
    private readonly source: Source,
    private readonly model: Model,
  ) {}

  /** Take the run up, or go on from a step of it. */
  run(verb: Verb, step?: string): void {
    const run = this.model.run!.id;
    if (this.send(verb, step ? { run, step } : { run })) return;
    const id = short(run);
    const fork = `%durable fork ${id}${step ? ` --at ${step}` : ""}`;
    const line = verb === "fork" ? fork : `%durable ${verb} ${id}${step ? ` ${step}` : ""}`;
    const close = button("✕", { class: "plain", "aria-label": "Close", onclick: () => (this.note.hidden = true) });
    this.show(h("span", { text: `${WHY[verb]} ` }), ...copyable(line), close);
  }

  /** Show another run; false: the front end cannot. */
  open(run: string): boolean {
    return this.send("open", { run });
  }

  /** End the run, if that is what somebody wants. */
  cancel(): void {
    const says = h("span", { role: "alert" });
    const end = (): void => {
      put(says, " Sent…");
      this.source
        .ask?.({ type: "cancel" })
        .then(() => put(says, " It ends at its next step."))
        .catch((error) => put(says, ` ${reason(error)}`));
    };
    this.show(
      h("span", { text: "End this run for good? What is recorded stays. " }),
      button("End it", { class: "danger", onclick: end }),
      button("Keep it", { onclick: () => (this.note.hidden = true) }),
      says,
    );
  }

  private send(id: string, args: Record<string, unknown>): boolean {
    return Boolean(this.source.command?.(`jupyter-durable:${id}`, args));
  }

  private show(...children: HTMLElement[]): void {
    this.note.replaceChildren(...children);
    this.note.hidden = false;
    this.note.querySelector("button")?.focus();
  }
}
