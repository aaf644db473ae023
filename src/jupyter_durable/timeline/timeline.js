// The timeline of a durable run, for every front end. Made by tools/compile.mjs from jupyter_extension/timeline, where
// it is in small modules that say why. Do not edit: `npm run build` in jupyter_extension.

// timeline/nodes.ts
function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === void 0 || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "class") el.className = value;
    else if (name === "text") el.textContent = value;
    else if (name in el && typeof value !== "string") el[name] = value;
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child) el.append(child);
  return el;
}
var button = (text, props) => h("button", { type: "button", ...props }, text);
var icon = (text) => h("span", { "aria-hidden": "true", text });
function put(el, text) {
  if (el.textContent !== text) el.textContent = text;
}
var ids = 0;
var fresh = (prefix) => `${prefix}${++ids}`;
function copyable(text) {
  const onclick = (event) => copy(text, event.currentTarget);
  return [h("code", { text }), button("Copy", { onclick })];
}
async function copy(text, by) {
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
  setTimeout(() => by.textContent = before, 1500);
}

// timeline/states.ts
var TEXT = "︎";
var ORDER = ["failed", "in_doubt", "waiting", "running", "completed", "cancelled"];
var METER = ["completed", "failed", "in_doubt", "waiting", "running", "cancelled"];
var STATES = {
  running: ["▶", "running"],
  waiting: ["‖", "waiting"],
  in_doubt: ["?", "in doubt"],
  completed: ["✓", "completed"],
  failed: ["✗", "failed"],
  cancelled: ["■", "cancelled"],
  interrupted: ["■", "interrupted"]
};
var KINDS = {
  tool: "⚙",
  model: "✦",
  http: "⇄",
  mcp: "⬡",
  sleep: "☾",
  signal: "⚑",
  ask: "?",
  approval: "✋",
  run: "▣"
};
var stateOf = (status) => STATES[status] || ["•", status];
var signOf = (kind) => (KINDS[kind] || "•") + TEXT;

// timeline/announcer.ts
var APART = 8e3;
var Announcer = class {
  el = h("div", { class: "away", role: "status", "aria-live": "polite" });
  said = "";
  at = 0;
  say(run, waits) {
    const parts = ORDER.filter((state) => run.counts[state]).map(
      (state) => `${run.counts[state]} ${stateOf(state)[1]}`
    );
    const status = `${run.name} ${stateOf(run.status)[1]}`;
    const text = `${status}: ${parts.join(", ")}${waits[0] ? `. ${waits[0].prompt}` : ""}`;
    if (text === this.said || this.said.startsWith(status) && Date.now() - this.at <= APART) return;
    this.said = text;
    this.at = Date.now();
    put(this.el, text);
  }
};

// timeline/asking.ts
var REST = 60;
var MOST = 100;
var AGAIN = 3e3;
var Asking = class {
  /** came: rows with texts did. */
  constructor(source, model, came) {
    this.source = source;
    this.model = model;
    this.came = came;
  }
  source;
  model;
  came;
  catching = false;
  wanted = /* @__PURE__ */ new Set();
  // of the asked ones, those for which nothing was sent yet
  timer;
  /** What came after the last mark that is sure. */
  catchUp() {
    if (!this.source.ask || this.catching) return;
    this.catching = true;
    void this.source.ask({ type: "since", feed: this.model.feed, mark: this.model.mark }).catch(() => {
    }).finally(() => this.catching = false);
  }
  /** What rows say, and how their calls were made. */
  texts(numbers) {
    if (!this.source.ask) return;
    for (const n of numbers) {
      this.model.asked.add(n);
      this.wanted.add(n);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), REST);
  }
  send() {
    const { asked } = this.model;
    const wanted = [...this.wanted].slice(-MOST);
    for (const n of this.wanted) if (!wanted.includes(n)) asked.delete(n);
    this.wanted.clear();
    this.source.ask?.({ type: "texts", ns: wanted }).then((answer) => {
      for (const row of answer?.rows || []) this.model.add(row);
      this.came();
    }).catch(() => setTimeout(() => wanted.forEach((n) => asked.delete(n)), AGAIN));
  }
};

// timeline/canvas.ts
function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}
var Palette = class {
  constructor(box) {
    this.box = box;
  }
  box;
  known = null;
  get colours() {
    return this.known ??= this.read();
  }
  /** It looks otherwise now. */
  forget() {
    this.known = null;
  }
  read() {
    const style = getComputedStyle(this.box);
    const get = (name) => style.getPropertyValue(`--${name}`).trim();
    const names = [...ORDER, "fg", "quiet", "line", "on", "bg"];
    const colours = Object.fromEntries(names.map((name) => [name, get(name) || "#888"]));
    return { ...colours, font: `${get("size") || "12px"} ${get("font") || "sans-serif"}` };
  }
};

// timeline/words.ts
var UNITS = [
  ["d", 86400, "h", 3600],
  ["h", 3600, "min", 60],
  ["min", 60, "s", 1]
];
function span(s) {
  if (!(s >= 0)) return "";
  if (s < 1e-3) return `${(s * 1e3).toFixed(1)} ms`;
  if (s < 1) return `${Math.round(s * 1e3)} ms`;
  if (s < 60) return `${s.toFixed(1)} s`;
  const whole = Math.floor(s);
  for (const [unit, size, below, part] of UNITS) {
    if (whole >= size) {
      const rest = Math.floor(whole % size / part);
      return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${below}` : ""}`;
    }
  }
  return "";
}
function money(usd) {
  if (!usd) return "$0";
  return usd >= 0.01 ? `$${usd.toFixed(2)}` : `$${Number(usd.toPrecision(2))}`;
}
function count(n) {
  if (n >= 1e6) return `${(n / 1e6).toFixed(1)}M`;
  if (n >= 1e4) return `${Math.round(n / 1e3)}k`;
  return n >= 1e3 ? `${(n / 1e3).toFixed(1)}k` : String(n);
}
var figure = (n) => n.toLocaleString("en");
var short = (id) => id.slice(0, 13);
var reason = (error) => String(error?.message || error);

// timeline/commands.ts
var WHY = {
  resume: "Run the cell again, or put this into a cell of its own:",
  fork: "Put this into a cell of its own; the fork's cell appears below it:",
  goto: "Put this into a cell of its own:"
};
var Commands = class {
  constructor(source, model) {
    this.source = source;
    this.model = model;
  }
  source;
  model;
  /** What is said about it. */
  note = h("div", { class: "note", hidden: true });
  /** Take the run up, or go on from a step of it. */
  run(verb, step) {
    const run = this.model.run.id;
    if (this.send(verb, step ? { run, step } : { run })) return;
    const id = short(run);
    const fork = `%durable fork ${id}${step ? ` --at ${step}` : ""}`;
    const line = verb === "fork" ? fork : `%durable ${verb} ${id}${step ? ` ${step}` : ""}`;
    const close = button("✕", { class: "plain", "aria-label": "Close", onclick: () => this.note.hidden = true });
    this.show(h("span", { text: `${WHY[verb]} ` }), ...copyable(line), close);
  }
  /** Show another run; false: the front end cannot. */
  open(run) {
    return this.send("open", { run });
  }
  /** End the run, if that is what somebody wants. */
  cancel() {
    const says = h("span", { role: "alert" });
    const end = () => {
      put(says, " Sent…");
      this.source.ask?.({ type: "cancel" }).then(() => put(says, " It ends at its next step.")).catch((error) => put(says, ` ${reason(error)}`));
    };
    this.show(
      h("span", { text: "End this run for good? What is recorded stays. " }),
      button("End it", { class: "danger", onclick: end }),
      button("Keep it", { onclick: () => this.note.hidden = true }),
      says
    );
  }
  send(id, args) {
    return Boolean(this.source.command?.(`jupyter-durable:${id}`, args));
  }
  show(...children) {
    this.note.replaceChildren(...children);
    this.note.hidden = false;
    this.note.querySelector("button")?.focus();
  }
};

// timeline/schema.ts
function resolve(schema, root) {
  for (let turn = 0; turn < 20 && schema && typeof schema === "object"; turn++) {
    if (typeof schema.$ref === "string" && schema.$ref.startsWith("#/")) {
      schema = { ...lookUp(root, schema.$ref), ...without(schema, "$ref") };
      continue;
    }
    const choice = schema.anyOf || schema.oneOf || schema.allOf;
    if (Array.isArray(choice)) {
      const some = choice.filter((one) => one && one.type !== "null");
      if (some.length === 1) {
        const own = without(schema, "anyOf", "oneOf", "allOf");
        schema = { ...some[0], ...own, nullable: some.length < choice.length };
        continue;
      }
    }
    if (Array.isArray(schema.type)) {
      const types = schema.type.filter((one) => one !== "null");
      const type = types.length === 1 ? types[0] : void 0;
      return { ...schema, type, nullable: types.length < schema.type.length };
    }
    return schema;
  }
  return schema || {};
}
var without = (schema, ...keys) => Object.fromEntries(Object.entries(schema).filter(([key]) => !keys.includes(key)));
function lookUp(root, path) {
  let found = root;
  for (const part of path.slice(2).split("/")) {
    found = found && Object.hasOwn(found, part) ? found[part] : void 0;
  }
  return found;
}
function changed(before, after) {
  const was = before;
  const differs = ([key, value]) => JSON.stringify(value) !== JSON.stringify(was?.[key]);
  return Object.fromEntries(Object.entries(after || {}).filter(differs));
}

// timeline/forms.ts
function form(schema, value, root = schema, label = "", depth = 0) {
  const found = resolve(schema, root);
  const help = typeof found.description === "string" ? found.description : null;
  const field = {
    schema: found,
    id: fresh("f"),
    title: label || found.title || "Answer",
    help: help === null ? null : h("span", { class: "quiet", text: ` ${help}` }),
    given: value === void 0 ? found.default : value
  };
  if (Array.isArray(found.enum) || "const" in found) return choiceField(field);
  if (found.type === "boolean") return checkField(field);
  if (found.type === "integer" || found.type === "number") return numberField(field);
  if (found.type === "string") return textField(field);
  if (found.type === "object" && found.properties && depth < 4)
    return objectField(field, found.properties, root, depth);
  return jsonField(field);
}
function labelled({ id, title, help }, input, read) {
  return { el: h("div", { class: "field" }, h("label", { for: id }, title, help), input), read };
}
function choiceField(field) {
  const { schema, id, given } = field;
  const options = schema.enum || [schema.const];
  const select = h("select", { id });
  if (schema.nullable) select.append(h("option", { value: "-1", text: "(nothing)" }));
  options.forEach((option, at2) => {
    const text = typeof option === "string" ? option : JSON.stringify(option);
    select.append(h("option", { value: String(at2), text }));
  });
  const at = options.findIndex((option) => JSON.stringify(option) === JSON.stringify(given));
  if (at >= 0) select.value = String(at);
  return labelled(field, select, () => select.value === "-1" ? null : options[Number(select.value)]);
}
function checkField({ id, title, help, given }) {
  const input = h("input", { id, type: "checkbox", checked: Boolean(given) });
  return {
    el: h("div", { class: "field box" }, input, h("label", { for: id }, title, help)),
    read: () => input.checked
  };
}
function numberField(field) {
  const { schema, id, title } = field;
  const { minimum, maximum } = schema;
  const given = field.given;
  const whole = schema.type === "integer";
  const input = h("input", { id, type: "number", step: whole ? "1" : "any", min: minimum, max: maximum });
  if (given !== void 0 && given !== null) input.value = String(given);
  return labelled(field, input, () => {
    const optional = schema.nullable || schema.default !== void 0;
    if (input.value === "" && optional) return given === void 0 ? null : schema.default;
    const value = Number(input.value);
    if (input.value === "" || !Number.isFinite(value)) throw new Error(`${title}: a number is needed`);
    if (whole && !Number.isInteger(value)) throw new Error(`${title}: a whole number is needed`);
    if (value < minimum || value > maximum) throw new Error(`${title}: from ${minimum ?? "…"} to ${maximum ?? "…"}`);
    return value;
  });
}
function textField(field) {
  const { schema, id, title, given } = field;
  const long = typeof given === "string" && (given.length > 60 || given.includes("\n"));
  const secret = schema.format === "password" || schema.writeOnly;
  const type = schema.format === "date" ? "date" : secret ? "password" : "text";
  const input = long ? h("textarea", { id, rows: "4" }) : h("input", { id, type, autocomplete: "off" });
  if (typeof given === "string") input.value = given;
  return labelled(field, input, () => {
    const { value } = input;
    const { minLength, maxLength } = schema;
    if (schema.nullable && value === "" && given === null) return null;
    if (minLength && value.length < minLength) throw new Error(`${title}: at least ${minLength} characters`);
    if (maxLength && value.length > maxLength) throw new Error(`${title}: at most ${maxLength} characters`);
    return value;
  });
}
function objectField(field, properties, root, depth) {
  const { schema, title } = field;
  const given = field.given && typeof field.given === "object" ? field.given : null;
  const parts = Object.entries(properties).map(([name, one]) => {
    const required = (schema.required || []).includes(name);
    const value = given && Object.hasOwn(given, name) ? given[name] : void 0;
    return { name, required, ...form(one, value, root, `${name}${required ? "" : " (optional)"}`, depth + 1) };
  });
  const el = depth ? h("fieldset", {}, h("legend", { text: title })) : h("div", { class: "fields" });
  el.append(...parts.map((part) => part.el));
  const read = () => {
    const made = { ...given };
    for (const part of parts) {
      const value = part.read();
      const whole = { value, enumerable: true, writable: true, configurable: true };
      if (value !== void 0) Object.defineProperty(made, part.name, whole);
      else if (part.required) throw new Error(`${part.name} is needed`);
    }
    return made;
  };
  return { el, read };
}
function jsonField(field) {
  const area = h("textarea", { id: field.id, rows: "4", class: "code", spellcheck: "false" });
  if (field.given !== void 0) area.value = JSON.stringify(field.given, null, 2);
  return labelled(field, area, () => {
    if (area.value.trim() === "") return void 0;
    try {
      return JSON.parse(area.value);
    } catch (error) {
      throw new Error(`${field.title}: not JSON (${error.message})`);
    }
  });
}

