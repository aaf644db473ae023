// @ts-check
/**
 * The timeline of a durable run: one renderer for every front end.
 *
 *   mount(el, source)      draws into `el` (its shadow root); the Lab extension calls it
 *   render({model, el})    the same over an anywidget model
 *
 * What it is given are pages of rows (see `rows.py`): it keeps the rows by number, replaces what comes again, and
 * draws those in sight, once a frame. Every string is untrusted: text nodes only, no markup is ever parsed.
 *
 *   words · nodes · Markdown · forms from JSON schema · time    what the view is made of; they know nothing of it
 *   the view      what comes in, drawing, rows, lanes, keys, one step, people, what the run is told
 *   homes         `mount`, `still`, and anywidget's `render`
 *   looks         whose colours; the style sheet
 *
 * One file on purpose: anywidget loads a module from a blob, which can import nothing beside it, and what the Lab
 * extension bundles, a report embeds and other front ends load is to be the same file, as it is written.
 */

/** @typedef {{at: number, text: string}} Line */
/** @typedef {{key: string, kind: string, prompt: string, actions: string[], step?: string|null, schema?: any, value?: any, until?: number|null}} Wait */
/** @typedef {{id: number, parent: number, name: string, depth: number, step?: string}} Lane */
/**
 * @typedef {object} Row
 * @property {number} n
 * @property {string} id
 * @property {number} lane
 * @property {string} kind
 * @property {string} name
 * @property {string} status
 * @property {number} at
 * @property {number=} end
 * @property {number=} took
 * @property {number=} attempts
 * @property {number=} replays
 * @property {string=} effect
 * @property {string=} given
 * @property {boolean=} old
 * @property {boolean=} taken
 * @property {string=} call
 * @property {string=} says
 * @property {string=} model
 * @property {number[]=} tokens
 * @property {number=} cost
 * @property {number=} saved
 * @property {number=} progress
 * @property {Line[]=} log
 * @property {string=} text
 * @property {boolean=} output
 * @property {Wait=} wait
 */
/** @typedef {{v: number, feed: string, since: number, mark: number, run: any, lanes: Lane[], rows: Row[], waits: Wait[], more?: boolean, left_out?: number}} Page */
/**
 * Where rows come from and decisions go to.
 * @typedef {object} Source
 * @property {(tell: (page: Page) => void) => (() => void)} subscribe pages in order; returns what ends it
 * @property {(request: any) => Promise<any>} [ask] `since`, `texts`, `value`, `decide`, `cancel`; absent: nothing can be asked
 * @property {(id: string, args: any) => boolean} [command] run a command of the front end; false: it has none of that id
 */

const ROW = 26;
const LANE = 34;
const LABEL = 168;
const GAP = 0.04; // of the width, for a time without a process

/** Icon and word of every state. */
const STATES = {
  running: ["▶", "running"],
  waiting: ["‖", "waiting"],
  in_doubt: ["?", "in doubt"],
  completed: ["✓", "completed"],
  failed: ["✗", "failed"],
  cancelled: ["■", "cancelled"],
  interrupted: ["■", "interrupted"],
};
const KINDS = { tool: "⚙", model: "✦", http: "⇄", mcp: "⬡", sleep: "☾", signal: "⚑", ask: "?", approval: "✋", run: "▣" };
const ORDER = ["failed", "in_doubt", "waiting", "running", "completed", "cancelled"];
const METER = ["completed", "failed", "in_doubt", "waiting", "running", "cancelled"];
const TEXT = "\ufe0e"; // ▶ is an emoji where nothing says otherwise

/** @param {string} status @returns {string[]} */
const stateOf = (status) => STATES[/** @type {keyof typeof STATES} */ (status)] || ["•", status];

// -- words ---------------------------------------------------------------------------------------------

/** @param {number} s seconds */
export function span(s) {
  if (!(s >= 0)) return "";
  if (s < 0.001) return `${(s * 1000).toFixed(1)} ms`;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s.toFixed(1)} s`;
  const whole = Math.floor(s);
  for (const [unit, size, name, below] of /** @type {[string, number, string, number][]} */ ([["d", 86400, "h", 3600], ["h", 3600, "min", 60], ["min", 60, "s", 1]])) {
    if (whole >= size) {
      const rest = Math.floor((whole % size) / below);
      return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${name}` : ""}`;
    }
  }
  return "";
}

/** @param {number} usd */
export function money(usd) {
  if (!usd) return "$0";
  return usd >= 0.01 ? `$${usd.toFixed(2)}` : `$${Number(usd.toPrecision(2))}`;
}

/** @param {number} n */
function count(n) {
  return n >= 1e6 ? `${(n / 1e6).toFixed(1)}M` : n >= 1e4 ? `${Math.round(n / 1e3)}k` : n >= 1e3 ? `${(n / 1e3).toFixed(1)}k` : String(n);
}

/** @param {string} id */
const short = (id) => id.slice(0, 13);

// -- nodes ---------------------------------------------------------------------------------------------

/**
 * An element. Strings among the children are text; `on*` are listeners; nothing is parsed.
 * @param {string} tag @param {Record<string, any>} [props] @param {...(Node|string|null|undefined|false)} children
 * @returns {HTMLElement}
 */
function h(tag, props, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "class") el.className = value;
    else if (name === "text") el.textContent = value;
    else if (name in el && typeof value !== "string") /** @type {any} */ (el)[name] = value;
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child) el.append(child);
  return el;
}

/** @param {string} text @param {Record<string, any>} props */
const button = (text, props) => h("button", { type: "button", ...props }, text);

/** @param {Node} el @param {string} text set only if it differs: a write costs layout */
function put(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

/** @param {string} text @param {HTMLElement} by */
async function copy(text, by) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = /** @type {HTMLTextAreaElement} */ (h("textarea", { class: "away", text }));
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

// -- Markdown, of which nothing is trusted -------------------------------------------------------------

const INLINE = /(`[^`\n]+`)|(\*\*[^*\n]+\*\*)|(\*[^*\s][^*\n]*\*)|\[([^\]\n]+)\]\(([^)\s]+)\)/g;

/** @param {HTMLElement} into @param {string} text */
function inline(into, text) {
  let last = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, code, strong, em, label, url] = found;
    into.append(text.slice(last, found.index));
    last = (found.index || 0) + whole.length;
    if (code) into.append(h("code", { text: code.slice(1, -1) }));
    else if (strong) into.append(h("strong", { text: strong.slice(2, -2) }));
    else if (em) into.append(h("em", { text: em.slice(1, -1) }));
    else if (/^https?:\/\//i.test(url)) {
      // Where it leads is shown: the words are the tool's, and so may say anything.
      into.append(h("a", { href: url, target: "_blank", rel: "noopener noreferrer", text: label }), h("span", { class: "quiet", text: ` (${url})` }));
    } else into.append(whole);
  }
  into.append(text.slice(last));
}

/** Markdown as nodes: headings, lists, quotes, code, emphasis, links to http(s). Anything else stays text.
 * @param {string} text @returns {HTMLElement} */
export function markdown(text) {
  const root = h("div", { class: "md" });
  const lines = text.split("\n");
  /** @type {HTMLElement|null} */ let list = null;
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at];
    if (/^\s*```/.test(line)) {
      const code = [];
      while (++at < lines.length && !/^\s*```/.test(lines[at])) code.push(lines[at]);
      root.append(h("pre", { text: code.join("\n"), tabindex: "0" }));
      list = null;
      continue;
    }
    const head = /^(#{1,6})\s+(.*)/.exec(line);
    const item = /^\s*(?:([-*+])|(\d+)[.)])\s+(.*)/.exec(line);
    if (head) {
      const el = h("p", { class: `h h${head[1].length}` });
      inline(el, head[2]);
      root.append(el);
      list = null;
    } else if (item) {
      const tag = item[1] ? "UL" : "OL";
      if (!list || list.tagName !== tag) root.append((list = h(tag)));
      const el = h("li");
      inline(el, item[3]);
      list.append(el);
    } else if (line.trim()) {
      const quote = /^>\s?(.*)/.exec(line);
      const el = h(quote ? "blockquote" : "p");
      inline(el, quote ? quote[1] : line);
      root.append(el);
      list = null;
    } else list = null;
  }
  return root;
}

// -- forms from JSON schema ----------------------------------------------------------------------------

/** @param {any} schema @param {any} root @returns {any} with `$ref` followed, and `null` taken out of a choice */
function resolve(schema, root) {
  for (let turn = 0; turn < 20 && schema && typeof schema === "object"; turn++) {
    if (typeof schema.$ref === "string" && schema.$ref.startsWith("#/")) {
      /** @type {any} */ let found = root;
      for (const part of schema.$ref.slice(2).split("/")) found = found && Object.hasOwn(found, part) ? found[part] : undefined;
      schema = { ...found, ...Object.fromEntries(Object.entries(schema).filter(([key]) => key !== "$ref")) };
      continue;
    }
    const choice = schema.anyOf || schema.oneOf || schema.allOf;
    if (Array.isArray(choice)) {
      const some = choice.filter((/** @type {any} */ one) => one && one.type !== "null");
      if (some.length === 1) {
        const { anyOf, oneOf, allOf, ...rest } = schema;
        schema = { ...some[0], ...rest, nullable: some.length < choice.length };
        continue;
      }
    }
    if (Array.isArray(schema.type)) {
      const types = schema.type.filter((/** @type {string} */ one) => one !== "null");
      return { ...schema, type: types.length === 1 ? types[0] : undefined, nullable: types.length < schema.type.length };
    }
    return schema;
  }
  return schema || {};
}

/** Only what was changed: what was left alone may be shown with dots for a secret. @param {any} before @param {any} after */
function changed(before, after) {
  return Object.fromEntries(Object.entries(after || {}).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(before?.[key])));
}

let ids = 0;

/**
 * Fields for a value of that schema. `read()` gives the value or throws an Error that says what is wrong.
 * @param {any} schema @param {any} value @param {any} [root] @param {string} [label] @param {number} [depth]
 * @returns {{el: HTMLElement, read: () => any}}
 */
