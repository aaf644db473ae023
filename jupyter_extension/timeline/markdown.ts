// Markdown, of which nothing is trusted.

import { h } from "./nodes.js";

const INLINE = /(`[^`\n]+`)|(\*\*[^*\n]+\*\*)|(\*[^*\s][^*\n]*\*)|\[([^\]\n]+)\]\(([^)\s]+)\)/g;
const FENCE = /^\s*```/;

/** Markdown as nodes: headings, lists, quotes, code, emphasis, links to http(s). Anything else stays text. */
export function markdown(text: string): HTMLElement {
  const root = h("div", { class: "md" });
  const lines = text.split("\n");
  let list = null as HTMLElement | null;
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at]!;
    if (FENCE.test(line)) {
      const code = [];
      while (++at < lines.length && !FENCE.test(lines[at]!)) code.push(lines[at]);
      root.append(h("pre", { text: code.join("\n"), tabindex: "0" }));
      list = null;
      continue;
    }
    const head = /^(#{1,6})\s+(.*)/.exec(line);
    const item = /^\s*(?:([-*+])|(\d+)[.)])\s+(.*)/.exec(line);
    if (head) {
      root.append(inline(h("p", { class: `h h${head[1]!.length}` }), head[2]!));
      list = null;
    } else if (item) {
      const tag = item[1] ? "ul" : "ol";
      if (list?.localName !== tag) root.append((list = h(tag)));
      list.append(inline(h("li"), item[3]!));
    } else if (line.trim()) {
      const quote = /^>\s?(.*)/.exec(line);
      root.append(inline(h(quote ? "blockquote" : "p"), quote ? quote[1]! : line));
      list = null;
    } else list = null;
  }
  return root;
}

function inline(into: HTMLElement, text: string): HTMLElement {
  let last = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, code, strong, em, label, url] = found;
    into.append(text.slice(last, found.index));
    last = found.index + whole.length;
    if (code) into.append(h("code", { text: code.slice(1, -1) }));
    else if (strong) into.append(h("strong", { text: strong.slice(2, -2) }));
    else if (em) into.append(h("em", { text: em.slice(1, -1) }));
    else if (url && /^https?:\/\//i.test(url)) {
      // Where it leads is shown: the words are the tool's, and so may say anything.
      into.append(h("a", { href: url, target: "_blank", rel: "noopener noreferrer", text: label }));
      into.append(h("span", { class: "quiet", text: ` (${url})` }));
    } else into.append(whole);
  }
  into.append(text.slice(last));
  return into;
}