// timeline/card.ts
var SLOW = 2e3;
function makeCard(wait, host) {
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
    })
  );
  card.append(question(wait, id), ...about(wait, host), buttons, more, says);
  const [only] = wait.actions;
  if (wait.actions.length === 1 && (only === "answer" || only === "signal")) {
    buttons.hidden = true;
    const active = host.root.activeElement;
    known[only][2]();
    active?.focus();
  }
  return card;
}
function question(wait, id) {
  const until = wait.until ? ` until ${new Date(wait.until * 1e3).toLocaleString()}` : "";
  return h("p", { id }, icon("‖ "), wait.prompt, until ? h("span", { class: "quiet", text: until }) : null);
}
function about(wait, host) {
  const made = [];
  const step = wait.step ? host.step(wait.step) : null;
  if (step) {
    const text = `${step.id} ${(step.call || step.name).slice(0, 120)}`;
    made.push(button(text, { class: "link code", onclick: () => host.open(step.n) }));
  }
  if (wait.kind === "approval" && wait.value !== void 0) {
    made.push(h("pre", { text: JSON.stringify(wait.value, null, 2), tabindex: "0" }));
  }
  return made;
}
function decider(wait, { source, run }, card, says) {
  return (action, value, message2) => {
    const elsewhere = () => copyable(inTerminal(wait, run(), action, message2));
    card.classList.add("sent");
    put(says, "Sent…");
    const slow = setTimeout(() => {
      says.replaceChildren("The kernel is busy and has not taken it yet. In a terminal: ", ...elsewhere());
    }, SLOW);
    const sent = source.ask ? source.ask({ type: "decide", key: wait.key, step: wait.step ?? null, action, value, message: message2 || "" }) : Promise.reject(new Error("this front end cannot decide"));
    void sent.then((answer) => put(says, answer?.says || "Recorded: the run goes on.")).catch((error) => {
      card.classList.remove("sent");
      says.replaceChildren(h("span", { class: "error", text: reason(error) }), " ", ...elsewhere());
    }).finally(() => clearTimeout(slow));
  };
}
function actions(wait, decide, reveal2, cancel) {
  const asked = () => form(wait.schema || {}, wait.value);
  const line = (title) => form({ type: "string", title }, "");
  const edited = (value) => decide("edit", changed(wait.value, value));
  const because = (action) => (why) => decide(action, void 0, why);
  const withValue = (action) => (value) => decide(action, value);
  const supplied = () => form({ title: "Result, as JSON" }, void 0);
  return {
    approve: ["Approve", "primary", () => decide("approve")],
    reject: ["Reject…", "", () => reveal2("Reject", line("Why (the agent is told)"), because("reject"))],
    edit: ["Edit arguments…", "", () => reveal2("Approve with these", asked(), edited)],
    answer: ["Answer", "primary", () => reveal2("Answer", asked(), withValue("answer"))],
    signal: ["Send", "primary", () => reveal2("Send", asked(), withValue("signal"))],
    retry: ["No: make the call", "", () => decide("retry")],
    supply: ["Yes: supply its result…", "", () => reveal2("Supply", supplied(), withValue("supply"))],
    fail: ["Go on with an error…", "", () => reveal2("Fail", line("What went wrong"), because("fail"))],
    raise: ["Raise the budget…", "primary", () => reveal2("Raise", asked(), withValue("raise"))],
    cancel: ["Cancel the run", "", cancel]
  };
}
function reveal(into, title, fields, done) {
  const wrong = h("p", { class: "error", role: "alert" });
  const onclick = () => {
    try {
      put(wrong, "");
      done(fields.read());
    } catch (error) {
      put(wrong, error.message);
    }
  };
  into.replaceChildren(fields.el, wrong, button(title, { class: "primary", onclick }));
  into.querySelector("input, textarea, select")?.focus();
}
function inTerminal(wait, run, action, message2) {
  const verb = action === "edit" ? "approve" : action;
  const valued = verb === "supply" || verb === "answer" || verb === "signal";
  const quoted = message2 ? ` '${message2.replaceAll("'", `'\\''`)}'` : valued ? " VALUE" : "";
  return `jupyter durable ${verb} ${short(run)} ${wait.step || wait.key}${quoted}`;
}

// timeline/decisions.ts
var Decisions = class {
  constructor(host) {
    this.host = host;
  }
  host;
  el = h("div", { class: "waits" });
  cards = /* @__PURE__ */ new Map();
  draw(waits) {
    const keys = new Set(waits.map((wait) => wait.key));
    for (const [key, card] of this.cards) {
      if (keys.has(key)) continue;
      card.remove();
      this.cards.delete(key);
    }
    for (const wait of waits) {
      if (this.cards.has(wait.key)) continue;
      const card = makeCard(wait, this.host);
      this.cards.set(wait.key, card);
      this.el.append(card);
    }
    this.el.hidden = !waits.length;
  }
};

// timeline/markdown.ts
var INLINE = /(`[^`\n]+`)|(\*\*[^*\n]+\*\*)|(\*[^*\s][^*\n]*\*)|\[([^\]\n]+)\]\(([^)\s]+)\)/g;
var FENCE = /^\s*```/;
function markdown(text) {
  const root = h("div", { class: "md" });
  const lines = text.split("\n");
  let list = null;
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at];
    if (FENCE.test(line)) {
      const code = [];
      while (++at < lines.length && !FENCE.test(lines[at])) code.push(lines[at]);
      root.append(h("pre", { text: code.join("\n"), tabindex: "0" }));
      list = null;
      continue;
    }
    const head = /^(#{1,6})\s+(.*)/.exec(line);
    const item = /^\s*(?:([-*+])|(\d+)[.)])\s+(.*)/.exec(line);
    if (head) {
      root.append(inline(h("p", { class: `h h${head[1].length}` }), head[2]));
      list = null;
    } else if (item) {
      const tag = item[1] ? "ul" : "ol";
      if (list?.localName !== tag) root.append(list = h(tag));
      list.append(inline(h("li"), item[3]));
    } else if (line.trim()) {
      const quote = /^>\s?(.*)/.exec(line);
      root.append(inline(h(quote ? "blockquote" : "p"), quote ? quote[1] : line));
      list = null;
    } else list = null;
  }
  return root;
}
function inline(into, text) {
  let last = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, code, strong, em, label, url] = found;
    into.append(text.slice(last, found.index));
    last = found.index + whole.length;
    if (code) into.append(h("code", { text: code.slice(1, -1) }));
    else if (strong) into.append(h("strong", { text: strong.slice(2, -2) }));
    else if (em) into.append(h("em", { text: em.slice(1, -1) }));
    else if (url && /^https?:\/\//i.test(url)) {
      into.append(h("a", { href: url, target: "_blank", rel: "noopener noreferrer", text: label }));
      into.append(h("span", { class: "quiet", text: ` (${url})` }));
    } else into.append(whole);
  }
  into.append(text.slice(last));
  return into;
}

// timeline/values.ts
var SLOW2 = 1500;
function sections(row, source) {
  const model = row.kind === "model";
  const all = [
    model ? ["messages", "Conversation", true] : ["arguments", "Arguments", true]
  ];
  if (model) all.push(["arguments", "Request", false]);
  if (row.status === "completed") all.push(["result", "Result", !model]);
  if (row.status === "failed") all.push(["error", "Error", true]);
  if (row.output) all.push(["output", "Output", false]);
  if (row.log && row.log.length >= 5) all.push(["log", "Log", false]);
  return all.map(([what, title, open]) => section(row, source, what, title, open));
}
function section(row, source, what, title, open) {
  const body = h("div", { class: "body" });
  const type = h("span", { class: "quiet" });
  const el = h("details", {}, h("summary", {}, `${title} `, type), body);
  const load = (offset) => {
    if (!source.ask) {
      const line = what === "arguments" ? row.call : row.says;
      body.replaceChildren(h("pre", { text: line || "Not kept in the notebook.", tabindex: "0" }));
      return;
    }
    const busy = "The kernel is busy with a cell: this comes when it is free.";
    const slow = setTimeout(() => body.append(h("p", { class: "quiet slow", text: busy })), SLOW2);
    void source.ask({ type: "value", step: row.id, what, offset }).then((answer) => {
      const detail = answer;
      body.querySelector(".more")?.remove();
      put(type, detail.form === "none" ? "" : `${detail.type}`);
      body.append(...drawValue(detail, offset > 0));
      const { next } = detail;
      if (next !== void 0) {
        const unit = detail.form === "text" ? "characters" : "rows";
        const text = `${figure(detail.size - next)} more ${unit}`;
        body.append(button(text, { class: "more", onclick: () => load(next) }));
      }
    }).catch((error) => body.append(h("p", { class: "error", text: reason(error) }))).finally(() => {
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
function drawValue(detail, more) {
  if (detail.form === "image" && /^image\/(png|jpeg|gif|webp)$/.test(detail.mime)) {
    const src = `data:${detail.mime};base64,${detail.data}`;
    return [h("img", { src, alt: `Picture of ${detail.type}` })];
  }
  if (detail.form === "table") return [table(detail)];
  if (detail.form === "messages") return detail.rows.map(([role, text]) => message(role, text));
  if (detail.form === "text") {
    const source = h("pre", { text: detail.text, tabindex: "0" });
    return detail.markdown && !more ? formatted(detail.text, source) : [source];
  }
  return [h("p", { class: "quiet", text: detail.type || "nothing" })];
}
function table({ rows, columns }) {
  const cells = (row) => row.map((text) => h("td", { text }));
  const body = h("tbody", {}, ...rows.map((row) => h("tr", {}, ...cells(row))));
  const names = (columns || []).map((text) => h("th", { scope: "col", text }));
  const head = columns ? h("thead", {}, h("tr", {}, ...names)) : null;
  const props = { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" };
  return h("div", props, h("table", {}, head, body));
}
var message = (role, text) => h("div", { class: `message ${/^[a-z]+$/.test(role) ? role : ""}` }, h("b", { text: role }), markdown(text));
function formatted(text, source) {
  const shown = markdown(text);
  source.hidden = true;
  const onclick = () => {
    source.hidden = !source.hidden;
    shown.hidden = !source.hidden;
    swap.textContent = source.hidden ? "Source" : "Formatted";
  };
  const swap = button("Source", { class: "link", onclick });
  return [swap, shown, source];
}

// timeline/details.ts
var Details = class {
  // what it was when it was drawn
  constructor(host) {
    this.host = host;
  }
  host;
  el = h("section", { class: "details", "aria-label": "Step", hidden: true });
  tail = null;
  // what the step says while it goes on
  drawn = "";
  get there() {
    return !this.el.hidden;
  }
  open(n, focus = false) {
    const { source, model, viewpoint } = this.host;
    const row = model.rows[n];
    if (!row) return;
    viewpoint.choose(n);
    const close = button("✕", { class: "plain", "aria-label": "Close step", onclick: () => this.close() });
    this.tail = h("pre", { class: "stream", tabindex: "0", "aria-label": "Live output" });
    const facts = h(
      "dl",
      {},
      ...factsOf(row, model.lanes.get(row.lane)).map(
        ([name, value]) => h("div", {}, h("dt", { text: name }), h("dd", { text: value }))
      )
    );
    this.el.replaceChildren(this.head(row, close), facts, this.tail, ...sections(row, source));
    this.el.hidden = false;
    this.drawn = stage(row);
    this.refresh(row);
    this.host.chosen();
    if (focus) close.focus();
  }
  close() {
    this.el.hidden = true;
    this.el.replaceChildren();
    this.host.viewpoint.selected = -1;
    this.host.left();
    this.host.chosen();
  }
  /** The row of the step came again. */
  refresh(row) {
    if (this.el.hidden || !this.tail) return;
    if (stage(row) !== this.drawn && row.status !== "running") {
      queueMicrotask(() => this.open(row.n));
      return;
    }
    const lines = (row.log || []).map((line) => `${new Date(line.at * 1e3).toLocaleTimeString()}  ${line.text}`);
    if (row.text) lines.push(row.text);
    put(this.tail, lines.join("\n"));
    this.tail.hidden = !lines.length;
  }
  head(row, close) {
    const [sign, word] = stateOf(row.status);
    const { command } = this.host;
    const fork = button("Fork from here", { onclick: () => command("fork", row.id) });
    const then = "The namespace as it was then";
    const goto = button("Go to", { title: then, onclick: () => command("goto", row.id) });
    return h(
      "div",
      { class: "head" },
      h("span", { class: `badge ${row.status}` }, icon(sign + TEXT), ` ${word}`),
      h("strong", { text: `${row.id} ${row.name}` }),
      row.old ? h("span", { class: "quiet", text: "left behind by a retry, an edit or a fork" }) : null,
      h("span", { class: "buttons" }, fork, goto, close)
    );
  }
};
var stage = (row) => `${row.status} ${row.attempts || 1}`;
function factsOf(row, lane) {
  const { replays, tokens } = row;
  const all = [
    ["kind", row.kind],
    ["scope", lane?.name || ""],
    ["began", new Date(row.at * 1e3).toLocaleString()],
    ["took", row.took !== void 0 ? span(row.took) : ""],
    ["attempts", (row.attempts || 1) > 1 ? String(row.attempts) : ""],
    ["replayed", replays ? `${replays} time${replays > 1 ? "s" : ""}` : ""],
    ["effect", row.effect || ""],
    ["outcome given by", row.given || ""],
    ["model", row.model || ""],
    ["tokens", tokens ? used(tokens) : ""],
    ["price", row.cost !== void 0 ? money(row.cost) : tokens ? "unknown" : ""],
    ["saved by replay", row.saved ? money(row.saved) : ""]
  ];
  return all.filter(([, value]) => value);
}
function used([given, made, cached]) {
  return `${figure(given)} in${cached ? ` (${figure(cached)} cached)` : ""}, ${figure(made)} out`;
}

// timeline/filter.ts
var Filter = class {
  search = "";
  kind = "";
  states = /* @__PURE__ */ new Set();
  /** The numbers of the rows that match; null: all. */
  shown = null;
  /** Steps of a state, too, or no more. */
  toggle(state) {
    if (!this.states.delete(state)) this.states.add(state);
  }
  /** Those that match, where others are to be seen beside them; null: all are alike. */
  get lit() {
    return this.shown && (this.search || this.kind || this.states.size) ? new Set(this.shown) : null;
  }
  /** Find them anew; says how many they are. */
  match({ rows, leftOut, run }) {
    const words = this.search.split(/\s+/).filter(Boolean);
    const filtered = words.length || this.kind || this.states.size;
    if (!filtered && !leftOut) {
      this.shown = null;
      return "";
    }
    const found = [];
    let there = 0;
    for (const row of rows) {
      if (!row) continue;
      there += 1;
      if (this.matches(row, words)) found.push(row.n);
    }
    this.shown = found;
    const steps = run?.steps ?? 0;
    const of = `${figure(found.length)} of ${figure(steps)}`;
    if (filtered) return of;
    return steps > there ? `the last ${of}` : "";
  }
  matches(row, words) {
    if (this.kind && row.kind !== this.kind) return false;
    if (this.states.size && (!this.states.has(row.status) || row.old)) return false;
    if (!words.length) return true;
    const told2 = `${row.call || ""} ${row.says || ""} ${row.model || ""}`;
    const text = `${row.id} ${row.name} ${row.kind} ${told2}`.toLowerCase();
    return words.every((word) => text.includes(word));
  }
};

// timeline/frames.ts
var every = (is) => ({ head: is, list: is, lanes: is, waits: is, filter: is });
var Frames = class {
  constructor(draw) {
    this.draw = draw;
  }
  draw;
  frame = 0;
  dirty = every(true);
  schedule = (...parts) => {
    this.touch(...parts);
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  };
  /** Parts are to be drawn in the frame that comes anyway, or that is being drawn. */
  touch(...parts) {
    for (const part of parts) this.dirty[part] = true;
  }
  /** A frame has come: what changes from now on is for the next one. */
  begin() {
    this.frame = 0;
  }
  /** What is to be drawn, and then no longer is. */
  take() {
    const { dirty } = this;
    this.dirty = every(false);
    return dirty;
  }
  end() {
    cancelAnimationFrame(this.frame);
  }
};

// timeline/sizes.ts
var ROW = 26;
var LANE = 34;
var LABEL = 168;
var LABEL_NARROW = 88;
var NARROW = 620;
var TALL = 420;

// timeline/grid.ts
var Grid = class {
  el;
  fill = h("div", { class: "fill", role: "presentation" });
  pool = h("div", { class: "pool", role: "rowgroup" });
  made = [];
  lines = null;
  /** select: a key has led to a step. */
  constructor(select) {
    const onkeydown = (event) => {
      if (event.target !== this.el) return;
      const step = this.lines?.key(event.key);
      if (step === void 0) return;
      event.preventDefault();
      if (step >= 0) select(step);
    };
    const props = { class: "grid", role: "grid", tabindex: "0", onkeydown };
    this.el = h("div", props, this.fill, this.pool);
  }
  /** scrolled: somebody has; whether to the end. */
  watch(scrolled) {
    const { el } = this;
    const onscroll = () => scrolled(el.scrollTop + el.clientHeight >= el.scrollHeight - ROW);
    el.addEventListener("scroll", onscroll, { passive: true });
  }
  /** Other lines than before. */
  show(lines) {
    this.lines = lines;
    this.pool.replaceChildren();
    this.made = [];
    this.el.setAttribute("aria-label", lines.label);
  }
  draw(anew) {
    const { lines, el } = this;
    if (!lines) return;
    const { height, length } = lines;
    this.resize(length, height);
    if (lines.atEnd) el.scrollTop = length * height;
    const first = Math.max(0, Math.floor(el.scrollTop / height) - 2);
    const sight = Math.min(el.clientHeight || TALL, TALL);
    const last = Math.min(length, Math.ceil((el.scrollTop + sight) / height) + 2);
    while (this.made.length < last - first) {
      const line = lines.make();
      this.made.push(line);
      this.pool.append(line);
    }
    lines.begin();
    this.made.forEach((line, at) => {
      const place = first + at;
      line.hidden = place >= last;
      if (place >= last) return;
      line.style.transform = `translateY(${place * height}px)`;
      line.setAttribute("aria-rowindex", String(place + 1));
      lines.fill(line, place, anew);
    });
    lines.end();
  }
  /** Scroll as far as it takes to see a step. */
  reveal(n) {
    const { lines, el } = this;
    if (!lines) return;
    const top = lines.placeOf(n) * lines.height;
    if (top < el.scrollTop) el.scrollTop = top;
    else if (top + lines.height > el.scrollTop + el.clientHeight) {
      el.scrollTop = top + lines.height - el.clientHeight + 2;
    }
  }
  resize(length, height) {
    const whole = `${length * height}px`;
    if (this.fill.style.height !== whole) this.fill.style.height = whole;
    const tall = `${Math.min(Math.max(length, 1) * height + 2, TALL)}px`;
    if (this.el.style.height !== tall) this.el.style.height = tall;
    this.el.hidden = !length;
    this.el.setAttribute("aria-rowcount", String(length));
  }
};

// timeline/meter.ts
var Meter = class {
  /** toggle: a chip was clicked. */
  constructor(toggle) {
    this.toggle = toggle;
  }
  toggle;
  chips = h("div", { class: "chips", role: "group", "aria-label": "Filter by state" });
  bar = h("div", { class: "meter", "aria-hidden": "true" });
  chipOf = /* @__PURE__ */ new Map();
  /** chosen: the states that steps are filtered by. */
  draw(counts, chosen) {
    if (!this.bar.childNodes.length) this.bar.append(...METER.map((state) => h("span", { class: state })));
    const total = ORDER.reduce((sum, state) => sum + counts[state], 0) || 1;
    for (const state of ORDER) {
      const chip = this.chip(state);
      put(chip.figure, ` ${figure(counts[state])}`);
      chip.el.hidden = !counts[state] && !chosen.has(state);
      chip.el.setAttribute("aria-pressed", String(chosen.has(state)));
      const part = this.bar.children[METER.indexOf(state)];
      part.hidden = !counts[state];
      part.style.flexGrow = String(counts[state] / total);
    }
  }
  chip(state) {
    const known = this.chipOf.get(state);
    if (known) return known;
    const [sign, word] = stateOf(state);
    const el = button("", { class: `chip ${state}`, "aria-pressed": "false", onclick: () => this.toggle(state) });
    const made = { el, figure: h("b") };
    el.append(icon(sign + TEXT), made.figure, ` ${word}`);
    this.chipOf.set(state, made);
    this.chips.append(el);
    return made;
  }
};

// timeline/relations.ts
var Relations = class {
  /** open: show another run; false: that cannot be done here. */
  constructor(open) {
    this.open = open;
  }
  open;
  el = h("div", { class: "relations" });
  drawn = "";
  draw({ parent, forks, error, log, line }) {
    const key = JSON.stringify([parent, forks, error, log, line]);
    if (key === this.drawn) return;
    this.drawn = key;
    const at = ({ step }) => step ? `at step ${step} ` : "";
    this.el.replaceChildren(
      ...error ? [h("p", { class: "error", text: `✗ ${error}` })] : [],
      ...parent ? [this.link(parent, `forked ${at(parent)}from`)] : [],
      ...(forks || []).slice(0, 5).map((one) => this.link(one, `${at(one)}continued as`)),
      ...(log || []).slice(-2).map((one) => h("span", { class: "quiet", text: one.text }))
    );
    this.el.hidden = !this.el.childNodes.length;
  }
  link(one, says) {
    const onclick = (event) => this.open(one.id) || copy(one.id, event.currentTarget);
    const run = button(`${one.name} ${short(one.id)}`, { class: "link", onclick });
    return h("span", {}, `↱ ${says} `, run, ` (${stateOf(one.status)[1]})`);
  }
};

// timeline/title.ts
var Title = class {
  resume;
  cancel;
  fork;
  el;
  badge = h("span", { class: "badge" });
  name = h("strong", { class: "name" });
  facts = h("span", { class: "facts" });
  constructor(host) {
    this.resume = button("Resume", { class: "primary", onclick: () => host.resume() });
    this.cancel = button("Cancel", { onclick: () => host.cancel() });
    this.fork = button("Fork", { onclick: () => host.fork() });
    const buttons = h("span", { class: "buttons" }, this.resume, this.cancel, this.fork);
    this.el = h("div", { class: "title" }, this.badge, this.name, this.facts, buttons);
  }
  /** asks: whether something can be asked of the run at all. */
  draw(run, now, asks) {
    const [sign, word] = stateOf(run.status);
    this.badge.className = `badge ${run.status}`;
    if (this.badge.textContent !== `${sign}${TEXT} ${word}`) this.badge.replaceChildren(icon(sign + TEXT), ` ${word}`);
    put(this.name, run.name);
    const where = run.notebook ? `