export function form(schema, value, root = schema, label = "", depth = 0) {
  const found = resolve(schema, root);
  const id = `f${++ids}`;
  const title = label || found.title || "Answer";
  const help = typeof found.description === "string" ? h("span", { class: "quiet", text: ` ${found.description}` }) : null;
  const given = value === undefined ? found.default : value;
  /** @param {HTMLElement} field @param {() => any} read */
  const labelled = (field, read) => ({ el: h("div", { class: "field" }, h("label", { for: id }, title, help), field), read });
  const empty = (/** @type {string} */ text) => text === "" && (found.nullable || found.default !== undefined);

  if (Array.isArray(found.enum) || "const" in found) {
    const options = found.enum || [found.const];
    const select = /** @type {HTMLSelectElement} */ (h("select", { id }));
    if (found.nullable) select.append(h("option", { value: "-1", text: "(nothing)" }));
    options.forEach((/** @type {any} */ option, /** @type {number} */ at) =>
      select.append(h("option", { value: String(at), text: typeof option === "string" ? option : JSON.stringify(option) })));
    const at = options.findIndex((/** @type {any} */ option) => JSON.stringify(option) === JSON.stringify(given));
    if (at >= 0) select.value = String(at);
    return labelled(select, () => (select.value === "-1" ? null : options[Number(select.value)]));
  }
  if (found.type === "boolean") {
    const box = /** @type {HTMLInputElement} */ (h("input", { id, type: "checkbox", checked: Boolean(given) }));
    return { el: h("div", { class: "field box" }, box, h("label", { for: id }, title, help)), read: () => box.checked };
  }
  if (found.type === "integer" || found.type === "number") {
    const input = /** @type {HTMLInputElement} */ (h("input", { id, type: "number", step: found.type === "integer" ? "1" : "any", min: found.minimum, max: found.maximum }));
    if (given !== undefined && given !== null) input.value = String(given);
    return labelled(input, () => {
      if (empty(input.value)) return given === undefined ? null : found.default;
      const number = Number(input.value);
      if (input.value === "" || !Number.isFinite(number)) throw new Error(`${title}: a number is needed`);
      if (found.type === "integer" && !Number.isInteger(number)) throw new Error(`${title}: a whole number is needed`);
      if (number < found.minimum || number > found.maximum) throw new Error(`${title}: from ${found.minimum ?? "…"} to ${found.maximum ?? "…"}`);
      return number;
    });
  }
  if (found.type === "string") {
    const long = typeof given === "string" && (given.length > 60 || given.includes("\n"));
    const type = found.format === "date" ? "date" : found.format === "password" || found.writeOnly ? "password" : "text";
    const input = /** @type {HTMLInputElement} */ (h(long ? "textarea" : "input", long ? { id, rows: "4" } : { id, type, autocomplete: "off" }));
    if (typeof given === "string") input.value = given;
    return labelled(input, () => {
      if (found.nullable && input.value === "" && given === null) return null;
      if (found.minLength && input.value.length < found.minLength) throw new Error(`${title}: at least ${found.minLength} characters`);
      if (found.maxLength && input.value.length > found.maxLength) throw new Error(`${title}: at most ${found.maxLength} characters`);
      return input.value;
    });
  }
  if (found.type === "object" && found.properties && depth < 4) {
    const parts = Object.entries(found.properties).map(([name, one]) => {
      const has = given && typeof given === "object" && Object.hasOwn(given, name);
      const required = (found.required || []).includes(name);
      return { name, required, ...form(one, has ? given[name] : undefined, root, `${name}${required ? "" : " (optional)"}`, depth + 1) };
    });
    const el = depth ? h("fieldset", {}, h("legend", { text: title })) : h("div", { class: "fields" });
    el.append(...parts.map((part) => part.el));
    return {
      el,
      read: () => {
        /** @type {Record<string, any>} */ const made = { ...(given && typeof given === "object" ? given : {}) };
        for (const part of parts) {
          const read = part.read();
          if (read !== undefined) Object.defineProperty(made, part.name, { value: read, enumerable: true, writable: true, configurable: true });
          else if (part.required) throw new Error(`${part.name} is needed`);
        }
        return made;
      },
    };
  }
  const area = /** @type {HTMLTextAreaElement} */ (h("textarea", { id, rows: "4", class: "code", spellcheck: "false" }));
  if (given !== undefined) area.value = JSON.stringify(given, null, 2);
  return labelled(area, () => {
    if (area.value.trim() === "") return undefined;
    try {
      return JSON.parse(area.value);
    } catch (error) {
      throw new Error(`${title}: not JSON (${/** @type {Error} */ (error).message})`);
    }
  });
}

// -- time ----------------------------------------------------------------------------------------------

/** Time on a line of length 1 on which times without a process are short. */
class Scale {
  /** @param {[number, number|null][]} sessions @param {number} now */
  constructor(sessions, now) {
    /** @type {{from: number, to: number, x: number, w: number}[]} */
    this.parts = [];
    const given = sessions.length ? sessions : /** @type {[number, number|null][]} */ ([[now, now]]);
    const whole = given.reduce((sum, [a, b]) => sum + Math.max((b ?? now) - a, 0.001), 0);
    const room = 1 - Math.min(GAP * (given.length - 1), 0.5);
    const gap = given.length > 1 ? (1 - room) / (given.length - 1) : 0;
    let x = 0;
    for (const [from, end] of given) {
      const to = Math.max(end ?? now, from + 0.001);
      const w = ((to - from) / whole) * room;
      this.parts.push({ from, to, x, w });
      x += w + gap;
    }
    this.gaps = this.parts.slice(1).map((part, at) => ({ x: part.x - gap / 2, seconds: part.from - this.parts[at].to }));
    this.whole = whole;
  }

  /** @param {number} t @returns {number} */
  x(t) {
    const parts = this.parts;
    for (let at = parts.length - 1; at >= 0; at--) {
      const part = parts[at];
      if (t >= part.from || at === 0) return part.x + Math.max(0, Math.min(1, (t - part.from) / (part.to - part.from))) * part.w;
    }
    return 0;
  }

  /** @param {number} x @returns {number} seconds of work since the beginning */
  worked(x) {
    let sum = 0;
    for (const part of this.parts) {
      if (x < part.x + part.w) return sum + (Math.max(0, x - part.x) / part.w) * (part.to - part.from);
      sum += part.to - part.from;
    }
    return sum;
  }

  /** The other way round. @param {number} seconds @returns {number} */
  at(seconds) {
    for (const part of this.parts) {
      const length = part.to - part.from;
      if (seconds <= length) return part.x + (seconds / length) * part.w;
      seconds -= length;
    }
    return 1;
  }
}

// -- the view ------------------------------------------------------------------------------------------

/** What `build` and `watch` make. */
const later = /** @type {any} */ (null);

class Timeline {
  /** @type {HTMLElement} */ badge = later;
  /** @type {HTMLElement} */ name = later;
  /** @type {HTMLElement} */ facts = later;
  /** @type {HTMLElement} */ chips = later;
  /** @type {HTMLElement} */ meter = later;
  /** @type {HTMLElement} */ relations = later;
  /** @type {HTMLElement} */ note = later;
  /** @type {HTMLElement} */ resume = later;
  /** @type {HTMLElement} */ cancel = later;
  /** @type {HTMLElement} */ fork = later;
  /** @type {HTMLElement} */ people = later;
  /** @type {HTMLElement} */ searchBox = later;
  /** @type {HTMLElement} */ kindBox = later;
  /** @type {HTMLElement} */ listTab = later;
  /** @type {HTMLElement} */ laneTab = later;
  /** @type {HTMLElement} */ zoomBox = later;
  /** @type {HTMLElement} */ matches = later;
  /** @type {HTMLElement} */ fill = later;
  /** @type {HTMLElement} */ pool = later;
  /** @type {HTMLElement} */ grid = later;
  /** @type {HTMLElement} */ details = later;
  /** @type {HTMLElement} */ live = later;
  /** @type {HTMLElement} */ blank = later;
  /** @type {HTMLElement} */ box = later;
  /** @type {HTMLCanvasElement} */ axis = later;
  /** @type {HTMLElement[]} */ lines = []; // what is in sight, used again and again
  /** @type {HTMLElement|null} */ tail = null;
  /** @type {Map<string, HTMLElement>} */ chipOf = new Map();
  /** @type {Record<string, string>|null} */ colours = null;
  /** @type {Scale} */ scale = later;
  /** @type {ResizeObserver} */ sizes = later;
  /** @type {MutationObserver} */ themes = later;
  /** @type {ReturnType<typeof setInterval>|undefined} */ clock = undefined;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ texting = undefined;
  relationsKey = "";
  detailState = "";
  catching = false;

  /** @param {HTMLElement} el @param {Source} source */
  constructor(el, source) {
    this.source = source;
    /** @type {Row[]} */ this.rows = [];
    /** @type {Map<number, Lane>} */ this.lanes = new Map();
    /** @type {Map<number, number[]>} */ this.inLane = new Map();
    /** @type {Wait[]} */ this.waits = [];
    /** @type {any} */ this.run = null;
    this.feed = "";
    this.mark = 0;
    this.leftOut = 0;
    this.skew = 0;
    this.mode = "list";
    this.search = "";
    this.kind = "";
    /** @type {Set<string>} */ this.states = new Set();
    /** @type {Set<string>} */ this.kinds = new Set();
    /** @type {number[]|null} */ this.shown = null; // numbers of the rows that match; null: all
    /** @type {number[]} */ this.order = []; // lanes, parents before their children
    this.selected = -1;
    this.zoom = [0, 1];
    this.follow = true;
    /** @type {Page[]} */ this.queue = [];
    /** @type {Set<number>} */ this.asked = new Set(); // rows whose texts are under way
    /** @type {Set<number>} */ this.wanted = new Set(); // of these, not asked for yet
    this.frame = 0;
    this.dirty = { head: true, list: true, lanes: true, waits: true, filter: true };
    this.said = "";
    this.saidAt = 0;
    /** @type {Map<string, HTMLElement>} */ this.cards = new Map();
    this.el = el;
    this.root = el.shadowRoot || el.attachShadow({ mode: "open" });
    el.setAttribute("data-lm-suppress-shortcuts", "true"); // what is typed here is no shortcut of the notebook's
    this.build();
    this.watch();
    this.end = source.subscribe((page) => this.take(page));
  }

  build() {
    const on = (/** @type {string} */ mode) => () => this.setMode(mode);
    this.badge = h("span", { class: "badge" });
    this.name = h("strong", { class: "name" });
    this.facts = h("span", { class: "facts" });
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Filter by state" });
    this.meter = h("div", { class: "meter", "aria-hidden": "true" });
    this.relations = h("div", { class: "relations" });
    this.note = h("div", { class: "note", hidden: true });
    this.resume = button("Resume", { class: "primary", onclick: () => this.command("resume") });
    this.cancel = button("Cancel", { onclick: () => this.askCancel() });
    this.fork = button("Fork", { onclick: () => this.command("fork") });
    this.people = h("div", { class: "waits" });
    this.searchBox = h("input", { type: "search", placeholder: "Search steps", "aria-label": "Search steps", oninput: (/** @type {any} */ e) => this.filter({ search: e.target.value.toLowerCase() }) });
    this.kindBox = h("select", { "aria-label": "Kind of step", onchange: (/** @type {any} */ e) => this.filter({ kind: e.target.value }) }, h("option", { value: "", text: "All kinds" }));
    this.listTab = button("List", { "aria-pressed": "true", onclick: on("list") });
    this.laneTab = button("Lanes", { "aria-pressed": "false", onclick: on("lanes") });
    this.zoomBox = h("span", { class: "zoom", hidden: true },
      button("−", { "aria-label": "Zoom out", onclick: () => this.zoomBy(1.6, 0.5) }),
      button("+", { "aria-label": "Zoom in", onclick: () => this.zoomBy(1 / 1.6, 0.5) }),
      button("Fit", { "aria-label": "Show the whole time", onclick: () => this.setZoom(0, 1) }));
    this.matches = h("span", { class: "quiet matches" });
    this.fill = h("div", { class: "fill", role: "presentation" });
    this.pool = h("div", { class: "pool", role: "rowgroup" });
    this.grid = h("div", { class: "grid", role: "grid", tabindex: "0", "aria-label": "Steps", onkeydown: (/** @type {any} */ e) => this.keys(e) },
      this.fill, this.pool);
    this.axis = /** @type {HTMLCanvasElement} */ (h("canvas", { class: "axis", "aria-hidden": "true" }));
    this.details = h("section", { class: "details", "aria-label": "Step", hidden: true });
    this.live = h("div", { class: "away", role: "status", "aria-live": "polite" });
    this.blank = h("p", { class: "blank quiet", text: "Waiting for the first step…" });
    this.box = h("div", { class: "box-all" },
      h("header", {},
        h("div", { class: "title" }, this.badge, this.name, this.facts, h("span", { class: "buttons" }, this.resume, this.cancel, this.fork)),
        this.meter, this.relations, this.note),
      this.people,
      h("div", { class: "tools" },
        this.searchBox, this.kindBox, this.chips, this.matches,
        h("span", { class: "right" }, this.zoomBox, h("span", { class: "tabs", role: "group", "aria-label": "View" }, this.listTab, this.laneTab))),
      this.axis, this.grid, this.blank, this.details, this.live);
    this.root.replaceChildren(h("style", { text: CSS }), this.box);
    this.box.addEventListener("keydown", (e) => {
      if (e.key === "/" && !(/** @type {HTMLElement} */ (e.target).matches("input, textarea, select"))) {
        e.preventDefault();
        this.searchBox.focus();
      } else if (e.key === "Escape" && !this.details.hidden) {
        this.close();
        e.preventDefault();
      }
      e.stopPropagation();
    });
  }

