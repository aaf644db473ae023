// A step as a line of the list.

import type { Row } from "../src/types.js";
import type { Child } from "./nodes.js";
import { fresh, h, put } from "./nodes.js";
import { signOf, stateOf, TEXT } from "./states.js";
import { count, money, span } from "./words.js";

/** An element that knows which row is in it. */
export type RowLine = HTMLElement & { row?: Row | undefined };

const cell = (name: string, ...children: Child[]): HTMLElement =>
  h("span", { class: name, role: "gridcell" }, ...children);

/** An empty line; open: it was clicked, and so the step in it. */
export function makeRow(open: (n: number) => void): RowLine {
  const line: RowLine = h(
    "div",
    { class: "row", role: "row", onclick: () => open(Number(line.dataset.n)) },
    cell("state", h("i", { "aria-hidden": "true" }), h("span", { class: "word" })),
    cell("id"),
    cell(
      "what",
      h("i", { class: "kind", "aria-hidden": "true" }),
      h("span", { class: "call" }),
      h("span", { class: "tags" }),
    ),
    cell("says"),
    cell("spent"),
    cell("took"),
  );
  line.id = fresh("r");
  return line;
}

/** Put a row into a line that may hold another one; without a row there is a step, and nobody has told of it yet. */
export function fillRow(line: RowLine, row: Row | undefined, now: number): void {
  if (line.row === row && row?.status !== "running") return;
  line.row = row;
  const [state, id, what, says, spent, took] = line.children as unknown as HTMLElement[];
  if (!row) {
    line.className = "row missing";
    for (const cell of [id, says, spent, took]) put(cell!, "");
    put(what!.children[1]!, "…");
    return;
  }
  line.className = `row ${row.status}${row.old ? " old" : ""}${row.taken ? " taken" : ""}${row.replays ? " replayed" : ""}`;
  // A step that was answered from the journal is completed, and says more than that.
  const [sign, word] = row.replays && row.status === "completed" ? ["↻", "replayed"] : stateOf(row.status);
  put(state!.children[0]!, sign + TEXT);
  put(state!.children[1]!, word);
  put(id!, row.id);
  put(what!.children[0]!, signOf(row.kind));
  put(what!.children[1]!, row.kind === "model" && row.model ? `${row.name} ${row.model}` : row.call || row.name);
  line.title = "";
  put(what!.children[2]!, tags(row));
  put(says!, row.says ?? tail(row));
  says!.classList.toggle("tail", row.says === undefined);
  put(spent!, spending(row));
  put(took!, taking(row, now));
  line.style.setProperty("--done", row.progress !== undefined ? `${row.progress * 100}%` : "0%");
}

function tags(row: Row): string {
  const all = [
    row.replays && row.status !== "completed" ? "↻ replayed" : "",
    row.taken ? "↱ parent's" : "",
    (row.attempts || 1) > 1 ? `attempt ${row.attempts}` : "",
    row.effect === "unsafe" ? "unsafe" : "",
    row.given ? "✎ given" : "",
    row.old ? "history" : "",
  ];
  return all.filter(Boolean).join("  ");
}

/** The end of what a step says while it goes on. */
const tail = (row: Row): string => (row.text ? row.text.slice(-200) : (row.log?.at(-1)?.text ?? ""));

function spending({ tokens, cost }: Row): string {
  if (!tokens) return "";
  return `${count(tokens[0]! + tokens[1]!)} tok${cost !== undefined ? ` ${money(cost)}` : ""}`;
}

function taking(row: Row, now: number): string {
  if (row.took !== undefined) return span(row.took);
  return row.status === "running" ? span(Math.max(0, now - row.at)) : "";
}