${run.notebook}` : "";
    this.name.title = `run ${run.id}${where}${run.owner ? `
${run.owner}` : ""}`;
    put(this.facts, factsOf2(run, now).join(" · "));
    this.resume.hidden = isFinal(run) || Boolean(run.owner);
    this.cancel.hidden = isFinal(run) || !asks;
  }
};
var isFinal = (run) => run.status === "completed" || run.status === "cancelled";
function factsOf2(run, now) {
  const worked = run.sessions.reduce((sum, [from, to]) => sum + Math.max(0, (to ?? now) - from), 0);
  const facts = [`${figure(run.steps)} step${run.steps === 1 ? "" : "s"}`, span(worked)];
  if (run.calls) {
    facts.push(`${count(run.tokens[0])} tokens in, ${count(run.tokens[1])} out`);
    facts.push(run.cost || !run.unpriced ? money(run.cost) : "price unknown");
  }
  if (run.saved) facts.push(`${money(run.saved)} saved by replay`);
  else if (run.counts.replayed) facts.push(`${figure(run.counts.replayed)} replayed`);
  if (run.progress !== void 0) facts.push(`${Math.round(run.progress * 100)} %`);
  return facts;
}

// timeline/header.ts
var Header = class {
  el;
  title;
  chips;
  meter;
  relations;
  /** note: what is said about what the run is told. */
  constructor(host, note) {
    this.title = new Title(host);
    this.meter = new Meter((state) => host.toggle(state));
    this.relations = new Relations((run) => host.open(run));
    this.chips = this.meter.chips;
    this.el = h("header", {}, this.title.el, this.meter.bar, this.relations.el, note);
  }
  /** asks: whether something can be asked of the run at all; chosen: the states that steps are filtered by. */
  draw(run, now, asks, chosen) {
    this.title.draw(run, now, asks);
    this.meter.draw(run.counts, chosen);
    this.relations.draw(run);
  }
};

// timeline/scale.ts
var GAP = 0.04;
var Scale = class {
  gaps;
  parts = [];
  constructor(sessions, now) {
    const given = sessions.length ? sessions : [[now, now]];
    const whole = given.reduce((sum, [a, b]) => sum + Math.max((b ?? now) - a, 1e-3), 0);
    const room = 1 - Math.min(GAP * (given.length - 1), 0.5);
    const gap = given.length > 1 ? (1 - room) / (given.length - 1) : 0;
    let x = 0;
    for (const [from, end] of given) {
      const to = Math.max(end ?? now, from + 1e-3);
      const w = (to - from) / whole * room;
      this.parts.push({ from, to, x, w });
      x += w + gap;
    }
    this.gaps = this.parts.slice(1).map((part, at) => ({ x: part.x - gap / 2, seconds: part.from - this.parts[at].to }));
  }
  /** Where a time is on the line. */
  x(t) {
    const parts = this.parts;
    for (let at = parts.length - 1; at >= 0; at--) {
      const part = parts[at];
      if (t >= part.from || at === 0) {
        return part.x + Math.max(0, Math.min(1, (t - part.from) / (part.to - part.from))) * part.w;
      }
    }
    return 0;
  }
  /** Seconds of work from the beginning to there. */
  worked(x) {
    let sum = 0;
    for (const part of this.parts) {
      if (x < part.x + part.w) return sum + Math.max(0, x - part.x) / part.w * (part.to - part.from);
      sum += part.to - part.from;
    }
    return sum;
  }
  /** Where so many seconds of work are over. */
  at(seconds) {
    for (const part of this.parts) {
      const length = part.to - part.from;
      if (seconds <= length) return part.x + seconds / length * part.w;
      seconds -= length;
    }
    return 1;
  }
};
var WHOLE = [0, 1];
function zoomed([a, b], by, at) {
  const middle = a + (b - a) * at;
  const size = Math.min(1, Math.max((b - a) * by, 1e-5));
  const from = Math.max(0, Math.min(1 - size, middle - size * at));
  return [from, from + size];
}
function panned([a, b], by) {
  const from = Math.max(0, Math.min(1 - (b - a), a + by * (b - a)));
  return [from, from + b - a];
}
function tickFor(seconds, most) {
  return TICKS.find((tick) => seconds / tick <= most) || Math.ceil(seconds / most / 86400) * 86400;
}
var TICKS = [
  1e-3,
  2e-3,
  5e-3,
  0.01,
  0.02,
  0.05,
  0.1,
  0.2,
  0.5,
  1,
  2,
  5,
  10,
  15,
  30,
  60,
  120,
  300,
  600,
  1800,
  3600,
  7200,
  21600,
  86400
];

// timeline/axis.ts
var AXIS = 18;
function drawAxis(pen, colours, track, [a, b]) {
  const { scale, width } = track;
  const taken = [];
  const free = (from2, to2) => !taken.some(([a2, b2]) => from2 < b2 && to2 > a2);
  pen.font = colours.font;
  pen.textBaseline = "middle";
  pen.fillStyle = colours.waiting;
  for (const gap of scale.gaps) {
    const says = `⋯ ${span(gap.seconds)} later`;
    const long = pen.measureText(says).width;
    const x = Math.min(track.x(gap.x) - long / 2, width - long);
    if (x + long < 0 || gap.seconds < 0.5 || !free(x, x + long)) continue;
    pen.fillText(says, Math.max(0, x), 8);
    taken.push([Math.max(0, x) - 8, Math.max(0, x) + long + 8]);
  }
  pen.fillStyle = colours.quiet;
  const from = scale.worked(a);
  const to = scale.worked(b);
  const tick = tickFor(Math.max(to - from, 1e-6), Math.max(2, width / 90));
  for (let t = Math.ceil(from / tick) * tick; t <= to + 1e-9; t += tick) {
    const x = track.x(scale.at(t));
    pen.fillRect(Math.round(x), 13, 1, 5);
    const says = t ? span(t).replace(".0 s", " s") : "0";
    const long = pen.measureText(says).width;
    if (x + 3 + long > width || !free(x, x + 3 + long)) continue;
    pen.fillText(says, x + 3, 8);
  }
}

// timeline/bars.ts
var HIGH = LANE - 12;
var URGENT = 4;
var UNLIT = ORDER.length;
function drawSteps(easel, steps, rows) {
  const { pen, colours, track, lit, selected } = easel;
  const { width } = track;
  pen.font = colours.font;
  pen.textBaseline = "middle";
  drawGaps(easel);
  const columns = /* @__PURE__ */ new Map();
  const wide = [];
  for (const n of steps) {
    const row = rows[n];
    if (!row) continue;
    const [x, end] = track.bar(row);
    if (end < 0 || x > width) continue;
    if (end - x < 4 && n !== selected) {
      const at = Math.floor(x / 2);
      let shares = columns.get(at);
      if (!shares) columns.set(at, shares = [0, 0, 0, 0, 0, 0, 0]);
      shares[!lit || lit.has(n) ? ORDER.indexOf(row.status) : UNLIT]++;
    } else wide.push({ row, x, end });
  }
  for (const [at, shares] of columns) drawColumn(easel, at, shares);
  for (const { row, x, end } of wide) {
    const from = Math.max(x, -4);
    drawBar(easel, row, from, Math.min(Math.max(end - from, 3), width + 8));
  }
}
function drawGaps({ pen, colours, track }) {
  pen.strokeStyle = colours.line;
  for (const gap of track.scale.gaps) {
    const x = Math.round(track.x(gap.x)) + 0.5;
    if (x < 0 || x > track.width) continue;
    pen.setLineDash([2, 3]);
    pen.beginPath();
    pen.moveTo(x, 0);
    pen.lineTo(x, LANE);
    pen.stroke();
    pen.setLineDash([]);
  }
}
function drawColumn({ pen, colours }, at, shares) {
  const sum = shares.reduce((a, b) => a + b, 0);
  let y = 3;
  shares.forEach((share, state) => {
    if (!share) return;
    const tall = state < URGENT ? Math.max(3, share / sum * HIGH) : HIGH + 3 - y;
    pen.fillStyle = colours[ORDER[state] ?? "line"];
    pen.fillRect(at * 2, y, sum > 1 ? 2 : 1.5, Math.min(tall, HIGH + 3 - y));
    y += tall;
  });
}
function drawBar({ pen, colours, lit, selected }, row, x, w) {
  const seen = !lit || lit.has(row.n);
  const chosen = row.n === selected;
  const tint = colours[row.status] || colours.quiet;
  const hollow = Boolean(row.taken || row.old || row.status === "cancelled");
  pen.save();
  pen.globalAlpha = seen ? row.old ? 0.55 : 1 : 0.15;
  pen.beginPath();
  pen.roundRect(x + 0.5, 3.5, Math.max(w - 1, 2), HIGH - 1, 3);
  pen.fillStyle = pen.strokeStyle = tint;
  if (!hollow) pen.fill();
  pen.lineWidth = chosen ? 2 : 1;
  if (chosen) pen.strokeStyle = colours.fg;
  pen.stroke();
  pen.clip();
  if (row.status === "in_doubt" || row.status === "waiting") {
    drawStripes(pen, hollow ? tint : colours.bg, x, w);
    pen.globalAlpha = seen ? 1 : 0.15;
  }
  if (row.progress !== void 0) {
    pen.fillStyle = colours.bg;
    pen.globalAlpha *= 0.35;
    pen.fillRect(x + w * row.progress, 3, w, HIGH);
    pen.globalAlpha = seen ? 1 : 0.15;
  }
  if (w > 22) {
    pen.fillStyle = hollow ? colours.fg : colours.on;
    pen.fillText(fitting(pen, row, w - (Math.max(x, 0) - x) - 10), Math.max(x, 0) + 6, 3 + HIGH / 2);
  }
  pen.restore();
}
function drawStripes(pen, colour, x, w) {
  pen.strokeStyle = colour;
  pen.globalAlpha *= 0.45;
  pen.lineWidth = 3;
  for (let at = x - HIGH; at < x + w; at += 9) {
    pen.beginPath();
    pen.moveTo(at, HIGH + 4);
    pen.lineTo(at + HIGH, 2);
    pen.stroke();
  }
}
function fitting(pen, row, room) {
  const mark = row.status === "completed" ? row.replays ? "↻ " : "" : `${stateOf(row.status)[0]}${TEXT} `;
  const says = `${mark}${row.name}`;
  const whole = says + (row.took !== void 0 ? `  ${span(row.took)}` : "");
  const most = Math.floor(room / pen.measureText(whole).width * whole.length);
  if (most >= whole.length) return whole;
  if (most >= says.length) return says;
  return most > 3 ? `${says.slice(0, most - 1)}…` : "";
}

// timeline/lane.ts
function makeLane({ at, open }) {
  const line = h("div", { class: "lane", role: "row" });
  const canvas = h("canvas", { "aria-hidden": "true" });
  const label = h("span", { class: "label", role: "rowheader" }, h("span"), h("small"));
  line.append(label, h("span", { class: "track", role: "gridcell" }, canvas, h("span", { class: "away" })));
  const under = ({ clientX }) => {
    const { left, width } = canvas.getBoundingClientRect();
    return at(Number(line.dataset.lane), clientX - left, width);
  };
  canvas.addEventListener("click", (event) => {
    const row = under(event);
    if (row) open(row.n);
  });
  canvas.addEventListener("mousemove", (event) => {
    const row = under(event);
    canvas.style.cursor = row ? "pointer" : "";
    canvas.title = row ? `${row.id} ${(row.call || row.name).slice(0, 120)}