  watch() {
    const again = () => this.schedule("list", "lanes");
    this.grid.addEventListener("scroll", () => {
      this.follow = this.grid.scrollTop + this.grid.clientHeight >= this.grid.scrollHeight - ROW;
      this.schedule("list");
    }, { passive: true });
    this.grid.addEventListener("wheel", (e) => {
      if (this.mode !== "lanes" || !(e.ctrlKey || e.metaKey || e.shiftKey)) return;
      e.preventDefault();
      const x = this.fraction(e);
      if (e.shiftKey) this.pan((e.deltaY || e.deltaX) / 600);
      else this.zoomBy(Math.exp(e.deltaY / 300), x);
    }, { passive: false });
    this.sizes = new ResizeObserver(again);
    this.sizes.observe(this.grid);
    const theme = () => {
      this.colours = null;
      const { home, dark, calm } = looks();
      for (const [name, is] of Object.entries({ dark, calm, jupyter: home === "jupyter", vscode: home === "vscode" })) this.box.classList.toggle(name, is);
      again();
    };
    this.themes = new MutationObserver(theme);
    for (const one of [document.body, document.documentElement]) this.themes.observe(one, { attributes: true, attributeFilter: THEMED });
    theme();
    this.clock = setInterval(() => {
      if (this.run && (this.run.status === "running" || this.waits.some((wait) => wait.until))) this.schedule("head", this.mode === "lanes" ? "lanes" : "head");
    }, 500);
  }

  dispose() {
    this.end();
    clearInterval(this.clock);
    cancelAnimationFrame(this.frame);
    this.sizes.disconnect();
    this.themes.disconnect();
    this.root.replaceChildren();
  }

  // -- what comes in -----------------------------------------------------------------------------------

  /** @param {Page} page */
  take(page) {
    if (!page || page.v !== 1) return;
    this.queue.push(page);
    this.schedule();
  }

  /** @param {Page} page */
  apply(page) {
    if (page.feed !== this.feed) {
      this.rows = [];
      this.lanes.clear();
      this.inLane.clear();
      this.asked.clear();
      this.feed = page.feed;
      this.mark = 0;
    }
    const missed = page.since > this.mark;
    const whole = !page.left_out || page.since > 0;
    for (const lane of page.lanes) this.lanes.set(lane.id, lane);
    if (page.lanes.length) this.orderLanes();
    for (const row of page.rows) this.add(row);
    if (page.run.updated >= (this.run?.updated ?? 0) || page.run.id !== this.run?.id) {
      this.run = page.run;
      this.skew = Date.now() / 1000 - page.run.now;
      if (JSON.stringify(page.waits) !== JSON.stringify(this.waits)) {
        this.waits = page.waits;
        this.dirty.waits = true;
      }
    }
    if (missed || !whole) this.catchUp();
    else this.mark = Math.max(this.mark, page.mark);
    this.leftOut = Math.max(0, page.run.steps - this.rows.length);
    this.dirty.head = this.dirty.list = this.dirty.lanes = this.dirty.filter = true;
  }

  /** @param {Row} row */
  add(row) {
    const before = this.rows[row.n];
    if (!before) {
      let lane = this.inLane.get(row.lane);
      if (!lane) this.inLane.set(row.lane, (lane = []));
      lane.push(row.n);
      if (lane.length > 1 && lane[lane.length - 2] > row.n) lane.sort((a, b) => a - b);
      if (!this.kinds.has(row.kind)) {
        this.kinds.add(row.kind);
        this.kindBox.append(h("option", { value: row.kind, text: row.kind }));
      }
    } else if (row.call === undefined && before.call !== undefined) {
      row.call = before.call;
      if (row.says === undefined && row.status === before.status) row.says = before.says;
    }
    this.asked.delete(row.n);
    this.rows[row.n] = row;
    if (row.n === this.selected) this.refresh(row);
  }

  catchUp() {
    if (!this.source.ask || this.catching) return;
    this.catching = true;
    this.source.ask({ type: "since", feed: this.feed, mark: this.mark }).catch(() => {}).finally(() => (this.catching = false));
  }

  orderLanes() {
    /** @type {Map<number, number[]>} */ const below = new Map();
    for (const lane of this.lanes.values()) {
      const parent = this.lanes.has(lane.parent) ? lane.parent : 0;
      below.set(parent, [...(below.get(parent) || []), lane.id].sort((a, b) => a - b));
    }
    this.order = [];
    const todo = [...(below.get(0) || [])].reverse();
    while (todo.length) {
      const id = /** @type {number} */ (todo.pop());
      this.order.push(id);
      todo.push(...[...(below.get(id) || [])].reverse());
    }
  }

  // -- drawing -----------------------------------------------------------------------------------------

  /** @param {...("head"|"list"|"lanes"|"waits"|"filter")} what */
  schedule(...what) {
    for (const each of what) this.dirty[each] = true;
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    for (const page of this.queue.splice(0)) this.apply(page);
    if (!this.run) return;
    const dirty = this.dirty;
    this.dirty = { head: false, list: false, lanes: false, waits: false, filter: false };
    if (dirty.filter) this.match();
    if (dirty.head) this.drawHead();
    if (dirty.waits) this.drawWaits();
    if (this.mode === "list" ? dirty.list || dirty.filter : dirty.list || dirty.lanes || dirty.filter) this.drawRows(dirty.lanes || dirty.filter);
  }

  get now() {
    return Date.now() / 1000 - this.skew;
  }

  drawHead() {
    const run = this.run;
    const [icon, word] = stateOf(run.status);
    this.badge.className = `badge ${run.status}`;
    if (this.badge.textContent !== `${icon}${TEXT} ${word}`)
      this.badge.replaceChildren(h("span", { "aria-hidden": "true", text: icon + TEXT }), ` ${word}`);
    put(this.name, run.name);
    this.name.title = `run ${run.id}${run.notebook ? `\n${run.notebook}` : ""}${run.owner ? `\n${run.owner}` : ""}`;
    const worked = run.sessions.reduce((/** @type {number} */ sum, /** @type {[number, number|null]} */ [a, b]) => sum + Math.max(0, (b ?? this.now) - a), 0);
    const facts = [`${run.steps.toLocaleString("en")} step${run.steps === 1 ? "" : "s"}`, span(worked)];
    this.box.classList.toggle("spends", run.calls > 0);
    if (run.calls) facts.push(`${count(run.tokens[0])} tokens in, ${count(run.tokens[1])} out`, run.cost || !run.unpriced ? money(run.cost) : "price unknown");
    if (run.saved) facts.push(`${money(run.saved)} saved by replay`);
    else if (run.counts.replayed) facts.push(`${run.counts.replayed.toLocaleString("en")} replayed`);
    if (run.progress !== undefined) facts.push(`${Math.round(run.progress * 100)} %`);
    put(this.facts, facts.join(" · "));
    this.drawChips();
    const final = run.status === "completed" || run.status === "cancelled";
    this.resume.hidden = final || Boolean(run.owner);
    this.cancel.hidden = final || !this.source.ask;
    this.drawRelations();
    this.blank.hidden = this.rows.length > 0;
    put(this.blank, final || !run.owner ? "No steps." : "Waiting for the first step…");
    this.say();
  }

  drawChips() {
    const counts = this.run.counts;
    const known = this.chipOf;
    if (!this.meter.childNodes.length) this.meter.append(...METER.map((state) => h("span", { class: state })));
    const total = ORDER.reduce((sum, state) => sum + counts[state], 0) || 1;
    for (const state of ORDER) {
      let chip = known.get(state);
      if (!chip) {
        const [icon, word] = stateOf(state);
        chip = button("", { class: `chip ${state}`, "aria-pressed": "false", onclick: () => this.toggle(state) });
        chip.append(h("span", { "aria-hidden": "true", text: icon + TEXT }), h("b"), ` ${word}`);
        known.set(state, chip);
        this.chips.append(chip);
      }
      put(/** @type {Node} */ (chip.querySelector("b")), ` ${counts[state].toLocaleString("en")}`);
      chip.hidden = !counts[state] && !this.states.has(state);
      chip.setAttribute("aria-pressed", String(this.states.has(state)));
      const part = /** @type {HTMLElement} */ (this.meter.children[METER.indexOf(state)]);
      part.hidden = !counts[state];
      part.style.flexGrow = String(counts[state] / total);
    }
  }

  drawRelations() {
    const { parent, forks, error, log, line } = this.run;
    const key = JSON.stringify([parent, forks, error, log, line]);
    if (key === this.relationsKey) return;
    this.relationsKey = key;
    /** @param {any} one @param {string} says */
    const link = (one, says) => h("span", {}, `↱ ${says} `, button(`${one.name} ${short(one.id)}`, { class: "link", onclick: (/** @type {any} */ e) => this.source.command?.("jupyter-durable:open", { run: one.id }) || copy(one.id, e.currentTarget) }), ` (${stateOf(one.status)[1]})`);
    this.relations.replaceChildren(
      ...(error ? [h("p", { class: "error", text: `✗ ${error}` })] : []),
      ...(parent ? [link(parent, `forked ${parent.step ? `at step ${parent.step} ` : ""}from`)] : []),
      ...(forks || []).slice(0, 5).map((/** @type {any} */ one) => link(one, `${one.step ? `at step ${one.step} ` : ""}continued as`)),
      ...(log || []).slice(-2).map((/** @type {Line} */ one) => h("span", { class: "quiet", text: one.text })));
    this.relations.hidden = !this.relations.childNodes.length;
  }

