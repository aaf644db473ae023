// The left panel: what waits for somebody, this notebook's runs, all others.

import type { TranslationBundle } from "@jupyterlab/translation";
import { LabIcon } from "@jupyterlab/ui-components";
import { Widget } from "@lumino/widgets";

import type { Actions } from "./actions.js";
import { button, h, icon, redraw } from "./dom.js";
import type { Live } from "./live.js";
import type { Filter } from "./logic/runs.js";
import { ICONS, isOver, isResumable, matches } from "./logic/runs.js";
import { fileName } from "./logic/words.js";
import { action, facts, prompt, word } from "./says.js";
import type { RunItem, Wait } from "./types.js";

export const durableIcon = new LabIcon({
  name: "jupyter-durable:runs",
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 16 16"><g class="jp-icon3" fill="#616161"><path d="M3.2 2.2a1.7 1.7 0 1 0 0 3.4 1.7 1.7 0 0 0 0-3.4Zm0 8.2a1.7 1.7 0 1 0 0 3.4 1.7 1.7 0 0 0 0-3.4ZM2.5 6.2h1.4v3.6H2.5z"/><path d="M7 3.1h7.2v1.6H7zM7 7.2h5.2v1.6H7zM7 11.3h3.6v1.6H7z"/></g></svg>',
});

const MOST = 100; // runs of a section that are drawn before somebody asks for more

export class RunsPanel extends Widget {
  private filter: Filter = { text: "", status: "" };
  private path: string | null = null;
  private open = new Set<string>();
  private shown = MOST;
  private drawn = new Map<string, { key: string; el: HTMLElement }>();
  private readonly note = h("p", { class: "jp-durable-note", role: "status" });
  private readonly people = h("section", { class: "jp-durable-section" });
  private readonly here = h("section", { class: "jp-durable-section" });
  private readonly others = h("section", { class: "jp-durable-section" });
  private frame = 0;

  constructor(
    private readonly live: Live,
    private readonly actions: Actions,
    private readonly trans: TranslationBundle,
  ) {
    super();
    this.id = "jupyter-durable-runs";
    this.addClass("jp-durable-panel");
    this.title.icon = durableIcon;
    this.title.caption = trans.__("Durable runs");
    this.node.setAttribute("role", "region");
    this.node.setAttribute("aria-label", trans.__("Durable runs"));
    this.build();
    live.changed.connect(this.schedule, this);
    live.reached.connect(this.schedule, this);
  }

  /** Which notebook comes first. */
  setNotebook(path: string | null): void {
    if (path === this.path) return;
    this.path = path;
    this.schedule();
    // What is older than what the server keeps current: a notebook's runs are there however old they are.
    if (path && this.live.there) {
      void this.live.client
        .runs({ path, limit: "100" })
        .then(({ runs }) => {
          this.live.runs.add(runs);
          this.schedule();
        })
        .catch(() => undefined);
    }
  }

  override dispose(): void {
    this.live.changed.disconnect(this.schedule, this);
    this.live.reached.disconnect(this.schedule, this);
    cancelAnimationFrame(this.frame);
    super.dispose();
  }

  protected override onAfterShow(): void {
    this.schedule();
  }

  protected override onActivateRequest(): void {
    this.node.querySelector<HTMLElement>("input")?.focus();
  }

  private build(): void {
    const { trans } = this;
    const search = h("input", {
      type: "search",
      class: "jp-durable-search",
      placeholder: trans.__("Filter runs"),
      "aria-label": trans.__("Filter runs"),
      oninput: (event: Event) => this.look({ text: (event.target as HTMLInputElement).value }),
    });
    const options: [Filter["status"], string][] = [
      ["", trans.__("All")],
      ["open", trans.__("Not over")],
      ["waiting", trans.__("Waiting for you")],
      ["resumable", trans.__("Resumable")],
      ["failed", trans.__("Failed")],
      ["completed", trans.__("Completed")],
    ];
    const select = h(
      "select",
      {
        class: "jp-durable-status",
        "aria-label": trans.__("Which runs"),
        onchange: (event: Event) =>
          this.look({ status: (event.target as HTMLSelectElement).value as Filter["status"] }),
      },
      ...options.map(([value, text]) => h("option", { value }, text)),
    );
    this.node.append(
      h("h2", { class: "jp-durable-title" }, trans.__("Durable runs")),
      h("div", { class: "jp-durable-tools" }, search, select),
      this.note,
      h(
        "div",
        { class: "jp-durable-lists", onkeydown: (event: Event) => this.keys(event as KeyboardEvent) },
        this.people,
        this.here,
        this.others,
      ),
    );
  }