${saying(row)}` : "";
  });
  line.id = fresh("r");
  return line;
}
function fillLane(line, lane, steps, chosen) {
  line.dataset.lane = String(lane.id);
  const [label, track] = line.children;
  label.style.paddingLeft = `${6 + Math.min(lane.depth, 8) * 10}px`;
  put(label.children[0], `${lane.depth ? "↳ " : ""}${lane.name.split("/").pop()}`);
  put(label.children[1], figure(steps));
  label.title = lane.name + (lane.step ? ` (inside step ${lane.step})` : "");
  line.setAttribute("aria-selected", String(Boolean(chosen)));
  put(track.children[1], chosen ? `step ${chosen.id} ${chosen.name}, ${saying(chosen)}` : `${steps} steps`);
}
var trackOf = (line) => line.children[1].children[0];
var saying = ({ status, took }) => `${stateOf(status)[1]}${took !== void 0 ? `, ${span(took)}` : ""}`;

// timeline/moves.ts
var MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];
function laneMove(key, row, { rows, inLane, order }) {
  if (!MOVES.includes(key)) return void 0;
  const full = order.filter((id) => inLane.get(id)?.length);
  if (!full.length) return -1;
  if (!row) return inLane.get(full[0])[0];
  const steps = inLane.get(row.lane);
  const at = steps.indexOf(row.n);
  if (key === "ArrowLeft") return steps[Math.max(0, at - 1)];
  if (key === "ArrowRight") return steps[Math.min(steps.length - 1, at + 1)];
  if (key === "Home") return steps[0];
  if (key === "End") return steps[steps.length - 1];
  const next = full.indexOf(row.lane) + (key === "ArrowUp" ? -1 : 1);
  const there = inLane.get(full[Math.max(0, Math.min(full.length - 1, next))]);
  const apart = (n) => Math.abs(rows[n].at - row.at);
  return there.reduce((best, n) => apart(n) < apart(best) ? n : best, there[0]);
}

// timeline/track.ts
var Track = class {
  /** now: where steps end that go on; updated: where others do whose end nobody has told. */
  constructor(scale, zoom, width, now, updated) {
    this.scale = scale;
    this.zoom = zoom;
    this.width = width;
    this.now = now;
    this.updated = updated;
  }
  scale;
  zoom;
  width;
  now;
  updated;
  /** Pixels from the left, of a place on the scale. */
  x(place) {
    const [a, b] = this.zoom;
    return (place - a) / (b - a) * this.width;
  }
  /** From where to where a step is. */
  bar(row) {
    const end = row.end ?? (row.status === "running" || row.status === "waiting" ? this.now : this.updated);
    return [this.x(this.scale.x(row.at)), this.x(this.scale.x(Math.max(end, row.at)))];
  }
  /** The step at `x`, or the nearest one a few pixels away; -1: none. */
  hit(x, steps, rows) {
    let best = -1;
    let near = 5;
    for (const n of steps) {
      const row = rows[n];
      if (!row) continue;
      const [from, to] = this.bar(row);
      if (x >= from && x <= Math.max(to, from + 3)) return n;
      const off = Math.min(Math.abs(x - from), Math.abs(x - to));
      if (off < near) [best, near] = [n, off];
    }
    return best;
  }
};

// timeline/lanes.ts
var Lanes = class {
  constructor(host) {
    this.host = host;
    host.grid.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }
  host;
  label = "Lanes";
  height = LANE;
  atEnd = false;
  axis = h("canvas", { class: "axis", "aria-hidden": "true" });
  scale = new Scale([], 0);
  get length() {
    return this.host.model.order.length;
  }
  make() {
    const { model, open } = this.host;
    return makeLane({
      at: (id, x, width) => model.rows[this.track(width).hit(x, model.inLane.get(id) || [], model.rows)],
      open
    });
  }
  begin() {
    const { run, now } = this.host.model;
    if (run) this.scale = new Scale(run.sessions, run.owner ? now : run.updated);
  }
  fill(line, place, anew) {
    const { grid, model, viewpoint } = this.host;
    const id = model.order[place];
    const before = line.dataset.lane;
    const steps = model.inLane.get(id) || [];
    const chosen = model.rows[viewpoint.selected];
    const here = chosen?.lane === id ? chosen : null;
    fillLane(line, model.lanes.get(id), steps.length, here);
    if (here) grid.setAttribute("aria-activedescendant", line.id);
    if (anew || before !== String(id)) this.drawLane(trackOf(line), steps);
  }
  end() {
    const { width } = this;
    const pen = prepare(this.axis, width, AXIS);
    this.axis.style.marginLeft = `${this.left}px`;
    drawAxis(pen, this.host.palette.colours, this.track(width), this.host.viewpoint.zoom);
  }
  placeOf(n) {
    const { rows, order } = this.host.model;
    return order.indexOf(rows[n]?.lane);
  }
  key(key) {
    const { model, viewpoint, open } = this.host;
    const row = model.rows[viewpoint.selected];
    if (key === "Enter" || key === " ") {
      if (row) open(row.n, true);
    } else if (key === "+" || key === "=") this.zoomIn();
    else if (key === "-") this.zoomOut();
    else if (key === "0") this.setZoom(WHOLE);
    else return laneMove(key, row, model);
    return -1;
  }
  zoomIn() {
    this.setZoom(zoomed(this.host.viewpoint.zoom, 1 / 1.6, 0.5));
  }
  zoomOut() {
    this.setZoom(zoomed(this.host.viewpoint.zoom, 1.6, 0.5));
  }
  setZoom(zoom) {
    this.host.viewpoint.zoom = zoom;
    this.host.moved();
  }
  /** Where tracks begin. */
  get left() {
    return this.host.grid.clientWidth <= NARROW ? LABEL_NARROW : LABEL;
  }
  /** How wide tracks are. */
  get width() {
    return Math.max(40, this.host.grid.clientWidth - this.left - 8);
  }
  track(width) {
    const { model, viewpoint } = this.host;
    return new Track(this.scale, viewpoint.zoom, width, model.now, model.run?.updated ?? 0);
  }
  drawLane(canvas, steps) {
    const { model, viewpoint, filter, palette } = this.host;
    const { width } = this;
    const pen = prepare(canvas, width, LANE - 6);
    const { colours } = palette;
    const { selected } = viewpoint;
    drawSteps({ pen, colours, track: this.track(width), lit: filter.lit, selected }, steps, model.rows);
  }
  wheel(event) {
    const { grid, viewpoint } = this.host;
    if (viewpoint.mode !== "lanes" || !(event.ctrlKey || event.metaKey || event.shiftKey)) return;
    event.preventDefault();
    const box = grid.getBoundingClientRect();
    const room = Math.max(1, box.width - this.left - 8);
    const at = Math.max(0, Math.min(1, (event.clientX - box.left - this.left) / room));
    if (event.shiftKey) this.setZoom(panned(viewpoint.zoom, (event.deltaY || event.deltaX) / 600));
    else this.setZoom(zoomed(viewpoint.zoom, Math.exp(event.deltaY / 300), at));
  }
};

// timeline/row.ts
var cell = (name, ...children) => h("span", { class: name, role: "gridcell" }, ...children);
function makeRow(open) {
  const line = h(
    "div",
    { class: "row", role: "row", onclick: () => open(Number(line.dataset.n)) },
    cell("state", h("i", { "aria-hidden": "true" }), h("span", { class: "word" })),
    cell("id"),
    cell(
      "what",
      h("i", { class: "kind", "aria-hidden": "true" }),
      h("span", { class: "call" }),
      h("span", { class: "tags" })
    ),
    cell("says"),
    cell("spent"),
    cell("took")
  );
  line.id = fresh("r");
  return line;
}
function fillRow(line, row, now) {
  if (line.row === row && row?.status !== "running") return;
  line.row = row;
  const [state, id, what, says, spent, took] = line.children;
  if (!row) {
    line.className = "row missing";
    for (const cell2 of [id, says, spent, took]) put(cell2, "");
    put(what.children[1], "…");
    return;
  }
  line.className = `row ${row.status}${row.old ? " old" : ""}${row.taken ? " taken" : ""}${row.replays ? " replayed" : ""}`;
  const [sign, word] = row.replays && row.status === "completed" ? ["↻", "replayed"] : stateOf(row.status);
  put(state.children[0], sign + TEXT);
  put(state.children[1], word);
  put(id, row.id);
  put(what.children[0], signOf(row.kind));
  put(what.children[1], row.kind === "model" && row.model ? `${row.name} ${row.model}` : row.call || row.name);
  line.title = "";
  put(what.children[2], tags(row));
  put(says, row.says ?? tail(row));
  says.classList.toggle("tail", row.says === void 0);
  put(spent, spending(row));
  put(took, taking(row, now));
  line.style.setProperty("--done", row.progress !== void 0 ? `${row.progress * 100}%` : "0%");
}
function tags(row) {
  const all = [
    row.replays && row.status !== "completed" ? "↻ replayed" : "",
    row.taken ? "↱ parent's" : "",
    (row.attempts || 1) > 1 ? `attempt ${row.attempts}` : "",
    row.effect === "unsafe" ? "unsafe" : "",
    row.given ? "✎ given" : "",
    row.old ? "history" : ""
  ];
  return all.filter(Boolean).join("  ");
}
var tail = (row) => row.text ? row.text.slice(-200) : row.log?.at(-1)?.text ?? "";
function spending({ tokens, cost }) {
  if (!tokens) return "";
  return `${count(tokens[0] + tokens[1])} tok${cost !== void 0 ? ` ${money(cost)}` : ""}`;
}
function taking(row, now) {
  if (row.took !== void 0) return span(row.took);
  return row.status === "running" ? span(Math.max(0, now - row.at)) : "";
}

// timeline/list.ts
var List = class {
  // rows in sight that do not say yet what they said
  constructor(host) {
    this.host = host;
  }
  host;
  label = "Steps";
  height = ROW;
  bare = [];
  get length() {
    const { filter, model } = this.host;
    return filter.shown ? filter.shown.length : model.rows.length;
  }
  get atEnd() {
    const { viewpoint, model } = this.host;
    return viewpoint.follow && Boolean(model.run?.owner) && viewpoint.selected < 0;
  }
  make() {
    return makeRow((n) => this.host.open(n));
  }
  begin() {
    this.bare = [];
  }
  fill(line, place) {
    const { grid, model, viewpoint, filter } = this.host;
    const n = filter.shown ? filter.shown[place] : place;
    const row = model.rows[n];
    line.dataset.n = String(n);
    const chosen = n === viewpoint.selected;
    line.setAttribute("aria-selected", String(chosen));
    if (chosen) grid.setAttribute("aria-activedescendant", line.id);
    fillRow(line, row, model.now);
    if (row && row.call === void 0 && !model.asked.has(n)) this.bare.push(n);
  }
  end() {
    if (this.bare.length) this.host.texts(this.bare);
  }
  placeOf(n) {
    const { shown } = this.host.filter;
    return shown ? shown.indexOf(n) : n;
  }
  key(key) {
    const { grid, viewpoint, filter } = this.host;
    if (key === "Enter" || key === " ") {
      if (viewpoint.selected >= 0) this.host.open(viewpoint.selected, true);
      return -1;
    }
    const total = this.length;
    const at = viewpoint.selected < 0 ? -1 : this.placeOf(viewpoint.selected);
    const page = Math.max(1, Math.floor(grid.clientHeight / ROW) - 1);
    const moves = {
      ArrowDown: at + 1,
      ArrowUp: at < 0 ? total - 1 : at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: total - 1
    };
    const move = moves[key];
    if (move === void 0 || !total) return void 0;
    const to = Math.max(0, Math.min(total - 1, move));
    return filter.shown ? filter.shown[to] : to;
  }
};

// timeline/model.ts
var Model = class {
  /** told: a row came, or came again. */
  constructor(told2) {
    this.told = told2;
  }
  told;
  run = null;
  /** By number; there may be holes. */
  rows = [];
  waits = [];
  lanes = /* @__PURE__ */ new Map();
  /** The numbers of the rows in a lane. */
  inLane = /* @__PURE__ */ new Map();
  /** The lanes, parents before their children. */
  order = [];
  /** The kinds of steps there have been. */
  kinds = /* @__PURE__ */ new Set();
  /** Rows whose texts are under way. */
  asked = /* @__PURE__ */ new Set();
  feed = "";
  /** Up to where nothing is missing. */
  mark = 0;
  /** How many steps have no row here. */
  leftOut = 0;
  skew = 0;
  /** The time where the run is, in POSIX seconds: our own clock need not be right. */
  get now() {
    return Date.now() / 1e3 - this.skew;
  }
  take(page) {
    if (page.feed !== this.feed) this.forget(page.feed);
    const whole = !page.left_out || page.since > 0;
    const missed = page.since > this.mark || !whole;
    for (const lane of page.lanes) this.lanes.set(lane.id, lane);
    if (page.lanes.length) this.orderLanes();
    for (const row of page.rows) this.add(row);
    const waits = this.isNew(page.run) && this.takeRun(page);
    if (!missed) this.mark = Math.max(this.mark, page.mark);
    this.leftOut = Math.max(0, page.run.steps - this.rows.length);
    return { missed, waits };
  }
  /** A row that is new, or instead of the one with its number. */
  add(row) {
    const before = this.rows[row.n];
    if (!before) {
      this.place(row);
      this.kinds.add(row.kind);
    } else if (row.call === void 0 && before.call !== void 0) {
      row.call = before.call;
      if (row.says === void 0 && row.status === before.status) row.says = before.says;
    }
    this.asked.delete(row.n);
    this.rows[row.n] = row;
    this.told(row);
  }
  forget(feed) {
    this.rows = [];
    this.lanes.clear();
    this.inLane.clear();
    this.asked.clear();
    this.feed = feed;
    this.mark = 0;
  }
  isNew(run) {
    return run.updated >= (this.run?.updated ?? 0) || run.id !== this.run?.id;
  }
  /** Whether it waits for something else now. */
  takeRun(page) {
    this.run = page.run;
    this.skew = Date.now() / 1e3 - page.run.now;
    if (JSON.stringify(page.waits) === JSON.stringify(this.waits)) return false;
    this.waits = page.waits;
    return true;
  }
  place(row) {
    let lane = this.inLane.get(row.lane);
    if (!lane) this.inLane.set(row.lane, lane = []);
    lane.push(row.n);
    if (lane.length > 1 && lane[lane.length - 2] > row.n) lane.sort((a, b) => a - b);
  }
  orderLanes() {
    const below = /* @__PURE__ */ new Map();
    for (const lane of this.lanes.values()) {
      const parent = this.lanes.has(lane.parent) ? lane.parent : 0;
      below.set(
        parent,
        [...below.get(parent) || [], lane.id].sort((a, b) => a - b)
      );
    }
    this.order = [];
    const todo = [...below.get(0) || []].reverse();
    for (let id = todo.pop(); id !== void 0; id = todo.pop()) {
      this.order.push(id);
      todo.push(...[...below.get(id) || []].reverse());
    }
  }
};

// timeline/style/timeline.css
var CSS = `
/* The style sheet of the timeline's shadow root. What comes later wins. */