  say() {
    const counts = this.run.counts;
    const parts = ORDER.filter((state) => counts[state]).map((state) => `${counts[state]} ${stateOf(state)[1]}`);
    const status = `${this.run.name} ${stateOf(this.run.status)[1]}`;
    const urgent = this.waits.length ? `. ${this.waits[0].prompt}` : "";
    const text = `${status}: ${parts.join(", ")}${urgent}`;
    // Not more than a listener can take in; a new state at once.
    if (text !== this.said && (!this.said.startsWith(status) || Date.now() - this.saidAt > 8000)) {
      this.said = text;
      this.saidAt = Date.now();
      put(this.live, text);
    }
  }

  // -- rows --------------------------------------------------------------------------------------------

  match() {
    const words = this.search.split(/\s+/).filter(Boolean);
    if (!words.length && !this.kind && !this.states.size && !this.leftOut) {
      this.shown = null;
      put(this.matches, "");
      return;
    }
    const found = [];
    for (const row of this.rows) {
      if (!row) continue;
      if (this.kind && row.kind !== this.kind) continue;
      if (this.states.size && (!this.states.has(row.status) || row.old)) continue;
      if (words.length) {
        const text = `${row.id} ${row.name} ${row.kind} ${row.call || ""} ${row.says || ""} ${row.model || ""}`.toLowerCase();
        if (!words.every((word) => text.includes(word))) continue;
      }
      found.push(row.n);
    }
    this.shown = found;
    const filtered = words.length || this.kind || this.states.size;
    const missing = this.run.steps - this.rows.filter(Boolean).length;
    put(this.matches, filtered ? `${found.length.toLocaleString("en")} of ${this.run.steps.toLocaleString("en")}` : missing > 0 ? `the last ${found.length.toLocaleString("en")} of ${this.run.steps.toLocaleString("en")}` : "");
  }

  /** @param {{search?: string, kind?: string}} what */
  filter(what) {
    Object.assign(this, what);
    this.schedule("filter", "list", "lanes");
  }

  /** @param {string} state */
  toggle(state) {
    if (!this.states.delete(state)) this.states.add(state);
    this.schedule("head", "filter", "list", "lanes");
  }

  /** @param {string} mode */
  setMode(mode) {
    this.mode = mode;
    this.listTab.setAttribute("aria-pressed", String(mode === "list"));
    this.laneTab.setAttribute("aria-pressed", String(mode === "lanes"));
    this.zoomBox.hidden = mode !== "lanes";
    this.pool.replaceChildren();
    this.lines = [];
    this.box.classList.toggle("in-lanes", mode === "lanes");
    this.grid.setAttribute("aria-label", mode === "lanes" ? "Lanes" : "Steps");
    this.schedule("head", "list", "lanes");
  }

  get length() {
    return this.mode === "lanes" ? this.order.length : this.shown ? this.shown.length : this.rows.length;
  }

  /** @param {boolean} bars whether lanes' bars must be drawn again */
  drawRows(bars) {
    const lanes = this.mode === "lanes";
    const height = lanes ? LANE : ROW;
    const total = this.length;
    const whole = `${total * height}px`;
    if (this.fill.style.height !== whole) this.fill.style.height = whole;
    const tall = `${Math.min(Math.max(total, 1) * height + 2, 420)}px`;
    if (this.grid.style.height !== tall) this.grid.style.height = tall;
    this.grid.hidden = !total;
    this.grid.setAttribute("aria-rowcount", String(total));
    if (this.follow && this.run.owner && this.selected < 0 && !lanes) this.grid.scrollTop = total * height;
    const first = Math.max(0, Math.floor(this.grid.scrollTop / height) - 2);
    const last = Math.min(total, Math.ceil((this.grid.scrollTop + Math.min(this.grid.clientHeight || 420, 420)) / height) + 2);
    while (this.lines.length < last - first) {
      const line = lanes ? this.makeLane() : this.makeRow();
      this.lines.push(line);
      this.pool.append(line);
    }
    /** @type {number[]} */ const bare = [];
    if (lanes) this.scale = this.makeScale();
    this.lines.forEach((line, at) => {
      const place = first + at;
      line.hidden = place >= last;
      if (place >= last) return;
      line.style.transform = `translateY(${place * height}px)`;
      line.setAttribute("aria-rowindex", String(place + 1));
      if (lanes) this.fillLane(line, this.order[place], bars);
      else {
        const n = this.shown ? this.shown[place] : place;
        const row = this.rows[n];
        this.fillRow(line, row, n);
        if (row && row.call === undefined && !this.asked.has(n)) bare.push(n);
      }
    });
    if (lanes) this.drawAxis();
    if (bare.length) this.askTexts(bare);
  }

  /** @param {number[]} numbers */
  askTexts(numbers) {
    if (!this.source.ask) return;
    for (const n of numbers) this.asked.add(n), this.wanted.add(n);
    clearTimeout(this.texting);
    this.texting = setTimeout(() => {
      // Where one has stopped scrolling; what was passed by is asked for when it is seen again.
      const wanted = [...this.wanted].slice(-100);
      for (const n of this.wanted) if (!wanted.includes(n)) this.asked.delete(n);
      this.wanted.clear();
      this.source.ask?.({ type: "texts", ns: wanted }).then((answer) => {
        for (const row of answer?.rows || []) this.add(row);
        this.schedule("list");
      }).catch(() => setTimeout(() => wanted.forEach((n) => this.asked.delete(n)), 3000));
    }, 60);
  }

  makeRow() {
    const cell = (/** @type {string} */ name, /** @type {any[]} */ ...children) => h("span", { class: name, role: "gridcell" }, ...children);
    const line = h("div", { class: "row", role: "row", onclick: () => this.open(Number(line.dataset.n)) },
      cell("state", h("i", { "aria-hidden": "true" }), h("span", { class: "word" })),
      cell("id"),
      cell("what", h("i", { class: "kind", "aria-hidden": "true" }), h("span", { class: "call" }), h("span", { class: "tags" })),
      cell("says"),
      cell("spent"),
      cell("took"));
    line.id = `r${++ids}`;
    return line;
  }

  /** @param {HTMLElement} line @param {Row|undefined} row @param {number} n */
  fillRow(line, row, n) {
    line.dataset.n = String(n);
    const chosen = n === this.selected;
    line.setAttribute("aria-selected", String(chosen));
    if (chosen) this.grid.setAttribute("aria-activedescendant", line.id);
    if (/** @type {any} */ (line).row === row && row?.status !== "running") return;
    /** @type {any} */ (line).row = row;
    const [state, id, what, says, spent, took] = /** @type {HTMLElement[]} */ ([...line.children]);
    if (!row) {
      line.className = "row missing";
      for (const cell of [id, says, spent, took]) put(cell, "");
      put(what.children[1], "…");
      return;
    }
    line.className = `row ${row.status}${row.old ? " old" : ""}${row.taken ? " taken" : ""}${row.replays ? " replayed" : ""}`;
    // A step that was answered from the journal is completed, and says more than that.
    const [icon, word] = row.replays && row.status === "completed" ? ["↻", "replayed"] : stateOf(row.status);
    put(state.children[0], icon + TEXT);
    put(state.children[1], word);
    put(id, row.id);
    put(what.children[0], (KINDS[/** @type {keyof typeof KINDS} */ (row.kind)] || "•") + TEXT);
    const call = row.call || row.name;
    put(what.children[1], row.kind === "model" && row.model ? `${row.name} ${row.model}` : call);
    line.title = "";
    put(what.children[2], [row.replays && row.status !== "completed" ? "↻ replayed" : "", row.taken ? "↱ parent's" : "", (row.attempts || 1) > 1 ? `attempt ${row.attempts}` : "", row.effect === "unsafe" ? "unsafe" : "", row.given ? "✎ given" : "", row.old ? "history" : ""].filter(Boolean).join("  "));
    const tail = row.text ? row.text.slice(-200) : row.log?.length ? row.log[row.log.length - 1].text : "";
    put(says, row.says ?? tail ?? "");
    says.classList.toggle("tail", row.says === undefined);
    put(spent, row.tokens ? `${count(row.tokens[0] + row.tokens[1])} tok${row.cost !== undefined ? ` ${money(row.cost)}` : ""}` : "");
    put(took, row.took !== undefined ? span(row.took) : row.status === "running" ? span(Math.max(0, this.now - row.at)) : "");
    line.style.setProperty("--done", row.progress !== undefined ? `${row.progress * 100}%` : "0%");
  }

  // -- lanes -------------------------------------------------------------------------------------------

  makeScale() {
    return new Scale(this.run.sessions, this.run.owner ? this.now : this.run.updated);
  }

  makeLane() {
    const line = h("div", { class: "lane", role: "row" });
    const canvas = h("canvas", { "aria-hidden": "true" });
    line.append(h("span", { class: "label", role: "rowheader" }, h("span"), h("small")), h("span", { class: "track", role: "gridcell" }, canvas, h("span", { class: "away" })));
    canvas.addEventListener("click", (e) => {
      const n = this.hit(Number(line.dataset.lane), e);
      if (n >= 0) this.open(n);
    });
    canvas.addEventListener("mousemove", (e) => {
      const n = this.hit(Number(line.dataset.lane), e);
      const row = this.rows[n];
      canvas.style.cursor = row ? "pointer" : "";
      canvas.title = row ? `${row.id} ${(row.call || row.name).slice(0, 120)}\n${stateOf(row.status)[1]}${row.took !== undefined ? `, ${span(row.took)}` : ""}` : "";
    });
    line.id = `r${++ids}`;
    return line;
  }

  /** @param {HTMLElement} line @param {number} id @param {boolean} bars */
  fillLane(line, id, bars) {
    const lane = /** @type {Lane} */ (this.lanes.get(id));
    const before = line.dataset.lane;
    line.dataset.lane = String(id);
    const steps = this.inLane.get(id) || [];
    const label = /** @type {HTMLElement} */ (line.children[0]);
    label.style.paddingLeft = `${6 + Math.min(lane.depth, 8) * 10}px`;
    put(label.children[0], `${lane.depth ? "↳ " : ""}${lane.name.split("/").pop()}`);
    put(label.children[1], `${steps.length.toLocaleString("en")}`);
    label.title = lane.name + (lane.step ? ` (inside step ${lane.step})` : "");
    const chosen = this.rows[this.selected];
    const here = chosen?.lane === id;
    line.setAttribute("aria-selected", String(here));
    if (here) this.grid.setAttribute("aria-activedescendant", line.id);
    const says = here && chosen ? `step ${chosen.id} ${chosen.name}, ${stateOf(chosen.status)[1]}${chosen.took !== undefined ? `, ${span(chosen.took)}` : ""}` : `${steps.length} steps`;
    put(line.children[1].children[1], says);
    if (bars || before !== String(id)) this.drawLane(/** @type {HTMLCanvasElement} */ (line.children[1].children[0]), steps);
  }

