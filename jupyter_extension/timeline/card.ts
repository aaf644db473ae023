// Something a person must say: the question, what can be said to it, and what became of the answer.

import type { Source } from "../src/timeline.js";
import type { Row, Wait } from "../src/types.js";
import type { Form } from "./forms.js";
import { form } from "./forms.js";
import { button, copyable, fresh, h, icon, put } from "./nodes.js";
import { changed } from "./schema.js";
import { reason, short } from "./words.js";

/** When a kernel counts as busy, in milliseconds. */
const SLOW = 2000;

/** What a card needs of what is around it. `cancel` asks whether to end the run; `open` shows a step. */
export interface CardHost {
  source: Source;
  root: ShadowRoot;
  /** The run's id. */
  run: () => string;
  step: (id: string) => Row | undefined;
  open: (n: number) => void;
  cancel: () => void;
}

type Action = [label: string, style: string, act: () => void];
type Decide = (action: string, value?: unknown, message?: string) => void;

export function makeCard(wait: Wait, host: CardHost): HTMLElement {
  const says = h("p", { class: "result", role: "alert" });
  const more = h("div", { class: "more-form" });
  const id = fresh("w");
  const card = h("div", { class: `wait ${wait.kind}`, role: "group", "aria-labelledby": id });
  const decide = decider(wait, host, card, says);
  const known = actions(wait, decide, (title, fields, done) => reveal(more, title, fields, done), host.cancel);
  const buttons = h(
    "div",
    { class: "actions" },
    ...wait.actions.map((action) => {
      const [label, style, onclick] = known[action] || [action, "", () => decide(action)];
      return button(label, { class: style, onclick });
    }),
  );
  card.append(question(wait, id), ...about(wait, host), buttons, more, says);
  const [only] = wait.actions;
  if (wait.actions.length === 1 && (only === "answer" || only === "signal")) {
    buttons.hidden = true;
    const active = host.root.activeElement as HTMLElement | null;
    known[only]![2]();
    active?.focus(); // a question does not take the keyboard away
  }
  return card;
}

function question(wait: Wait, id: string): HTMLElement {
  const until = wait.until ? ` until ${new Date(wait.until * 1000).toLocaleString()}` : "";
  return h("p", { id }, icon("‖ "), wait.prompt, until ? h("span", { class: "quiet", text: until }) : null);
}

/** The step it is about, and what was to be done. */
function about(wait: Wait, host: CardHost): HTMLElement[] {
  const made: HTMLElement[] = [];
  const step = wait.step ? host.step(wait.step) : null;
  if (step) {
    const text = `${step.id} ${(step.call || step.name).slice(0, 120)}`;
    made.push(button(text, { class: "link code", onclick: () => host.open(step.n) }));
  }
  if (wait.kind === "approval" && wait.value !== undefined) {
    made.push(h("pre", { text: JSON.stringify(wait.value, null, 2), tabindex: "0" }));
  }
  return made;
}

/** What sends a decision, and says on the card what became of it. */
function decider(wait: Wait, { source, run }: CardHost, card: HTMLElement, says: HTMLElement): Decide {
  return (action, value, message) => {
    const elsewhere = (): HTMLElement[] => copyable(inTerminal(wait, run(), action, message));
    card.classList.add("sent");
    put(says, "Sent…");
    const slow = setTimeout(() => {
      says.replaceChildren("The kernel is busy and has not taken it yet. In a terminal: ", ...elsewhere());
    }, SLOW);
    const sent = source.ask
      ? source.ask({ type: "decide", key: wait.key, step: wait.step ?? null, action, value, message: message || "" })
      : Promise.reject(new Error("this front end cannot decide"));
    void sent
      .then((answer) => put(says, (answer as { says?: string } | null)?.says || "Recorded: the run goes on."))
      .catch((error) => {
        card.classList.remove("sent");
        says.replaceChildren(h("span", { class: "error", text: reason(error) }), " ", ...elsewhere());
      })
      .finally(() => clearTimeout(slow));
  };
}

type Reveal = <T>(title: string, fields: Form, done: (value: T) => void) => void;

/** What can be said, by its word. */
function actions(wait: Wait, decide: Decide, reveal: Reveal, cancel: () => void): Partial<Record<string, Action>> {
  const asked = (): Form => form(wait.schema || {}, wait.value);
  const line = (title: string): Form => form({ type: "string", title }, "");
  const edited = (value: unknown): void => decide("edit", changed(wait.value, value));
  const because = (action: string) => (why: string) => decide(action, undefined, why);
  const withValue = (action: string) => (value: unknown) => decide(action, value);
  const supplied = (): Form => form({ title: "Result, as JSON" }, undefined);
  return {
    approve: ["Approve", "primary", () => decide("approve")],
    reject: ["Reject…", "", () => reveal("Reject", line("Why (the agent is told)"), because("reject"))],
    edit: ["Edit arguments…", "", () => reveal("Approve with these", asked(), edited)],
    answer: ["Answer", "primary", () => reveal("Answer", asked(), withValue("answer"))],
    signal: ["Send", "primary", () => reveal("Send", asked(), withValue("signal"))],
    retry: ["No: make the call", "", () => decide("retry")],
    supply: ["Yes: supply its result…", "", () => reveal("Supply", supplied(), withValue("supply"))],
    fail: ["Go on with an error…", "", () => reveal("Fail", line("What went wrong"), because("fail"))],
    raise: ["Raise the budget…", "primary", () => reveal("Raise", asked(), withValue("raise"))],
    cancel: ["Cancel the run", "", cancel],
  };
}

/** Show fields, and the button that takes what is in them. */
function reveal<T>(into: HTMLElement, title: string, fields: Form, done: (value: T) => void): void {
  const wrong = h("p", { class: "error", role: "alert" });
  const onclick = (): void => {
    try {
      put(wrong, "");
      done(fields.read() as T);
    } catch (error) {
      put(wrong, (error as Error).message);
    }
  };
  into.replaceChildren(fields.el, wrong, button(title, { class: "primary", onclick }));
  into.querySelector<HTMLElement>("input, textarea, select")?.focus();
}

function inTerminal(wait: Wait, run: string, action: string, message?: string): string {
  const verb = action === "edit" ? "approve" : action;
  const valued = verb === "supply" || verb === "answer" || verb === "signal";
  const quoted = message ? ` '${message.replaceAll("'", `'\\''`)}'` : valued ? " VALUE" : "";
  return `jupyter durable ${verb} ${short(run)} ${wait.step || wait.key}${quoted}`;
}