/* Whose colours, by the names all others use. */

:host {
  display: block;
}
.box-all {
  --fg: #1f2328;
  --quiet: #59636e;
  --bg: #ffffff;
  --bg2: #f3f4f6;
  --line: #d1d9e0;
  --accent: #0b65c2;
  --on: #ffffff;
  --completed: #23692a;
  --failed: #b91c1c;
  --running: #0b65c2;
  --waiting: #9a5b00;
  --in_doubt: #9a3b8f;
  --cancelled: #6b7280;
  --interrupted: #6b7280;
  --font: system-ui, sans-serif;
  --mono: ui-monospace, Menlo, Consolas, monospace;
  --size: 13px;
  font-family: var(--font);
  font-size: var(--size);
  line-height: 1.4;
  color: var(--fg);
  background: var(--bg);
  border: 1px solid var(--line);
  border-radius: 6px;
  overflow: hidden;
  max-width: 100%;
  container-type: inline-size;
  text-align: left;
}
.box-all.dark {
  --fg: #e6edf3;
  --quiet: #9aa4af;
  --bg: #14181d;
  --bg2: #20262d;
  --line: #3b434c;
  --accent: #6cb0ff;
  --on: #10151b;
  --completed: #6cc270;
  --failed: #ff8a80;
  --running: #6cb0ff;
  --waiting: #f2b04b;
  --in_doubt: #e59ad9;
  --cancelled: #a3abb5;
  --interrupted: #a3abb5;
}
/* Variables of a front end count only in it: others carry ipywidgets' copy of Lab's, which is light by night. */
.box-all.jupyter {
  --fg: var(--jp-ui-font-color1);
  --quiet: var(--jp-ui-font-color2);
  --bg: var(--jp-layout-color1);
  --bg2: var(--jp-layout-color2);
  --line: var(--jp-border-color2);
  --font: var(--jp-ui-font-family, system-ui, sans-serif);
  --mono: var(--jp-code-font-family, ui-monospace, Menlo, Consolas, monospace);
  --size: var(--jp-ui-font-size1, 13px);
}
.box-all.vscode {
  --fg: var(--vscode-foreground);
  --quiet: var(--vscode-descriptionForeground, var(--vscode-foreground));
  --bg: var(--vscode-editor-background);
  --bg2: var(--vscode-sideBar-background, var(--vscode-editor-background));
  --line: var(--vscode-contrastBorder, var(--vscode-panel-border, color-mix(in srgb, currentColor 30%, transparent)));
  --font: var(--vscode-font-family, system-ui, sans-serif);
  --mono: var(--vscode-editor-font-family, ui-monospace, Menlo, Consolas, monospace);
  --size: var(--vscode-font-size, 13px);
}
/* Text and buttons. */