  /** @param {HTMLCanvasElement} canvas @param {number} height @returns {[CanvasRenderingContext2D, number]} */
  prepare(canvas, height) {
    const width = Math.max(40, this.grid.clientWidth - this.label - 8);
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return [pen, width];
  }

  get label() {
    return this.grid.clientWidth <= 620 ? 88 : LABEL;
  }

  paint() {
    if (!this.colours) {
      const style = getComputedStyle(this.box);
      const get = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
      this.colours = Object.fromEntries([...ORDER, "fg", "quiet", "line", "on", "bg"].map((name) => [name, get(`--${name}`) || "#888"]));
      this.colours.font = `${get("--size") || "12px"} ${get("--font") || "sans-serif"}`;
    }
    return this.colours;
  }

  /** @param {Row} row @param {number} width @returns {[number, number]} */
  bar(row, width) {
    const scale = this.scale;
    const [a, b] = this.zoom;
    const end = row.end ?? (row.status === "running" || row.status === "waiting" ? this.now : this.run.updated);
    const x = ((scale.x(row.at) - a) / (b - a)) * width;
    return [x, ((scale.x(Math.max(end, row.at)) - a) / (b - a)) * width];
  }

  /** @param {HTMLCanvasElement} canvas @param {number[]} steps */
  drawLane(canvas, steps) {
    const [pen, width] = this.prepare(canvas, LANE - 6);
    const colour = this.paint();
    const high = LANE - 12;
    const shown = this.shown && (this.search || this.kind || this.states.size) ? new Set(this.shown) : null;
    pen.font = colour.font;
    pen.textBaseline = "middle";
    const [a, b] = this.zoom;
    pen.strokeStyle = colour.line;
    for (const gap of this.scale.gaps) {
      const x = Math.round(((gap.x - a) / (b - a)) * width) + 0.5;
      if (x < 0 || x > width) continue;
      pen.setLineDash([2, 3]);
      pen.beginPath();
      pen.moveTo(x, 0);
      pen.lineTo(x, LANE);
      pen.stroke();
      pen.setLineDash([]);
    }
    // Bars too narrow to tell apart become columns, in which every state has its share, and the rare bad one 3 px.
    /** @type {Map<number, number[]>} */ const columns = new Map();
    const wide = [];
    for (const n of steps) {
      const row = this.rows[n];
      if (!row) continue;
      const [x, end] = this.bar(row, width);
      if (end < 0 || x > width) continue;
      if (end - x < 4 && n !== this.selected) {
        const at = Math.floor(x / 2);
        let shares = columns.get(at);
        if (!shares) columns.set(at, (shares = [0, 0, 0, 0, 0, 0, 0]));
        shares[!shown || shown.has(n) ? ORDER.indexOf(row.status) : 6]++;
      } else wide.push({ row, x, end });
    }
    for (const [at, shares] of columns) {
      const sum = shares.reduce((a, b) => a + b, 0);
      let y = 3;
      shares.forEach((share, state) => {
        if (!share) return;
        const tall = state < 4 ? Math.max(3, (share / sum) * high) : high + 3 - y;
        pen.fillStyle = state < 6 ? colour[ORDER[state]] : colour.line;
        pen.fillRect(at * 2, y, sum > 1 ? 2 : 1.5, Math.min(tall, high + 3 - y));
        y += tall;
      });
    }
    for (const { row, x, end } of wide) this.drawBar(pen, row, Math.max(x, -4), Math.min(Math.max(end - Math.max(x, -4), 3), width + 8), high, !shown || shown.has(row.n));
  }

  /** @param {CanvasRenderingContext2D} pen @param {Row} row @param {number} x @param {number} w @param {number} high @param {boolean} lit */
  drawBar(pen, row, x, w, high, lit) {
    const colour = this.paint();
    const tint = colour[row.status] || colour.quiet;
    const hollow = row.taken || row.old || row.status === "cancelled";
    pen.save();
    pen.globalAlpha = lit ? (row.old ? 0.55 : 1) : 0.15;
    pen.beginPath();
    pen.roundRect(x + 0.5, 3.5, Math.max(w - 1, 2), high - 1, 3);
    pen.fillStyle = pen.strokeStyle = tint;
    if (!hollow) pen.fill();
    pen.lineWidth = n2(row.n === this.selected);
    if (row.n === this.selected) pen.strokeStyle = colour.fg;
    pen.stroke();
    pen.clip();
    if (row.status === "in_doubt" || row.status === "waiting") {
      pen.strokeStyle = hollow ? tint : colour.bg;
      pen.globalAlpha *= 0.45;
      pen.lineWidth = 3;
      for (let at = x - high; at < x + w; at += 9) {
        pen.beginPath();
        pen.moveTo(at, high + 4);
        pen.lineTo(at + high, 2);
        pen.stroke();
      }
      pen.globalAlpha = lit ? 1 : 0.15;
    }
    if (row.progress !== undefined) {
      pen.fillStyle = colour.bg;
      pen.globalAlpha *= 0.35;
      pen.fillRect(x + w * row.progress, 3, w, high);
      pen.globalAlpha = lit ? 1 : 0.15;
    }
    if (w > 22) {
      pen.fillStyle = hollow ? colour.fg : colour.on;
      const mark = row.status === "completed" ? (row.replays ? "↻ " : "") : `${stateOf(row.status)[0]}${TEXT} `;
      const says = `${mark}${row.name}`;
      const room = w - (Math.max(x, 0) - x) - 10;
      const took = row.took !== undefined ? `  ${span(row.took)}` : "";
      const most = Math.floor((room / pen.measureText(says + took).width) * (says + took).length); // about so many letters fit
      const shown = most >= (says + took).length ? says + took : most >= says.length ? says : most > 3 ? `${says.slice(0, most - 1)}…` : "";
      pen.fillText(shown, Math.max(x, 0) + 6, 3 + high / 2);
    }
    pen.restore();
  }