  private look(filter: Partial<Filter>): void {
    this.filter = { ...this.filter, ...filter };
    this.shown = MOST;
    this.schedule();
  }

  private schedule(): void {
    if (!this.isVisible || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private draw(): void {
    const { trans, live } = this;
    const notes: Record<typeof live.reach, string> = {
      unknown: "",
      absent: trans.__(
        "The server part of jupyter-durable does not answer, so timelines are read-only. Is it installed where the Jupyter server runs? jupyter server extension list says so.",
      ),
      lost: trans.__("The server is not reached. What is shown may be old."),
      open: "",
    };
    this.note.textContent = notes[live.reach];
    this.note.hidden = !notes[live.reach];
    const found = live.runs.all().filter((run) => matches(run, this.filter));
    const current = found.filter((run) => !run.left || this.filter.text !== "");
    const here = current.filter((run) => run.path !== null && run.path === this.path);
    const others = current.filter((run) => run.path === null || run.path !== this.path);
    const waits = live.runs.waiting().filter(({ run }) => matches(run, this.filter));
    const kept = new Set<string>();
    this.section(
      this.people,
      trans.__("Waiting for you"),
      waits.map(({ run, wait }) =>
        this.keep(kept, `w:${run.id}:${wait.key}`, [run.name, wait, this.path], () => this.wait(run, wait)),
      ),
      null,
    );
    const reach = live.reach === "open" || live.reach === "lost";
    this.section(
      this.here,
      trans.__("This notebook"),
      here.map((run) => this.item(kept, run)),
      this.path && reach ? trans.__("No runs. Put %%durable on the first line of a cell.") : null,
    );
    this.section(
      this.others,
      this.path ? trans.__("Elsewhere") : trans.__("All runs"),
      others.slice(0, this.shown).map((run) => this.item(kept, run)),
      this.path || !reach ? null : trans.__("No runs yet. Put %%durable on the first line of a cell."),
      others.length > this.shown,
    );
    for (const key of this.drawn.keys()) if (!kept.has(key)) this.drawn.delete(key);
  }

  private section(el: HTMLElement, title: string, items: HTMLElement[], empty: string | null, more = false): void {
    el.hidden = !items.length && empty === null;
    const list = h("ul", { class: "jp-durable-list", "aria-label": title }, ...items);
    redraw(
      el,
      h(
        "h3",
        { class: "jp-durable-heading" },
        title,
        items.length ? h("span", { class: "jp-durable-count" }, ` ${items.length}${more ? "+" : ""}`) : null,
      ),
      items.length ? list : h("p", { class: "jp-durable-empty" }, empty),
      more &&
        button(this.trans.__("Show more"), "more", () => {
          this.shown += MOST;
          this.schedule();
        }),
    );
  }

  /** An element that is drawn again only if what it shows is different. */
  private keep(kept: Set<string>, id: string, shows: unknown, make: () => HTMLElement): HTMLElement {
    const key = JSON.stringify(shows);
    const known = this.drawn.get(id);
    kept.add(id);
    if (known?.key === key) return known.el;
    const el = make();
    this.drawn.set(id, { key, el });
    return el;
  }

  private item(kept: Set<string>, run: RunItem): HTMLElement {
    const now = Date.now() / 1000;
    const says = facts(this.trans, run, now);
    return this.keep(kept, run.id, [run, says, this.open.has(run.id), this.path], () => this.row(run, says));
  }

  private row(run: RunItem, says: string): HTMLElement {
    const { trans, actions } = this;
    const open = this.open.has(run.id);
    const status = word(trans, run.status);
    const elsewhere = this.elsewhere(run);
    const resume =
      isResumable(run) &&
      run.path !== null &&
      button(trans.__("Resume"), `resume:${run.id}`, () => void actions.resume(run), {
        class: "jp-durable-button jp-mod-primary",
        "aria-label": trans.__("Resume %1", run.name),
      });
    return h(
      "li",
      { class: `jp-durable-run jp-mod-${run.status}`, "data-run": run.id },
      h(
        "div",
        { class: "jp-durable-head" },
        h(
          "button",
          {
            type: "button",
            class: "jp-durable-row",
            "data-key": `row:${run.id}`,
            "aria-expanded": String(open),
            onclick: () => this.toggle(run.id),
          },
          h("span", { class: "jp-durable-state" }, icon(ICONS[run.status])),
          h("span", { class: "jp-durable-name" }, run.name),
          h("span", { class: "jp-durable-word" }, run.status === "interrupted" && isResumable(run) ? null : status),
          h("span", { class: "jp-durable-facts" }, says),
          elsewhere && h("span", { class: "jp-durable-facts", title: elsewhere }, fileName(elsewhere)),
        ),
        resume,
      ),
      open &&
        h(
          "div",
          { class: "jp-durable-actions", role: "group", "aria-label": trans.__("What to do about %1", run.name) },
          button(trans.__("Timeline"), `open:${run.id}`, () => actions.open(run.id)),
          run.path !== null && button(trans.__("Go to its cell"), `cell:${run.id}`, () => void actions.reveal(run)),
          !run.live && run.steps > 0 && button(trans.__("Fork…"), `fork:${run.id}`, () => void actions.fork(run)),
          button(trans.__("Report"), `export:${run.id}`, () => void actions.export(run), {
            title: trans.__("Save it as one HTML file"),
          }),
          !isOver(run) && button(trans.__("Cancel…"), `cancel:${run.id}`, () => void actions.cancel(run)),
          !run.live && button(trans.__("Delete…"), `delete:${run.id}`, () => void actions.delete(run)),
          h("span", { class: "jp-durable-facts jp-durable-id" }, run.id.slice(0, 13)),
        ),
    );
  }

  private wait(run: RunItem, wait: Wait): HTMLElement {
    const { trans, actions } = this;
    const direct = wait.actions.filter((one) => ["approve", "reject", "retry"].includes(one));
    const form = wait.actions.some((one) => !direct.includes(one));
    const elsewhere = this.elsewhere(run);
    return h(
      "li",
      { class: `jp-durable-wait jp-mod-${wait.kind}`, "data-run": run.id },
      h(
        "div",
        { class: "jp-durable-prompt" },
        icon("‖"),
        h("strong", {}, run.name),
        h("span", {}, ` ${prompt(trans, wait)}`),
        elsewhere && h("span", { class: "jp-durable-facts", title: elsewhere }, ` · ${fileName(elsewhere)}`),
      ),
      wait.value !== undefined &&
        h("pre", { class: "jp-durable-value", tabindex: "0" }, JSON.stringify(wait.value, null, 1)),
      h(
        "div",
        { class: "jp-durable-actions" },
        ...direct.map((one, at) =>
          button(action(trans, one), `${one}:${wait.key}`, () => void actions.decide(run, wait, one), {
            class: `jp-durable-button${at ? "" : " jp-mod-primary"}`,
            "aria-label": trans.__("%1: %2", action(trans, one), wait.prompt),
          }),
        ),
        form &&
          button(wait.kind === "approval" ? trans.__("Edit…") : trans.__("Answer…"), `form:${wait.key}`, () =>
            actions.open(run.id),
          ),
      ),
    );
  }

  /** Its notebook, if it is not the one that is looked at. */
  private elsewhere(run: RunItem): string | null {
    return run.path !== this.path ? (run.path ?? run.notebook) : null;
  }

  private toggle(id: string): void {
    if (!this.open.delete(id)) this.open.add(id);
    this.schedule();
  }

  /** Up and down go from run to run. */
  private keys(event: KeyboardEvent): void {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (!step || !(event.target instanceof HTMLElement) || event.target.matches("pre")) return;
    const rows = [...this.node.querySelectorAll<HTMLElement>(".jp-durable-row, .jp-durable-wait button:first-of-type")];
    const at = rows.findIndex((row) => row.closest("li") === (event.target as HTMLElement).closest("li"));
    rows[at + step]?.focus();
    event.preventDefault();
  }
}