[hidden] {
  display: none !important;
}
.away {
  position: absolute;
  width: 1px;
  height: 1px;
  margin: -1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}
.quiet {
  color: var(--quiet);
}
.error {
  color: var(--failed);
}
.code,
code,
pre {
  font-family: var(--mono);
  font-size: 0.92em;
}
p {
  margin: 2px 0;
}
button {
  font: inherit;
  font-size: 0.95em;
  color: var(--fg);
  background: var(--bg);
  border: 1px solid var(--line);
  border-radius: 4px;
  padding: 2px 9px;
  cursor: pointer;
}
button:hover {
  background: var(--bg2);
}
button.primary {
  background: var(--accent);
  border-color: var(--accent);
  color: var(--on);
}
button.primary:hover {
  filter: brightness(1.1);
}
button.danger {
  color: var(--failed);
  border-color: var(--failed);
}
button.plain {
  border-color: transparent;
  background: none;
}
button.link {
  border: none;
  background: none;
  padding: 0;
  color: var(--accent);
  text-decoration: underline;
  text-align: left;
  overflow-wrap: anywhere;
}
button:focus-visible,
input:focus-visible,
select:focus-visible,
textarea:focus-visible,
.grid:focus-visible,
pre:focus-visible,
summary:focus-visible,
.scroll:focus-visible {
  outline: 2px solid var(--accent);
  outline-offset: 1px;
}
.grid:focus-visible {
  outline-offset: -2px;
}
/* The run. */

header {
  padding: 8px 10px 6px;
}
.title {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 4px 10px;
}
.name {
  overflow-wrap: anywhere;
}
.facts {
  color: var(--quiet);
  flex: 1 1 auto;
}
.badge {
  color: var(--fg);
  border: 1px solid currentColor;
  border-radius: 10px;
  padding: 0 8px;
  white-space: nowrap;
  font-size: 0.92em;
}
.badge.completed {
  color: var(--completed);
}
.badge.failed {
  color: var(--failed);
}
.badge.running {
  color: var(--running);
}
.badge.waiting {
  color: var(--waiting);
}
.badge.in_doubt {
  color: var(--in_doubt);
}
.badge.interrupted,
.badge.cancelled {
  color: var(--quiet);
}
.buttons {
  display: inline-flex;
  gap: 6px;
  margin-left: auto;
}
.meter {
  display: flex;
  gap: 1px;
  height: 4px;
  border-radius: 2px;
  overflow: hidden;
  background: var(--bg2);
  margin-top: 7px;
}
.meter span {
  flex: 0 1 0;
  min-width: 0;
  transition: flex-grow 0.3s;
}
.meter .completed {
  background: var(--completed);
}
.meter .failed {
  background: var(--failed);
}
.meter .running {
  background: var(--running);
}
.meter .waiting {
  background: var(--waiting);
}
.meter .in_doubt {
  background: var(--in_doubt);
}
.meter .cancelled {
  background: var(--cancelled);
}
.relations {
  display: flex;
  flex-wrap: wrap;
  gap: 2px 14px;
  margin-top: 5px;
  font-size: 0.95em;
}
.relations p {
  flex: 1 0 100%;
  margin: 0;
  overflow-wrap: anywhere;
}
.note {
  margin-top: 6px;
  padding: 6px 8px;
  background: var(--bg2);
  border-radius: 4px;
  display: flex;
  flex-wrap: wrap;
  gap: 4px 8px;
  align-items: center;
}
.note code,
.result code {
  background: var(--bg);
  border: 1px solid var(--line);
  border-radius: 3px;
  padding: 1px 5px;
  user-select: all;
  overflow-wrap: anywhere;
}
/* What people are to say. */

.waits {
  border-top: 1px solid var(--line);
}
.wait {
  padding: 8px 10px;
  border-left: 4px solid var(--waiting);
}
.wait + .wait {
  border-top: 1px solid var(--line);
}
.wait.doubt {
  border-left-color: var(--in_doubt);
}
.wait > p:first-child {
  font-weight: 600;
  overflow-wrap: anywhere;
}
.wait pre {
  max-height: 140px;
  overflow: auto;
  background: var(--bg2);
  padding: 6px;
  border-radius: 4px;
  margin: 4px 0;
}
.wait.sent .actions,
.wait.sent .more-form {
  opacity: 0.5;
  pointer-events: none;
}
.wait .result {
  display: flex;
  flex-wrap: wrap;
  gap: 4px 8px;
  align-items: center;
}
.actions {
  display: flex;
  flex-wrap: wrap;
  gap: 6px;
  margin-top: 6px;
}
.more-form:not(:empty) {
  margin-top: 8px;
  max-width: 560px;
}
/* Fields. */