  drawAxis() {
    const [pen, width] = this.prepare(this.axis, 18);
    const scale = this.scale;
    this.axis.style.marginLeft = `${this.label}px`;
    const colour = this.paint();
    pen.font = colour.font;
    pen.fillStyle = colour.quiet;
    pen.textBaseline = "middle";
    const [a, b] = this.zoom;
    const visible = Math.max(scale.worked(b) - scale.worked(a), 1e-6);
    const most = Math.max(2, width / 90);
    const nice = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];
    const tick = nice.find((t) => visible / t <= most) || Math.ceil(visible / most / 86400) * 86400;
    /** @type {[number, number][]} */ const taken = [];
    pen.fillStyle = colour.waiting;
    for (const gap of scale.gaps) {
      const says = `⋯ ${span(gap.seconds)} later`;
      const long = pen.measureText(says).width;
      const x = Math.min(((gap.x - a) / (b - a)) * width - long / 2, width - long);
      if (x + long < 0 || gap.seconds < 0.5 || taken.some(([from, to]) => x < to && x + long > from)) continue;
      pen.fillText(says, Math.max(0, x), 8);
      taken.push([Math.max(0, x) - 8, Math.max(0, x) + long + 8]);
    }
    pen.fillStyle = colour.quiet;
    for (let t = Math.ceil(scale.worked(a) / tick) * tick; t <= scale.worked(b) + 1e-9; t += tick) {
      const x = ((scale.at(t) - a) / (b - a)) * width;
      pen.fillRect(Math.round(x), 13, 1, 5);
      const says = t ? span(t).replace(".0 s", " s") : "0";
      const long = pen.measureText(says).width;
      if (x + 3 + long > width || taken.some(([from, to]) => x < to && x + 3 + long > from)) continue;
      pen.fillText(says, x + 3, 8);
    }
  }

  /** @param {MouseEvent} e */
  fraction(e) {
    const box = this.grid.getBoundingClientRect();
    return Math.max(0, Math.min(1, (e.clientX - box.left - this.label) / Math.max(1, box.width - this.label - 8)));
  }

  /** @param {number} id @param {MouseEvent} e @returns {number} */
  hit(id, e) {
    const box = /** @type {HTMLElement} */ (e.currentTarget || e.target).getBoundingClientRect();
    const x = e.clientX - box.left;
    let best = -1, near = 5;
    for (const n of this.inLane.get(id) || []) {
      const row = this.rows[n];
      if (!row) continue;
      const [from, to] = this.bar(row, box.width);
      if (x >= from && x <= Math.max(to, from + 3)) return n;
      const off = Math.min(Math.abs(x - from), Math.abs(x - to));
      if (off < near) [best, near] = [n, off];
    }
    return best;
  }

  /** @param {number} by @param {number} at */
  zoomBy(by, at) {
    const [a, b] = this.zoom;
    const middle = a + (b - a) * at;
    const size = Math.min(1, Math.max((b - a) * by, 1e-5));
    const from = Math.max(0, Math.min(1 - size, middle - size * at));
    this.setZoom(from, from + size);
  }

  /** @param {number} by */
  pan(by) {
    const [a, b] = this.zoom;
    const from = Math.max(0, Math.min(1 - (b - a), a + by * (b - a)));
    this.setZoom(from, from + b - a);
  }

  /** @param {number} a @param {number} b */
  setZoom(a, b) {
    this.zoom = [a, b];
    this.schedule("lanes");
  }

  // -- keys --------------------------------------------------------------------------------------------

  /** @param {KeyboardEvent} e */
  keys(e) {
    if (e.target !== this.grid) return;
    const step = this.mode === "lanes" ? this.laneKey(e.key) : this.listKey(e.key);
    if (step === undefined) return;
    e.preventDefault();
    if (step >= 0) this.select(step);
  }

  /** @param {string} key @returns {number|undefined} */
  listKey(key) {
    const total = this.length;
    const at = this.selected < 0 ? -1 : this.shown ? this.shown.indexOf(this.selected) : this.selected;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / ROW) - 1);
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: at + 1, ArrowUp: at < 0 ? total - 1 : at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: total - 1 };
    if (key === "Enter" || key === " ") {
      if (this.selected >= 0) this.open(this.selected, true);
      return -1;
    }
    if (!(key in moves) || !total) return undefined;
    const to = Math.max(0, Math.min(total - 1, moves[key]));
    return this.shown ? this.shown[to] : to;
  }

  /** @param {string} key @returns {number|undefined} */
  laneKey(key) {
    const row = this.rows[this.selected];
    if (key === "Enter" || key === " ") {
      if (row) this.open(row.n, true);
      return -1;
    }
    if (key === "+" || key === "=") return this.zoomBy(1 / 1.6, 0.5), -1;
    if (key === "-") return this.zoomBy(1.6, 0.5), -1;
    if (key === "0") return this.setZoom(0, 1), -1;
    if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(key)) return undefined;
    const full = this.order.filter((id) => this.inLane.get(id)?.length);
    if (!full.length) return -1;
    if (!row) return /** @type {number[]} */ (this.inLane.get(full[0]))[0];
    const steps = /** @type {number[]} */ (this.inLane.get(row.lane));
    const at = steps.indexOf(row.n);
    if (key === "ArrowLeft") return steps[Math.max(0, at - 1)];
    if (key === "ArrowRight") return steps[Math.min(steps.length - 1, at + 1)];
    if (key === "Home") return steps[0];
    if (key === "End") return steps[steps.length - 1];
    const lane = full[Math.max(0, Math.min(full.length - 1, full.indexOf(row.lane) + (key === "ArrowUp" ? -1 : 1)))];
    const there = /** @type {number[]} */ (this.inLane.get(lane));
    return there.reduce((best, n) => (Math.abs(this.rows[n].at - row.at) < Math.abs(this.rows[best].at - row.at) ? n : best), there[0]);
  }

  /** @param {number} n */
  select(n) {
    this.selected = n;
    this.follow = false;
    const lanes = this.mode === "lanes";
    const height = lanes ? LANE : ROW;
    const place = lanes ? this.order.indexOf(this.rows[n]?.lane) : this.shown ? this.shown.indexOf(n) : n;
    const top = place * height;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top + height > this.grid.scrollTop + this.grid.clientHeight) this.grid.scrollTop = top + height - this.grid.clientHeight + 2;
    this.schedule("list", "lanes");
    if (!this.details.hidden) this.open(n);
  }

  // -- one step ----------------------------------------------------------------------------------------

  /** @param {number} n @param {boolean} [focus] */
  open(n, focus = false) {
    const row = this.rows[n];
    if (!row) return;
    this.selected = n;
    this.follow = false;
    const [icon, word] = stateOf(row.status);
    const lane = this.lanes.get(row.lane);
    const facts = [
      ["kind", row.kind], ["scope", lane?.name || ""], ["began", new Date(row.at * 1000).toLocaleString()],
      ["took", row.took !== undefined ? span(row.took) : ""], ["attempts", (row.attempts || 1) > 1 ? String(row.attempts) : ""],
      ["replayed", row.replays ? `${row.replays} time${row.replays > 1 ? "s" : ""}` : ""], ["effect", row.effect || ""], ["outcome given by", row.given || ""],
      ["model", row.model || ""], ["tokens", row.tokens ? `${row.tokens[0].toLocaleString("en")} in${row.tokens[2] ? ` (${row.tokens[2].toLocaleString("en")} cached)` : ""}, ${row.tokens[1].toLocaleString("en")} out` : ""],
      ["price", row.cost !== undefined ? money(row.cost) : row.tokens ? "unknown" : ""], ["saved by replay", row.saved ? money(row.saved) : ""],
    ].filter(([, value]) => value);
    const close = button("✕", { class: "plain", "aria-label": "Close step", onclick: () => this.close() });
    this.tail = h("pre", { class: "stream", tabindex: "0", "aria-label": "Live output" });
    const args = h("dl", {}, ...facts.map(([name, value]) => h("div", {}, h("dt", { text: name }), h("dd", { text: value }))));
    this.details.replaceChildren(
      h("div", { class: "head" }, h("span", { class: `badge ${row.status}` }, h("span", { "aria-hidden": "true", text: icon + TEXT }), ` ${word}`),
        h("strong", { text: `${row.id} ${row.name}` }), row.old ? h("span", { class: "quiet", text: "left behind by a retry, an edit or a fork" }) : null,
        h("span", { class: "buttons" },
          button("Fork from here", { onclick: () => this.command("fork", row.id) }),
          button("Go to", { title: "The namespace as it was then", onclick: () => this.command("goto", row.id) }), close)),
      args, this.tail,
      ...this.values(row));
    this.details.hidden = false;
    this.detailState = `${row.status} ${row.attempts || 1}`;
    this.refresh(row);
    this.schedule("list", "lanes");
    if (focus) close.focus();
  }

  close() {
    this.details.hidden = true;
    this.details.replaceChildren();
    this.selected = -1;
    this.grid.focus({ preventScroll: true });
    this.schedule("list", "lanes");
  }

  /** @param {Row} row */
  refresh(row) {
    if (this.details.hidden || !this.tail) return;
    if (`${row.status} ${row.attempts || 1}` !== this.detailState && row.status !== "running") return void queueMicrotask(() => this.open(row.n));
    const lines = (row.log || []).map((line) => `${new Date(line.at * 1000).toLocaleTimeString()}  ${line.text}`);
    if (row.text) lines.push(row.text);
    put(this.tail, lines.join("\n"));
    this.tail.hidden = !lines.length;
  }

  /** @param {Row} row @returns {HTMLElement[]} */
  values(row) {
    const what = [row.kind === "model" ? ["messages", "Conversation", true] : ["arguments", "Arguments", true]];
    if (row.kind === "model") what.push(["arguments", "Request", false]);
    if (row.status === "completed") what.push(["result", "Result", row.kind !== "model"]);
    if (row.status === "failed") what.push(["error", "Error", true]);
    if (row.output) what.push(["output", "Output", false]);
    if (row.log && row.log.length >= 5) what.push(["log", "Log", false]);
    return what.map(([name, title, open]) => this.section(row, /** @type {string} */ (name), /** @type {string} */ (title), /** @type {boolean} */ (open)));
  }

  /** @param {Row} row @param {string} what @param {string} title @param {boolean} open */
  section(row, what, title, open) {
    const body = h("div", { class: "body" });
    const type = h("span", { class: "quiet" });
    const el = h("details", {}, h("summary", {}, `${title} `, type), body);
    let asked = false;
    const load = (/** @type {number} */ offset) => {
      if (!this.source.ask) {
        const line = what === "arguments" ? row.call : row.says;
        body.replaceChildren(h("pre", { text: line || "Not kept in the notebook.", tabindex: "0" }));
        return;
      }
      const slow = setTimeout(() => body.append(h("p", { class: "quiet slow", text: "The kernel is busy with a cell: this comes when it is free." })), 1500);
      this.source.ask({ type: "value", step: row.id, what, offset }).then((detail) => {
        body.querySelector(".more")?.remove();
        put(type, detail.form === "none" ? "" : `${detail.type}`);
        body.append(...this.drawValue(detail, offset > 0));
        if (detail.next !== undefined) {
          const left = detail.size - detail.next;
          body.append(button(`${left.toLocaleString("en")} more ${detail.form === "text" ? "characters" : "rows"}`, { class: "more", onclick: () => load(detail.next) }));
        }
      }).catch((error) => body.append(h("p", { class: "error", text: String(error?.message || error) }))).finally(() => {
        clearTimeout(slow);
        body.querySelectorAll(".slow").forEach((one) => one.remove());
      });
    };
    el.addEventListener("toggle", () => {
      if (/** @type {HTMLDetailsElement} */ (el).open && !asked) {
        asked = true;
        load(0);
      }
    });
    if (open) /** @type {HTMLDetailsElement} */ (el).open = true;
    return el;
  }

  /** @param {any} detail @param {boolean} more @returns {HTMLElement[]} */
  drawValue(detail, more) {
    if (detail.form === "image" && /^image\/(png|jpeg|gif|webp)$/.test(detail.mime)) return [h("img", { src: `data:${detail.mime};base64,${detail.data}`, alt: `Picture of ${detail.type}` })];
    if (detail.form === "table") {
      const body = h("tbody", {}, ...detail.rows.map((/** @type {string[]} */ row) => h("tr", {}, ...row.map((cell) => h("td", { text: cell })))));
      const head = detail.columns ? h("thead", {}, h("tr", {}, ...detail.columns.map((/** @type {string} */ name) => h("th", { scope: "col", text: name })))) : null;
      return [h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" }, h("table", {}, head, body))];
    }
    if (detail.form === "messages") return detail.rows.map((/** @type {string[]} */ [role, text]) => h("div", { class: `message ${/^[a-z]+$/.test(role) ? role : ""}` }, h("b", { text: role }), markdown(text)));
    if (detail.form === "text") {
      const pre = h("pre", { text: detail.text, tabindex: "0" });
      if (!detail.markdown || more) return [pre];
      const shown = markdown(detail.text);
      pre.hidden = true;
      const swap = button("Source", { class: "link", onclick: () => {
        pre.hidden = !pre.hidden;
        shown.hidden = !pre.hidden;
        swap.textContent = pre.hidden ? "Source" : "Formatted";
      } });
      return [swap, shown, pre];
    }
    return [h("p", { class: "quiet", text: detail.type || "nothing" })];
  }

  // -- people ------------------------------------------------------------------------------------------

  drawWaits() {
    const seen = new Set(this.waits.map((wait) => wait.key));
    for (const [key, card] of this.cards) if (!seen.has(key)) card.remove(), this.cards.delete(key);
    for (const wait of this.waits) {
      if (this.cards.has(wait.key)) continue; // what somebody is typing stays
      const card = this.card(wait);
      this.cards.set(wait.key, card);
      this.people.append(card);
    }
    this.people.hidden = !this.waits.length;
  }

  /** @param {Wait} wait */
  card(wait) {
    const says = h("p", { class: "result", role: "alert" });
    const more = h("div", { class: "more-form" });
    const id = `w${++ids}`;
    const card = h("div", { class: `wait ${wait.kind}`, role: "group", "aria-labelledby": id });
    const step = wait.step ? this.rows.findLast((row) => row && row.id === wait.step) : null;
    /** @param {string} action @param {any} [value] @param {string} [message] */
    const decide = (action, value, message) => {
      card.classList.add("sent");
      put(says, "Sent…");
      const slow = setTimeout(() => {
        says.replaceChildren("The kernel is busy and has not taken it yet. In a terminal: ", ...this.copyable(this.inTerminal(wait, action, message)));
      }, 2000);
      (this.source.ask ? this.source.ask({ type: "decide", key: wait.key, step: wait.step ?? null, action, value, message: message || "" }) : Promise.reject(new Error("this front end cannot decide")))
        .then((answer) => put(says, answer?.says || "Recorded: the run goes on."))
        .catch((error) => {
          card.classList.remove("sent");
          says.replaceChildren(h("span", { class: "error", text: String(error?.message || error) }), " ", ...this.copyable(this.inTerminal(wait, action, message)));
        })
        .finally(() => clearTimeout(slow));
    };
    /** @param {string} title @param {{el: HTMLElement, read: () => any}} fields @param {(value: any) => void} done */
    const reveal = (title, fields, done) => {
      const wrong = h("p", { class: "error", role: "alert" });
      const send = button(title, { class: "primary", onclick: () => {
        try {
          put(wrong, "");
          done(fields.read());
        } catch (error) {
          put(wrong, /** @type {Error} */ (error).message);
        }
      } });
      more.replaceChildren(fields.el, wrong, send);
      /** @type {HTMLElement|null} */ (more.querySelector("input, textarea, select"))?.focus();
    };
    const text = (/** @type {string} */ label, /** @type {string} */ start = "") => form({ type: "string", title: label }, start);
    const any = wait.schema || {};
    /** @type {Record<string, [string, string, () => void]>} */
    const known = {
      approve: ["Approve", "primary", () => decide("approve")],
      reject: ["Reject…", "", () => reveal("Reject", text("Why (the agent is told)"), (why) => decide("reject", undefined, why))],
      edit: ["Edit arguments…", "", () => reveal("Approve with these", form(any, wait.value), (value) => decide("edit", changed(wait.value, value)))],
      answer: ["Answer", "primary", () => reveal("Answer", form(any, wait.value), (value) => decide("answer", value))],
      signal: ["Send", "primary", () => reveal("Send", form(any, wait.value), (value) => decide("signal", value))],
      retry: ["No: make the call", "", () => decide("retry")],
      supply: ["Yes: supply its result…", "", () => reveal("Supply", form({ title: "Result, as JSON" }, undefined), (value) => decide("supply", value))],
      fail: ["Go on with an error…", "", () => reveal("Fail", text("What went wrong"), (why) => decide("fail", undefined, why))],
      raise: ["Raise the budget…", "primary", () => reveal("Raise", form(any, wait.value), (value) => decide("raise", value))],
      cancel: ["Cancel the run", "", () => this.askCancel()],
    };
    const buttons = h("div", { class: "actions" }, ...wait.actions.map((action) => {
      const [label, style, act] = known[action] || [action, "", () => decide(action)];
      return button(label, { class: style, onclick: act });
    }));
    card.append(
      h("p", { id }, h("span", { "aria-hidden": "true", text: "‖ " }), wait.prompt, wait.until ? h("span", { class: "quiet", text: ` until ${new Date(wait.until * 1000).toLocaleString()}` }) : null),
      ...(step ? [button(`${step.id} ${(step.call || step.name).slice(0, 120)}`, { class: "link code", onclick: () => this.open(step.n) })] : []),
      ...(wait.kind === "approval" && wait.value !== undefined ? [h("pre", { text: JSON.stringify(wait.value, null, 2), tabindex: "0" })] : []),
      buttons, more, says);
    if (wait.actions.length === 1 && (wait.actions[0] === "answer" || wait.actions[0] === "signal")) {
      buttons.hidden = true;
      const active = /** @type {any} */ (this.root).activeElement;
      known[wait.actions[0]][2]();
      if (active) active.focus(); // a question does not take the keyboard away
    }
    return card;
  }

  /** @param {Wait} wait @param {string} action @param {string} [message] */
  inTerminal(wait, action, message) {
    const verb = action === "edit" ? "approve" : action;
    const quoted = message ? ` '${message.replaceAll("'", `'\\''`)}'` : verb === "supply" || verb === "answer" || verb === "signal" ? " VALUE" : "";
    return `jupyter durable ${verb} ${short(this.run.id)} ${wait.step || wait.key}${quoted}`;
  }

  /** @param {string} text @returns {HTMLElement[]} */
  copyable(text) {
    return [h("code", { text }), button("Copy", { onclick: (/** @type {any} */ e) => copy(text, e.currentTarget) })];
  }

  // -- what the run is told ----------------------------------------------------------------------------

  /** @param {"resume"|"fork"|"goto"} verb @param {string} [step] */
  command(verb, step) {
    const args = step ? { run: this.run.id, step } : { run: this.run.id };
    if (this.source.command?.(`jupyter-durable:${verb}`, args)) return;
    const id = short(this.run.id);
    const line = verb === "fork" ? `%durable fork ${id}${step ? ` --at ${step}` : ""}` : `%durable ${verb} ${id}${step ? ` ${step}` : ""}`;
    const why = { resume: "Run the cell again, or put this into a cell of its own:", fork: "Put this into a cell of its own; the fork's cell appears below it:", goto: "Put this into a cell of its own:" }[verb];
    this.note.replaceChildren(h("span", { text: `${why} ` }), ...this.copyable(line), button("✕", { class: "plain", "aria-label": "Close", onclick: () => (this.note.hidden = true) }));
    this.note.hidden = false;
    /** @type {HTMLElement|null} */ (this.note.querySelector("button"))?.focus();
  }

  askCancel() {
    const says = h("span", { role: "alert" });
    this.note.replaceChildren(
      h("span", { text: "End this run for good? What is recorded stays. " }),
      button("End it", { class: "danger", onclick: () => {
        put(says, " Sent…");
        this.source.ask?.({ type: "cancel" }).then(() => put(says, " It ends at its next step.")).catch((error) => put(says, ` ${error?.message || error}`));
      } }),
      button("Keep it", { onclick: () => (this.note.hidden = true) }), says);
    this.note.hidden = false;
    /** @type {HTMLElement|null} */ (this.note.querySelector("button"))?.focus();
  }
}

/** Attributes by which front ends say how they look. */
const THEMED = ["data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind", "data-theme", "class", "theme"];

/** Whose colours are taken, and whether they are dark: what the front end says, or else what it looks like.
 * @returns {{home: "jupyter"|"vscode"|"", dark: boolean, calm: boolean}} */
function looks() {
  const { body, documentElement } = document;
  const calm = body.classList.contains("vscode-reduce-motion");
  if (body.dataset.jpThemeLight) return { home: "jupyter", dark: body.dataset.jpThemeLight === "false", calm };
  const kind = body.dataset.vscodeThemeKind || ["vscode-dark", "vscode-light", "vscode-high-contrast"].find((name) => body.classList.contains(name));
  if (kind) return { home: "vscode", dark: kind === "vscode-dark" || kind === "vscode-high-contrast", calm };
  const said = documentElement.getAttribute("theme"); // Colab
  if (said === "dark" || said === "light") return { home: "", dark: said === "dark", calm };
  const found = [body, documentElement].map((el) => /rgba?\((\d+), (\d+), (\d+)(?:, ([\d.]+))?/.exec(getComputedStyle(el).backgroundColor)).find((one) => one && one[4] !== "0");
  return { home: "", dark: Boolean(found && Number(found[1]) + Number(found[2]) + Number(found[3]) < 300), calm };
}

/** @param {boolean} wide */
const n2 = (wide) => (wide ? 2 : 1);

// -- homes ---------------------------------------------------------------------------------------------

/**
 * Draw a timeline into `el`; `dispose` takes it out again.
 * @param {HTMLElement} el @param {Source} source
 * @returns {{dispose: () => void, timeline: Timeline}}
 */
export function mount(el, source) {
  const timeline = new Timeline(el, source);
  return { timeline, dispose: () => timeline.dispose() };
}

/** A page that nobody follows: what a notebook file has of a run. @param {Page} page @returns {Source} */
export function still(page) {
  return {
    subscribe: (tell) => {
      tell(page);
      return () => {};
    },
  };
}

/**
 * anywidget's entry. Pages come as messages; the trait `snapshot` is what a saved notebook and a late view have.
 * @param {{model: any, el: HTMLElement}} given
 */
export function render({ model, el }) {
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
  const open = new Map();
  let last = 0;
  /** @type {(page: Page) => void} */ let tell = () => {};
  const on = (/** @type {any} */ message) => {
    if (message?.type === "page") tell(message.page);
    else if (message?.type === "reply") {
      const waiting = open.get(message.id);
      open.delete(message.id);
      if (message.error) waiting?.reject(new Error(message.error));
      else waiting?.resolve(message.value);
    }
  };
  const snap = () => {
    const page = model.get("snapshot");
    if (page && page.run) tell(page);
  };
  const place = el.appendChild(document.createElement("div"));
  const view = mount(place, {
    subscribe: (to) => {
      tell = to;
      model.on("msg:custom", on);
      model.on("change:snapshot", snap);
      snap();
      model.send({ type: "since", id: ++last, feed: "", mark: 0 });
      return () => {
        model.off("msg:custom", on);
        model.off("change:snapshot", snap);
      };
    },
    ask: (request) => {
      // Our extension asks the server, which answers while a cell keeps the kernel busy; without it, the kernel.
      const event = new CustomEvent("jupyter-durable:ask", { bubbles: true, composed: true, cancelable: true, detail: { run: model.get("run"), request, result: undefined } });
      if (request.type !== "since" && !place.dispatchEvent(event)) return Promise.resolve(event.detail.result);
      return new Promise((resolve, reject) => {
        const id = ++last;
        open.set(id, { resolve, reject });
        model.send({ ...request, id });
      });
    },
    command: (id, args) => {
      // Who answers it (our extension) prevents the default.
      const event = new CustomEvent("jupyter-durable:command", { bubbles: true, composed: true, cancelable: true, detail: { id, args } });
      return !place.dispatchEvent(event);
    },
  });
  return () => view.dispose();
}

// -- looks ---------------------------------------------------------------------------------------------

const CSS = `
:host { display: block; }
.box-all {
  --fg: #1f2328; --quiet: #59636e; --bg: #ffffff; --bg2: #f3f4f6; --line: #d1d9e0;
  --accent: #0b65c2; --on: #ffffff;
  --completed: #23692a; --failed: #b91c1c; --running: #0b65c2; --waiting: #9a5b00; --in_doubt: #9a3b8f; --cancelled: #6b7280; --interrupted: #6b7280;
  --font: system-ui, sans-serif; --mono: ui-monospace, Menlo, Consolas, monospace; --size: 13px;
  font-family: var(--font); font-size: var(--size); line-height: 1.4; color: var(--fg); background: var(--bg);
  border: 1px solid var(--line); border-radius: 6px; overflow: hidden; max-width: 100%; container-type: inline-size; text-align: left;
}
.box-all.dark {
  --fg: #e6edf3; --quiet: #9aa4af; --bg: #14181d; --bg2: #20262d; --line: #3b434c;
  --accent: #6cb0ff; --on: #10151b;
  --completed: #6cc270; --failed: #ff8a80; --running: #6cb0ff; --waiting: #f2b04b; --in_doubt: #e59ad9; --cancelled: #a3abb5; --interrupted: #a3abb5;
}
/* Variables of a front end count only in it: others carry ipywidgets' copy of Lab's, which is light by night. */
.box-all.jupyter {
  --fg: var(--jp-ui-font-color1); --quiet: var(--jp-ui-font-color2); --bg: var(--jp-layout-color1); --bg2: var(--jp-layout-color2); --line: var(--jp-border-color2);
  --font: var(--jp-ui-font-family, system-ui, sans-serif); --mono: var(--jp-code-font-family, ui-monospace, Menlo, Consolas, monospace); --size: var(--jp-ui-font-size1, 13px);
}
.box-all.vscode {
  --fg: var(--vscode-foreground); --quiet: var(--vscode-descriptionForeground, var(--vscode-foreground)); --bg: var(--vscode-editor-background); --bg2: var(--vscode-sideBar-background, var(--vscode-editor-background));
  --line: var(--vscode-contrastBorder, var(--vscode-panel-border, color-mix(in srgb, currentColor 30%, transparent)));
  --font: var(--vscode-font-family, system-ui, sans-serif); --mono: var(--vscode-editor-font-family, ui-monospace, Menlo, Consolas, monospace); --size: var(--vscode-font-size, 13px);
}
[hidden] { display: none !important; }
.away { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.quiet { color: var(--quiet); }
.error { color: var(--failed); }
.code, code, pre { font-family: var(--mono); font-size: 0.92em; }
p { margin: 2px 0; }
header { padding: 8px 10px 6px; }
.title { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px; }
.name { overflow-wrap: anywhere; }
.facts { color: var(--quiet); flex: 1 1 auto; }
.badge { color: var(--fg); border: 1px solid currentColor; border-radius: 10px; padding: 0 8px; white-space: nowrap; font-size: 0.92em; }
.badge.completed { color: var(--completed); } .badge.failed { color: var(--failed); } .badge.running { color: var(--running); }
.badge.waiting { color: var(--waiting); } .badge.in_doubt { color: var(--in_doubt); } .badge.interrupted, .badge.cancelled { color: var(--quiet); }
.buttons { display: inline-flex; gap: 6px; margin-left: auto; }
button { font: inherit; font-size: 0.95em; color: var(--fg); background: var(--bg); border: 1px solid var(--line); border-radius: 4px; padding: 2px 9px; cursor: pointer; }
button:hover { background: var(--bg2); }
button.primary { background: var(--accent); border-color: var(--accent); color: var(--on); }
button.primary:hover { filter: brightness(1.1); }
button.danger { color: var(--failed); border-color: var(--failed); }
button.plain { border-color: transparent; background: none; }
button.link { border: none; background: none; padding: 0; color: var(--accent); text-decoration: underline; text-align: left; overflow-wrap: anywhere; }
button:focus-visible, input:focus-visible, select:focus-visible, textarea:focus-visible, .grid:focus-visible, pre:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.grid:focus-visible { outline-offset: -2px; }
.meter { display: flex; gap: 1px; height: 4px; border-radius: 2px; overflow: hidden; background: var(--bg2); margin-top: 7px; }
.meter span { flex: 0 1 0; min-width: 0; transition: flex-grow 0.3s; }
.meter .completed { background: var(--completed); } .meter .failed { background: var(--failed); } .meter .running { background: var(--running); }
.meter .waiting { background: var(--waiting); } .meter .in_doubt { background: var(--in_doubt); } .meter .cancelled { background: var(--cancelled); }
.relations { display: flex; flex-wrap: wrap; gap: 2px 14px; margin-top: 5px; font-size: 0.95em; }
.relations p { flex: 1 0 100%; margin: 0; overflow-wrap: anywhere; }
.note { margin-top: 6px; padding: 6px 8px; background: var(--bg2); border-radius: 4px; display: flex; flex-wrap: wrap; gap: 4px 8px; align-items: center; }
.note code, .result code { background: var(--bg); border: 1px solid var(--line); border-radius: 3px; padding: 1px 5px; user-select: all; overflow-wrap: anywhere; }
.waits { border-top: 1px solid var(--line); }
.wait { padding: 8px 10px; border-left: 4px solid var(--waiting); }
.wait + .wait { border-top: 1px solid var(--line); }
.wait.doubt { border-left-color: var(--in_doubt); }
.wait > p:first-child { font-weight: 600; overflow-wrap: anywhere; }
.wait pre { max-height: 140px; overflow: auto; background: var(--bg2); padding: 6px; border-radius: 4px; margin: 4px 0; }
.wait.sent .actions, .wait.sent .more-form { opacity: 0.5; pointer-events: none; }
.wait .result { display: flex; flex-wrap: wrap; gap: 4px 8px; align-items: center; }
.actions { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 6px; }
.more-form:not(:empty) { margin-top: 8px; max-width: 560px; }
.field { margin: 4px 0 8px; } .field label { display: block; margin-bottom: 2px; } .field.box { display: flex; gap: 6px; } .field.box label { margin: 0; }
fieldset { border: 1px solid var(--line); border-radius: 4px; margin: 4px 0; }
input, select, textarea { font: inherit; color: var(--fg); background: var(--bg); border: 1px solid var(--line); border-radius: 4px; padding: 2px 6px; max-width: 100%; box-sizing: border-box; }
.field input:not([type="checkbox"]), .field textarea { width: 100%; }
.tools { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; padding: 5px 10px; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); background: var(--bg2); }
.tools input[type="search"] { width: 150px; } .tools select { max-width: 150px; }
.chips { display: flex; flex-wrap: wrap; gap: 4px; }
.chip { border-radius: 10px; padding: 0 8px; color: var(--fg); }
.chip > span { color: var(--quiet); }
.chip.failed > span { color: var(--failed); } .chip.completed > span { color: var(--completed); } .chip.running > span { color: var(--running); }
.chip.waiting > span { color: var(--waiting); } .chip.in_doubt > span { color: var(--in_doubt); }
.chip b { font-weight: 600; }
button[aria-pressed="true"] { background: var(--bg); border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
.right { margin-left: auto; display: inline-flex; gap: 8px; }
.tabs { display: inline-flex; } .tabs button:first-child { border-radius: 4px 0 0 4px; } .tabs button:last-child { border-radius: 0 4px 4px 0; margin-left: -1px; }
.zoom { display: inline-flex; gap: 3px; }
.grid { position: relative; overflow: auto; overflow-x: hidden; overscroll-behavior: contain; }
.pool { position: absolute; inset: 0 0 auto 0; }
.row { position: absolute; left: 0; right: 0; height: ${ROW}px; display: grid; align-items: baseline; column-gap: 10px; padding: 0 10px; cursor: pointer; contain: layout style;
  grid-template-columns: 92px 52px minmax(140px, 1.25fr) minmax(80px, 1fr) 0 68px; white-space: nowrap; line-height: ${ROW}px; }
.spends .row { grid-template-columns: 92px 52px minmax(140px, 1.25fr) minmax(80px, 1fr) 118px 68px; }
.row > span { overflow: hidden; text-overflow: ellipsis; }
.row:hover { background: var(--bg2); }
.row[aria-selected="true"], .lane[aria-selected="true"] { background: color-mix(in srgb, var(--accent) 14%, var(--bg)); }
.row i { font-style: normal; display: inline-block; width: 16px; margin-right: 3px; text-align: center; }
.row .id { color: var(--quiet); font-family: var(--mono); font-size: 0.92em; }
.row .what { display: flex; gap: 4px; align-items: baseline; }
.row .kind { color: var(--quiet); flex: none; }
.row .call { font-family: var(--mono); font-size: 0.92em; overflow: hidden; text-overflow: ellipsis; min-width: 0; }
.row .tags { color: var(--quiet); flex: none; font-size: 0.88em; padding-left: 4px; white-space: pre; }
.row .tags:empty { display: none; }
.row .says { color: var(--quiet); font-family: var(--mono); font-size: 0.92em; }
.row .says.tail { font-style: italic; direction: rtl; unicode-bidi: plaintext; text-align: left; }
.row .spent, .row .took { text-align: right; font-variant-numeric: tabular-nums; color: var(--quiet); font-size: 0.95em; }
.row.completed .state { color: var(--completed); } .row.failed .state, .row.failed .says { color: var(--failed); } .row.running .state { color: var(--running); }
.row.waiting .state { color: var(--waiting); } .row.in_doubt .state { color: var(--in_doubt); } .row.cancelled .state { color: var(--quiet); }
.row.in_doubt, .row.waiting { background: repeating-linear-gradient(-45deg, transparent 0 6px, color-mix(in srgb, var(--in_doubt) 9%, transparent) 6px 12px); }
.row.waiting { background: repeating-linear-gradient(-45deg, transparent 0 6px, color-mix(in srgb, var(--waiting) 11%, transparent) 6px 12px); }
.row.old .call { text-decoration: line-through; } .row.old { opacity: 0.75; }
.row.replayed, .row.taken { border-left: 3px solid color-mix(in srgb, var(--accent) 55%, transparent); padding-left: 7px; }
.row.taken { border-left-style: dashed; }
.row.running::after { content: ""; position: absolute; left: 0; bottom: 0; height: 2px; width: var(--done, 0%); background: var(--running); }
.row.running .state i { animation: pulse 1.4s ease-in-out infinite; }
@keyframes pulse { 50% { opacity: 0.25; } }
.lane { position: absolute; left: 0; right: 0; height: ${LANE}px; display: flex; align-items: center; }
.lane .label { width: ${LABEL}px; flex: none; box-sizing: border-box; padding-right: 8px; display: flex; gap: 6px; align-items: baseline; overflow: hidden; white-space: nowrap; }
.lane .label span { overflow: hidden; text-overflow: ellipsis; } .lane .label small { color: var(--quiet); margin-left: auto; }
.lane .track { flex: 1; overflow: hidden; position: relative; } .lane canvas { display: block; }
.lane + .lane { border-top: 1px solid color-mix(in srgb, var(--line) 55%, transparent); }
.axis { display: none; } .in-lanes .axis { display: block; }
.blank { padding: 10px; }
.details { border-top: 2px solid var(--line); padding: 8px 10px 10px; max-height: 440px; overflow: auto; }
.details .head { display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: center; }
.details .head strong { overflow-wrap: anywhere; }
dl { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 6px 0; }
dl div { display: flex; gap: 6px; } dl dt { color: var(--quiet); } dl dd { margin: 0; overflow-wrap: anywhere; }
.details details { border-top: 1px solid var(--line); padding: 4px 0; }
summary { cursor: pointer; font-weight: 600; } summary .quiet { font-weight: 400; }
.details pre, .md pre { margin: 4px 0; padding: 6px 8px; background: var(--bg2); border-radius: 4px; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 300px; overflow: auto; }
.stream { border-left: 3px solid var(--running); }
.scroll { overflow: auto; max-height: 300px; }
table { border-collapse: collapse; font-size: 0.95em; } td, th { border: 1px solid var(--line); padding: 1px 8px; text-align: left; white-space: pre; max-width: 360px; overflow: hidden; text-overflow: ellipsis; } thead th { position: sticky; top: 0; background: var(--bg2); }
img { max-width: 100%; max-height: 320px; background: #fff; }
.message { margin: 4px 0; padding: 4px 8px; border-left: 3px solid var(--line); } .message.assistant { border-left-color: var(--accent); } .message b { color: var(--quiet); font-weight: 600; font-size: 0.92em; }
.md .h { font-weight: 700; } .md .h1 { font-size: 1.25em; } .md .h2 { font-size: 1.12em; } .md ul, .md ol { margin: 2px 0; padding-left: 22px; } .md blockquote { margin: 2px 0; padding-left: 8px; border-left: 3px solid var(--line); color: var(--quiet); } .md p { white-space: pre-wrap; overflow-wrap: anywhere; } .md a { color: var(--accent); } .md code { background: var(--bg2); padding: 0 3px; border-radius: 3px; }
@container (max-width: 760px) { .spends .row { grid-template-columns: 92px 52px minmax(140px, 1.25fr) minmax(80px, 1fr) 0 68px; } .row .spent { visibility: hidden; } }
@container (max-width: 620px) {
  .row, .spends .row { grid-template-columns: 22px minmax(90px, 1fr) minmax(0, 0.7fr) 58px; } .row .id, .row .spent { display: none; } .row .word { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .tools input[type="search"] { width: 110px; } .lane .label { width: 88px; } .chip { padding: 0 6px; font-size: 0.92em; }
  .buttons { margin-left: 0; }
}
@container (max-width: 420px) { .row, .spends .row { grid-template-columns: 22px minmax(0, 1fr) 58px; } .row .says { display: none; } .row .tags { display: none; } }
.calm * { animation: none !important; transition: none !important; }
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
@media (forced-colors: active) { .meter span { forced-color-adjust: none; } }
`;

export default { render };
