// Elements. Strings are text, never markup: names, prompts and errors come from tools.

export type Child = Node | string | null | undefined | false;
type Listener = (event: Event) => unknown;

export type Props = Record<string, string | number | boolean | null | undefined | Listener>;

/** An element; functions are listeners of the event `on…`, true and false are there or not. */
export function h(tag: string, props: Props = {}, ...children: Child[]): HTMLElement {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") el.addEventListener(name.slice(2), value);
    else if (name === "class") el.className = String(value);
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child) el.append(child);
  return el;
}

/** A button; `key` lets the focus find it again when its surroundings are drawn anew. */
export function button(text: string, key: string, onclick: () => unknown, props: Props = {}): HTMLElement {
  return h("button", { type: "button", class: "jp-durable-button", "data-key": key, onclick, ...props }, text);
}

/** Put other children into `el`, and the focus back where it was. */
export function redraw(el: HTMLElement, ...children: Child[]): void {
  const active = document.activeElement;
  const key = active instanceof HTMLElement && el.contains(active) ? active.dataset.key : undefined;
  el.replaceChildren(...children.filter((child): child is Node | string => Boolean(child)));
  if (key) el.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

/** An icon that is read as its word. */
export const icon = (sign: string): HTMLElement =>
  h("span", { class: "jp-durable-icon", "aria-hidden": "true" }, `${sign}\ufe0e`);