.field {
  margin: 4px 0 8px;
}
.field label {
  display: block;
  margin-bottom: 2px;
}
.field.box {
  display: flex;
  gap: 6px;
}
.field.box label {
  margin: 0;
}
fieldset {
  border: 1px solid var(--line);
  border-radius: 4px;
  margin: 4px 0;
}
input,
select,
textarea {
  font: inherit;
  color: var(--fg);
  background: var(--bg);
  border: 1px solid var(--line);
  border-radius: 4px;
  padding: 2px 6px;
  max-width: 100%;
  box-sizing: border-box;
}
.field input:not([type="checkbox"]),
.field textarea {
  width: 100%;
}
/* How steps are looked at. */

.tools {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 6px;
  padding: 5px 10px;
  border-top: 1px solid var(--line);
  border-bottom: 1px solid var(--line);
  background: var(--bg2);
}
.tools input[type="search"] {
  width: 150px;
}
.tools select {
  max-width: 150px;
}
.chips {
  display: flex;
  flex-wrap: wrap;
  gap: 4px;
}
.chip {
  border-radius: 10px;
  padding: 0 8px;
  color: var(--fg);
}
.chip > span {
  color: var(--quiet);
}
.chip.failed > span {
  color: var(--failed);
}
.chip.completed > span {
  color: var(--completed);
}
.chip.running > span {
  color: var(--running);
}
.chip.waiting > span {
  color: var(--waiting);
}
.chip.in_doubt > span {
  color: var(--in_doubt);
}
.chip b {
  font-weight: 600;
}
button[aria-pressed="true"] {
  background: var(--bg);
  border-color: var(--accent);
  box-shadow: inset 0 0 0 1px var(--accent);
}
.right {
  margin-left: auto;
  display: inline-flex;
  gap: 8px;
}
.tabs {
  display: inline-flex;
}
.tabs button:first-child {
  border-radius: 4px 0 0 4px;
}
.tabs button:last-child {
  border-radius: 0 4px 4px 0;
  margin-left: -1px;
}
.zoom {
  display: inline-flex;
  gap: 3px;
}
/* Steps as lines. Heights are those of sizes.ts. */

.grid {
  position: relative;
  overflow: auto;
  overflow-x: hidden;
  overscroll-behavior: contain;
}
.pool {
  position: absolute;
  inset: 0 0 auto 0;
}
.row {
  position: absolute;
  left: 0;
  right: 0;
  height: 26px;
  display: grid;
  align-items: baseline;
  column-gap: 10px;
  padding: 0 10px;
  cursor: pointer;
  contain: layout style;
  grid-template-columns: 92px 52px minmax(140px, 1.25fr) minmax(80px, 1fr) 0 68px;
  white-space: nowrap;
  line-height: 26px;
}
.spends .row {
  grid-template-columns: 92px 52px minmax(140px, 1.25fr) minmax(80px, 1fr) 118px 68px;
}
.row > span {
  overflow: hidden;
  text-overflow: ellipsis;
}
.row:hover {
  background: var(--bg2);
}
.row[aria-selected="true"],
.lane[aria-selected="true"] {
  background: color-mix(in srgb, var(--accent) 14%, var(--bg));
}
.row i {
  font-style: normal;
  display: inline-block;
  width: 16px;
  margin-right: 3px;
  text-align: center;
}
.row .id {
  color: var(--quiet);
  font-family: var(--mono);
  font-size: 0.92em;
}
.row .what {
  display: flex;
  gap: 4px;
  align-items: baseline;
}
.row .kind {
  color: var(--quiet);
  flex: none;
}
.row .call {
  font-family: var(--mono);
  font-size: 0.92em;
  overflow: hidden;
  text-overflow: ellipsis;
  min-width: 0;
}
.row .tags {
  color: var(--quiet);
  flex: none;
  font-size: 0.88em;
  padding-left: 4px;
  white-space: pre;
}
.row .tags:empty {
  display: none;
}
.row .says {
  color: var(--quiet);
  font-family: var(--mono);
  font-size: 0.92em;
}
.row .says.tail {
  font-style: italic;
  direction: rtl;
  unicode-bidi: plaintext;
  text-align: left;
}
.row .spent,
.row .took {
  text-align: right;
  font-variant-numeric: tabular-nums;
  color: var(--quiet);
  font-size: 0.95em;
}
.row.completed .state {
  color: var(--completed);
}
.row.failed .state,
.row.failed .says {
  color: var(--failed);
}
.row.running .state {
  color: var(--running);
}
.row.waiting .state {
  color: var(--waiting);
}
.row.in_doubt .state {
  color: var(--in_doubt);
}
.row.cancelled .state {
  color: var(--quiet);
}
.row.in_doubt,
.row.waiting {
  background: repeating-linear-gradient(
    -45deg,
    transparent 0 6px,
    color-mix(in srgb, var(--in_doubt) 9%, transparent) 6px 12px
  );
}
.row.waiting {
  background: repeating-linear-gradient(
    -45deg,
    transparent 0 6px,
    color-mix(in srgb, var(--waiting) 11%, transparent) 6px 12px
  );
}
.row.old .call {
  text-decoration: line-through;
}
.row.old {
  opacity: 0.75;
}
.row.replayed,
.row.taken {
  border-left: 3px solid color-mix(in srgb, var(--accent) 55%, transparent);
  padding-left: 7px;
}
.row.taken {
  border-left-style: dashed;
}
.row.running::after {
  content: "";
  position: absolute;
  left: 0;
  bottom: 0;
  height: 2px;
  width: var(--done, 0%);
  background: var(--running);
}
.row.running .state i {
  animation: pulse 1.4s ease-in-out infinite;
}
@keyframes pulse {
  50% {
    opacity: 0.25;
  }
}
/* Scopes in time. Sizes are those of sizes.ts. */

.lane {
  position: absolute;
  left: 0;
  right: 0;
  height: 34px;
  display: flex;
  align-items: center;
}
.lane .label {
  width: 168px;
  flex: none;
  box-sizing: border-box;
  padding-right: 8px;
  display: flex;
  gap: 6px;
  align-items: baseline;
  overflow: hidden;
  white-space: nowrap;
}
.lane .label span {
  overflow: hidden;
  text-overflow: ellipsis;
}
.lane .label small {
  color: var(--quiet);
  margin-left: auto;
}
.lane .track {
  flex: 1;
  overflow: hidden;
  position: relative;
}
.lane canvas {
  display: block;
}
.lane + .lane {
  border-top: 1px solid color-mix(in srgb, var(--line) 55%, transparent);
}
.axis {
  display: none;
}
.in-lanes .axis {
  display: block;
}
.blank {
  padding: 10px;
}
/* One step in full, and Markdown. */

.details {
  border-top: 2px solid var(--line);
  padding: 8px 10px 10px;
  max-height: 440px;
  overflow: auto;
}
.details .head {
  display: flex;
  flex-wrap: wrap;
  gap: 4px 10px;
  align-items: center;
}
.details .head strong {
  overflow-wrap: anywhere;
}
dl {
  display: flex;
  flex-wrap: wrap;
  gap: 2px 18px;
  margin: 6px 0;
}
dl div {
  display: flex;
  gap: 6px;
}
dl dt {
  color: var(--quiet);
}
dl dd {
  margin: 0;
  overflow-wrap: anywhere;
}
.details details {
  border-top: 1px solid var(--line);
  padding: 4px 0;
}
summary {
  cursor: pointer;
  font-weight: 600;
}
summary .quiet {
  font-weight: 400;
}
.details pre,
.md pre {
  margin: 4px 0;
  padding: 6px 8px;
  background: var(--bg2);
  border-radius: 4px;
  white-space: pre-wrap;
  overflow-wrap: anywhere;
  max-height: 300px;
  overflow: auto;
}
.stream {
  border-left: 3px solid var(--running);
}
.scroll {
  overflow: auto;
  max-height: 300px;
}
table {
  border-collapse: collapse;
  font-size: 0.95em;
}
td,
th {
  border: 1px solid var(--line);
  padding: 1px 8px;
  text-align: left;
  white-space: pre;
  max-width: 360px;
  overflow: hidden;
  text-overflow: ellipsis;
}
thead th {
  position: sticky;
  top: 0;
  background: var(--bg2);
}
img {
  max-width: 100%;
  max-height: 320px;
  background: #fff;
}
.message {
  margin: 4px 0;
  padding: 4px 8px;
  border-left: 3px solid var(--line);
}
.message.assistant {
  border-left-color: var(--accent);
}
.message b {
  color: var(--quiet);
  font-weight: 600;
  font-size: 0.92em;
}
.md .h {
  font-weight: 700;
}
.md .h1 {
  font-size: 1.25em;
}
.md .h2 {
  font-size: 1.12em;
}
.md ul,
.md ol {
  margin: 2px 0;
  padding-left: 22px;
}
.md blockquote {
  margin: 2px 0;
  padding-left: 8px;
  border-left: 3px solid var(--line);
  color: var(--quiet);
}
.md p {
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}
.md a {
  color: var(--accent);
}
.md code {
  background: var(--bg2);
  padding: 0 3px;
  border-radius: 3px;
}
/* Where there is little room, or nothing should move. The widths are those of sizes.ts. */

