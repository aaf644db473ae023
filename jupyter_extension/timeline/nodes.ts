// Elements. Every string is untrusted: text nodes only, no markup is ever parsed.

export type Child = Node | string | null | undefined | false;
export type Props = Record<string, string | number | boolean | null | undefined | ((event: never) => unknown)>;

/** An element. Strings among the children are text; `on*` are listeners. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value as EventListener);
    else if (name === "class") el.className = value as string;
    else if (name === "text") el.textContent = value as string;
    else if (name in el && typeof value !== "string") (el as unknown as Record<string, unknown>)[name] = value;
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child) el.append(child);
  return el;
}

export const button = (text: string, props: Props): HTMLButtonElement =>
  h("button", { type: "button", ...props }, text);

/** A sign that is not read: a word beside it says the same. */
export const icon = (text: string): HTMLElement => h("span", { "aria-hidden": "true", text });

/** Set the text only if it differs: a write costs layout. */
export function put(el: Node, text: string): void {
  if (el.textContent !== text) el.textContent = text;
}

let ids = 0;

/** An id that nothing else has. */
export const fresh = (prefix: string): string => `${prefix}${++ids}`;

/** Text to take along, and the button that does. */
export function copyable(text: string): HTMLElement[] {
  const onclick = (event: Event): Promise<void> => copy(text, event.currentTarget as HTMLElement);
  return [h("code", { text }), button("Copy", { onclick })];
}

/** Into the clipboard; the button that was pressed says whether it is there. */
export async function copy(text: string, by: HTMLElement): Promise<void> {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "away", text });
    by.after(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    by.focus();
  }
  const before = by.textContent;
  by.textContent = done ? "Copied" : "Select and copy it by hand";
  setTimeout(() => (by.textContent = before), 1500);
}
