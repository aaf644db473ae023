// What a step was given and what it gave, as sections that fetch their value when they are opened.

import type { Source } from "../src/timeline.js";
import type { Detail, Row } from "../src/types.js";
import { markdown } from "./markdown.js";
import { button, h, put } from "./nodes.js";
import { figure, reason } from "./words.js";

/** When a kernel counts as busy, in milliseconds. */
const SLOW = 1500;

/** The sections of a step. */
export function sections(row: Row, source: Source): HTMLElement[] {
  const model = row.kind === "model";
  const all: [what: string, title: string, open: boolean][] = [
    model ? ["messages", "Conversation", true] : ["arguments", "Arguments", true],
  ];
  if (model) all.push(["arguments", "Request", false]);
  if (row.status === "completed") all.push(["result", "Result", !model]);
  if (row.status === "failed") all.push(["error", "Error", true]);
  if (row.output) all.push(["output", "Output", false]);
  if (row.log && row.log.length >= 5) all.push(["log", "Log", false]);
  return all.map(([what, title, open]) => section(row, source, what, title, open));
}

function section(row: Row, source: Source, what: string, title: string, open: boolean): HTMLElement {
  const body = h("div", { class: "body" });
  const type = h("span", { class: "quiet" });
  const el = h("details", {}, h("summary", {}, `${title} `, type), body);
  const load = (offset: number): void => {
    if (!source.ask) {
      const line = what === "arguments" ? row.call : row.says;
      body.replaceChildren(h("pre", { text: line || "Not kept in the notebook.", tabindex: "0" }));
      return;
    }
    const busy = "The kernel is busy with a cell: this comes when it is free.";
    const slow = setTimeout(() => body.append(h("p", { class: "quiet slow", text: busy })), SLOW);
    void source
      .ask({ type: "value", step: row.id, what, offset })
      .then((answer) => {
        const detail = answer as Detail;
        body.querySelector(".more")?.remove();
        put(type, detail.form === "none" ? "" : `${detail.type}`);
        body.append(...drawValue(detail, offset > 0));
        const { next } = detail;
        if (next !== undefined) {
          const unit = detail.form === "text" ? "characters" : "rows";
          const text = `${figure(detail.size - next)} more ${unit}`;
          body.append(button(text, { class: "more", onclick: () => load(next) }));
        }
      })
      .catch((error) => body.append(h("p", { class: "error", text: reason(error) })))
      .finally(() => {
        clearTimeout(slow);
        body.querySelectorAll(".slow").forEach((one) => one.remove());
      });
  };
  let asked = false;
  el.addEventListener("toggle", () => {
    if (!el.open || asked) return;
    asked = true;
    load(0);
  });
  if (open) el.open = true;
  return el;
}

/** A value, or more of one that is there already. */
function drawValue(detail: Detail, more: boolean): HTMLElement[] {
  if (detail.form === "image" && /^image\/(png|jpeg|gif|webp)$/.test(detail.mime!)) {
    const src = `data:${detail.mime};base64,${detail.data}`;
    return [h("img", { src, alt: `Picture of ${detail.type}` })];
  }
  if (detail.form === "table") return [table(detail)];
  if (detail.form === "messages") return detail.rows!.map(([role, text]) => message(role!, text!));
  if (detail.form === "text") {
    const source = h("pre", { text: detail.text, tabindex: "0" });
    return detail.markdown && !more ? formatted(detail.text!, source) : [source];
  }
  return [h("p", { class: "quiet", text: detail.type || "nothing" })];
}

function table({ rows, columns }: Detail): HTMLElement {
  const cells = (row: string[]): HTMLElement[] => row.map((text) => h("td", { text }));
  const body = h("tbody", {}, ...rows!.map((row) => h("tr", {}, ...cells(row))));
  const names = (columns || []).map((text) => h("th", { scope: "col", text }));
  const head = columns ? h("thead", {}, h("tr", {}, ...names)) : null;
  const props = { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" };
  return h("div", props, h("table", {}, head, body));
}

const message = (role: string, text: string): HTMLElement =>
  h("div", { class: `message ${/^[a-z]+$/.test(role) ? role : ""}` }, h("b", { text: role }), markdown(text));

/** Markdown as it is meant, and as it is written. */
function formatted(text: string, source: HTMLElement): HTMLElement[] {
  const shown = markdown(text);
  source.hidden = true;
  const onclick = (): void => {
    source.hidden = !source.hidden;
    shown.hidden = !source.hidden;
    swap.textContent = source.hidden ? "Source" : "Formatted";
  };
  const swap = button("Source", { class: "link", onclick });
  return [swap, shown, source];
}