@container (max-width: 760px) {
  .spends .row {
    grid-template-columns: 92px 52px minmax(140px, 1.25fr) minmax(80px, 1fr) 0 68px;
  }
  .row .spent {
    visibility: hidden;
  }
}
@container (max-width: 620px) {
  .row,
  .spends .row {
    grid-template-columns: 22px minmax(90px, 1fr) minmax(0, 0.7fr) 58px;
  }
  .row .id,
  .row .spent {
    display: none;
  }
  .row .word {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
  }
  .tools input[type="search"] {
    width: 110px;
  }
  .lane .label {
    width: 88px;
  }
  .chip {
    padding: 0 6px;
    font-size: 0.92em;
  }
  .buttons {
    margin-left: 0;
  }
}
@container (max-width: 420px) {
  .row,
  .spends .row {
    grid-template-columns: 22px minmax(0, 1fr) 58px;
  }
  .row .says {
    display: none;
  }
  .row .tags {
    display: none;
  }
}
.calm * {
  animation: none !important;
  transition: none !important;
}
@media (prefers-reduced-motion: reduce) {
  * {
    animation: none !important;
    transition: none !important;
  }
}
@media (forced-colors: active) {
  .meter span {
    forced-color-adjust: none;
  }
}
`;
var timeline_default = CSS;

// timeline/themes.ts
var THEMED = ["data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind", "data-theme", "class", "theme"];
function wear(box, changed2) {
  const theme = () => {
    const { home, dark, calm } = looks();
    const classes = { dark, calm, jupyter: home === "jupyter", vscode: home === "vscode" };
    for (const [name, is] of Object.entries(classes)) box.classList.toggle(name, is);
    changed2();
  };
  const observer = new MutationObserver(theme);
  for (const one of [document.body, document.documentElement]) {
    observer.observe(one, { attributes: true, attributeFilter: THEMED });
  }
  theme();
  return () => observer.disconnect();
}
function looks() {
  const { body, documentElement } = document;
  const calm = body.classList.contains("vscode-reduce-motion");
  const light = body.dataset.jpThemeLight;
  if (light) return { home: "jupyter", dark: light === "false", calm };
  const kinds = ["vscode-dark", "vscode-light", "vscode-high-contrast"];
  const kind = body.dataset.vscodeThemeKind || kinds.find((name) => body.classList.contains(name));
  if (kind) return { home: "vscode", dark: kind === "vscode-dark" || kind === "vscode-high-contrast", calm };
  const said = documentElement.getAttribute("theme");
  if (said === "dark" || said === "light") return { home: "", dark: said === "dark", calm };
  return { home: "", dark: isDark([body, documentElement]), calm };
}
function isDark(elements) {
  const found = elements.map((el) => /rgba?\((\d+), (\d+), (\d+)(?:, ([\d.]+))?/.exec(getComputedStyle(el).backgroundColor)).find((one) => one && one[4] !== "0");
  return Boolean(found && Number(found[1]) + Number(found[2]) + Number(found[3]) < 300);
}

// timeline/toolbar.ts
var Toolbar = class {
  el;
  search;
  kind;
  list;
  lanes;
  zoom;
  matches = h("span", { class: "quiet matches" });
  offered = 0;
  /** chips: how to filter by state. */
  constructor(host, chips) {
    this.search = h("input", {
      type: "search",
      placeholder: "Search steps",
      "aria-label": "Search steps",
      oninput: (event) => host.search(event.target.value.toLowerCase())
    });
    const onchange = (event) => host.kind(event.target.value);
    const every2 = h("option", { value: "", text: "All kinds" });
    this.kind = h("select", { "aria-label": "Kind of step", onchange }, every2);
    this.list = button("List", { "aria-pressed": "true", onclick: () => host.mode("list") });
    this.lanes = button("Lanes", { "aria-pressed": "false", onclick: () => host.mode("lanes") });
    this.zoom = h(
      "span",
      { class: "zoom", hidden: true },
      button("−", { "aria-label": "Zoom out", onclick: () => host.zoomOut() }),
      button("+", { "aria-label": "Zoom in", onclick: () => host.zoomIn() }),
      button("Fit", { "aria-label": "Show the whole time", onclick: () => host.zoomFit() })
    );
    const tabs = h("span", { class: "tabs", role: "group", "aria-label": "View" }, this.list, this.lanes);
    const right = h("span", { class: "right" }, this.zoom, tabs);
    this.el = h("div", { class: "tools" }, this.search, this.kind, chips, this.matches, right);
  }
  /** The kinds that steps have; what was there once stays. */
  offer(kinds) {
    if (kinds.size === this.offered) return;
    for (const kind of [...kinds].slice(this.offered)) this.kind.append(h("option", { value: kind, text: kind }));
    this.offered = kinds.size;
  }
  /** How many steps match. */
  tell(matches) {
    put(this.matches, matches);
  }
  show(mode) {
    this.list.setAttribute("aria-pressed", String(mode === "list"));
    this.lanes.setAttribute("aria-pressed", String(mode === "lanes"));
    this.zoom.hidden = mode !== "lanes";
  }
  focus() {
    this.search.focus();
  }
};

// timeline/viewpoint.ts
var Viewpoint = class {
  mode = "list";
  /** The number of the step that is chosen; -1: none. */
  selected = -1;
  /** Whether the list stays at its end when steps come. */
  follow = true;
  zoom = WHOLE;
  /** That step, and no longer whatever comes. */
  choose(n) {
    this.selected = n;
    this.follow = false;
  }
};

// timeline/timeline.ts
var TICK = 500;
var Timeline = class {
  constructor(el, source) {
    this.source = source;
    const root = el.shadowRoot || el.attachShadow({ mode: "open" });
    el.setAttribute("data-lm-suppress-shortcuts", "true");
    const { model, viewpoint, filter, palette } = this;
    const { schedule } = this.frames;
    const open = (n, focus) => this.open(n, focus);
    const moved = () => schedule("lanes");
    const chosen = () => schedule("list", "lanes");
    const left = () => this.grid.focus({ preventScroll: true });
    const command = (verb, step2) => this.command(verb, step2);
    const cancel = () => this.commands.cancel();
    const step = (id) => model.rows.findLast((row) => row && row.id === id);
    const run = () => model.run.id;
    this.asking = new Asking(source, model, () => schedule("list"));
    this.commands = new Commands(source, model);
    const toggle = (state) => {
      filter.toggle(state);
      schedule("head", "filter", "list", "lanes");
    };
    const head = { resume: () => command("resume"), cancel, fork: () => command("fork"), toggle };
    this.header = new Header({ ...head, open: (id) => this.commands.open(id) }, this.commands.note);
    this.decisions = new Decisions({ source, root, run, step, open, cancel });
    this.lines = new Grid((n) => this.select(n));
    const { grid } = this;
    this.list = new List({ grid, model, viewpoint, filter, texts: (numbers) => this.asking.texts(numbers), open });
    this.lanes = new Lanes({ grid, model, viewpoint, filter, palette, moved, open });
    this.details = new Details({ source, model, viewpoint, command, chosen, left });
    this.toolbar = new Toolbar(
      {
        search: (search) => this.narrow({ search }),
        kind: (kind) => this.narrow({ kind }),
        mode: (mode) => this.show(mode),
        zoomIn: () => this.lanes.zoomIn(),
        zoomOut: () => this.lanes.zoomOut(),
        zoomFit: () => this.lanes.setZoom(WHOLE)
      },
      this.header.chips
    );
    this.lines.show(this.list);
    this.box.append(this.header.el, this.decisions.el, this.toolbar.el, this.lanes.axis, grid);
    this.box.append(this.blank, this.details.el, this.announcer.el);
    root.replaceChildren(h("style", { text: timeline_default }), this.box);
    this.box.addEventListener("keydown", (event) => this.key(event));
    const unwatch = this.watch();
    const unsubscribe = source.subscribe((page) => this.take(page));
    this.end = () => {
      unsubscribe();
      unwatch();
      root.replaceChildren();
    };
  }
  source;
  box = h("div", { class: "box-all" });
  blank = h("p", { class: "blank quiet", text: "Waiting for the first step…" });
  viewpoint = new Viewpoint();
  filter = new Filter();
  palette = new Palette(this.box);
  announcer = new Announcer();
  // Whoever measures drawing puts something around `draw`: it is looked up each time.
  frames = new Frames(() => this.draw());
  model = new Model((row) => {
    if (row.n === this.viewpoint.selected) this.details.refresh(row);
  });
  queue = [];
  asking;
  commands;
  header;
  decisions;
  toolbar;
  lines;
  list;
  lanes;
  details;
  end;
  // -- what those who have mounted it may use ---
  get rows() {
    return this.model.rows;
  }
  get run() {
    return this.model.run;
  }
  get feed() {
    return this.model.feed;
  }
  get mark() {
    return this.model.mark;
  }
  get grid() {
    return this.lines.el;
  }
  get resume() {
    return this.header.title.resume;
  }
  get cancel() {
    return this.header.title.cancel;
  }
  get fork() {
    return this.header.title.fork;
  }
  /** Show a step in full. */
  open(n, focus = false) {
    this.details.open(n, focus);
  }
  command(verb, step) {
    this.commands.run(verb, step);
  }
  setZoom(from, to) {
    this.lanes.setZoom([from, to]);
  }
  /** What has come and changed since the last frame. */
  draw() {
    this.frames.begin();
    for (const page of this.queue.splice(0)) this.apply(page);
    const { model } = this;
    if (!model.run) return;
    const dirty = this.frames.take();
    const lanes = this.viewpoint.mode === "lanes";
    this.toolbar.offer(model.kinds);
    if (dirty.filter) this.toolbar.tell(this.filter.match(model));
    if (dirty.head) this.drawHead(model.run);
    if (dirty.waits) this.decisions.draw(model.waits);
    if (dirty.list || dirty.filter || lanes && dirty.lanes) this.lines.draw(dirty.lanes || dirty.filter);
  }
  dispose() {
    this.end();
  }
  // -- how its parts come together ---
  /** Follow what is around it: scrolling, its size, the front end's looks, the time. Returns what ends that. */
  watch() {
    const { viewpoint, model } = this;
    const { schedule } = this.frames;
    this.lines.watch((end) => {
      viewpoint.follow = end;
      schedule("list");
    });
    const sizes = new ResizeObserver(() => schedule("list", "lanes"));
    sizes.observe(this.grid);
    const undress = wear(this.box, () => {
      this.palette.forget();
      schedule("list", "lanes");
    });
    const clock = setInterval(() => {
      const goesOn = model.run?.status === "running" || model.waits.some((wait) => wait.until);
      if (model.run && goesOn) schedule("head", viewpoint.mode === "lanes" ? "lanes" : "head");
    }, TICK);
    return () => {
      clearInterval(clock);
      this.frames.end();
      sizes.disconnect();
      undress();
    };
  }
  take(page) {
    if (!page || page.v !== 1) return;
    this.queue.push(page);
    this.frames.schedule();
  }
  apply(page) {
    const { missed, waits } = this.model.take(page);
    if (waits) this.frames.touch("waits");
    if (missed) this.asking.catchUp();
    this.frames.touch("head", "list", "lanes", "filter");
  }
  drawHead(run) {
    const { model } = this;
    this.header.draw(run, model.now, Boolean(this.source.ask), this.filter.states);
    this.box.classList.toggle("spends", run.calls > 0);
    this.blank.hidden = model.rows.length > 0;
    put(this.blank, isFinal(run) || !run.owner ? "No steps." : "Waiting for the first step…");
    this.announcer.say(run, model.waits);
  }
  narrow(by) {
    Object.assign(this.filter, by);
    this.frames.schedule("filter", "list", "lanes");
  }
  show(mode) {
    this.viewpoint.mode = mode;
    this.toolbar.show(mode);
    this.lines.show(mode === "lanes" ? this.lanes : this.list);
    this.box.classList.toggle("in-lanes", mode === "lanes");
    this.frames.schedule("head", "list", "lanes");
  }
  /** Keys that mean the same wherever they are pressed. */
  key(event) {
    if (event.key === "/" && !event.target.matches("input, textarea, select")) {
      event.preventDefault();
      this.toolbar.focus();
    } else if (event.key === "Escape" && this.details.there) {
      this.details.close();
      event.preventDefault();
    }
    event.stopPropagation();
  }
  /** A key has led to a step. */
  select(n) {
    this.viewpoint.choose(n);
    this.lines.reveal(n);
    this.frames.schedule("list", "lanes");
    if (this.details.there) this.open(n);
  }
};

// timeline/mount.ts
function mount(el, source) {
  const timeline = new Timeline(el, source);
  return { timeline, dispose: () => timeline.dispose() };
}
function still(page) {
  return {
    subscribe: (tell) => {
      tell(page);
      return () => {
      };
    }
  };
}

// timeline/widget.ts
function render({ model, el }) {
  const place = el.appendChild(document.createElement("div"));
  const view = mount(place, sourceOf(model, place));
  return () => view.dispose();
}
function sourceOf(model, place) {
  const open = /* @__PURE__ */ new Map();
  let last = 0;
  let tell = () => {
  };
  const heard = (given) => {
    const message2 = given;
    if (message2?.type === "page") tell(message2.page);
    else if (message2?.type === "reply") {
      const waiting = open.get(message2.id);
      open.delete(message2.id);
      if (message2.error) waiting?.reject(new Error(message2.error));
      else waiting?.resolve(message2.value);
    }
  };
  const snap = () => {
    const page = model.get("snapshot");
    if (page && page.run) tell(page);
  };
  return {
    subscribe: (to) => {
      tell = to;
      model.on("msg:custom", heard);
      model.on("change:snapshot", snap);
      snap();
      model.send({ type: "since", id: ++last, feed: "", mark: 0 });
      return () => {
        model.off("msg:custom", heard);
        model.off("change:snapshot", snap);
      };
    },
    ask: (request) => {
      const detail = { run: model.get("run"), request, result: void 0 };
      if (request.type !== "since" && told(place, "jupyter-durable:ask", detail)) return Promise.resolve(detail.result);
      return new Promise((resolve2, reject) => {
        const id = ++last;
        open.set(id, { resolve: resolve2, reject });
        model.send({ ...request, id });
      });
    },
    command: (id, args) => told(place, "jupyter-durable:command", { id, args })
  };
}
function told(place, name, detail) {
  const event = new CustomEvent(name, { bubbles: true, composed: true, cancelable: true, detail });
  return !place.dispatchEvent(event);
}

// timeline/index.ts
var index_default = { render };
export {
  index_default as default,
  form,
  markdown,
  money,
  mount,
  render,
  span,
  still
};
