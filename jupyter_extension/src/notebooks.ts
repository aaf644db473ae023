// In a notebook: a badge on each durable cell, and a notice when one of its runs has stopped.

import type { Cell } from "@jupyterlab/cells";
import type { NotebookPanel } from "@jupyterlab/notebook";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { PanelLayout } from "@lumino/widgets";
import { Widget } from "@lumino/widgets";

import type { Actions } from "./actions.js";
import { plain } from "./actions.js";
import { button, h, icon, redraw } from "./dom.js";
import type { Live } from "./live.js";
import { isDurable } from "./logic/cells.js";
import type { Notice } from "./logic/runs.js";
import { asked, automatic, isResumable, notices, stateOf } from "./logic/runs.js";
import type { Resumer, Wanting } from "./resume.js";
import { cellsOf } from "./resume.js";
import { action, badge, prompt, where } from "./says.js";
import type { Preferences } from "./settings.js";
import type { RunItem } from "./types.js";

const SIGNS = { none: "○", running: "▶", resumable: "■", waiting: "‖", done: "✓", failed: "✗", cancelled: "■" };

/** One open notebook. */
export class Watched {
  private readonly banner = new Widget();
  private readonly badges = new Map<Cell, Widget>();
  private dismissed = new Set<string>();
  private tried = new Set<string>();
  private died = false;
  private wanting: Wanting | null = null;
  private timer = 0;
  private said = "";
  private readonly sizes: ResizeObserver;

  constructor(
    private readonly panel: NotebookPanel,
    private readonly live: Live,
    private readonly actions: Actions,
    private readonly resumer: Resumer,
    private readonly preferences: Preferences,
    private readonly trans: TranslationBundle,
  ) {
    this.banner.addClass("jp-durable-banner");
    this.banner.node.setAttribute("role", "status");
    this.banner.node.setAttribute("aria-live", "polite");
    this.banner.hide();
    panel.contentHeader.addWidget(this.banner);
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(panel.node);
    live.changed.connect(this.schedule, this);
    live.reached.connect(this.schedule, this);
    preferences.changed.connect(this.schedule, this);
    resumer.wanting.connect(this.want, this);
    resumer.changed.connect(this.schedule, this);
    panel.content.modelContentChanged.connect(this.schedule, this);
    panel.context.pathChanged.connect(this.schedule, this);
    panel.sessionContext.statusChanged.connect(this.status, this);
    panel.disposed.connect(() => this.dispose());
    void panel.revealed.then(() => this.schedule());
  }

  private get path(): string {
    return plain(this.panel.context.path);
  }

  private dispose(): void {
    window.clearTimeout(this.timer);
    this.sizes.disconnect();
    this.live.changed.disconnect(this.schedule, this);
    this.live.reached.disconnect(this.schedule, this);
    this.preferences.changed.disconnect(this.schedule, this);
    this.resumer.wanting.disconnect(this.want, this);
    this.resumer.changed.disconnect(this.schedule, this);
  }

  private status(_: unknown, status: string): void {
    if (status === "autorestarting" || status === "dead") this.died = true;
    this.schedule();
  }

  private want(_: Resumer, wanting: Wanting): void {
    if (wanting.panel !== this.panel) return;
    this.wanting = wanting;
    this.schedule();
  }

  private schedule(): void {
    if (this.timer) return;
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      if (!this.panel.isDisposed) this.draw();
    }, 50);
  }

  private draw(): void {
    if (!this.live.there || !this.panel.content.model) return;
    const cells = cellsOf(this.panel);
    const runs = this.live.runs.ofNotebook(this.path);
    this.drawBadges();
    const all = notices(runs, cells, this.dismissed);
    const found = all.filter((one) => !this.resumer.isUnderWay(one.run.id));
    if (this.preferences.autoResume && this.died) {
      for (const one of automatic(found, this.tried)) {
        this.tried.add(`${one.run.id}:${one.run.done}`);
        this.died = false;
        void this.actions.resume(one.run);
        return;
      }
    }
    const under = all.filter((one) => one.kind === "resume" && !found.includes(one)).map((one) => one.run);
    this.drawBanner(this.preferences.notice ? found : [], this.preferences.notice ? under : []);
  }

  // -- badges ------------------------------------------------------------------------------------------

  private drawBadges(): void {
    const now = Date.now() / 1000;
    const seen = new Set<Cell>();
    for (const cell of this.panel.content.widgets) {
      const { id, type, sharedModel } = cell.model;
      const like = { id, type, source: sharedModel.getSource() };
      if (!this.preferences.badges || !isDurable(like)) continue;
      seen.add(cell);
      const run = this.live.runs.ofCell(this.path, like);
      const resuming = run !== undefined && isResumable(run) && this.resumer.isUnderWay(run.id);
      const state = resuming ? "running" : stateOf(run);
      let widget = this.badges.get(cell);
      if (!widget) {
        const layout = cell.layout as PanelLayout | null;
        const place = layout?.widgets.findIndex((one) => one.hasClass("jp-Cell-inputWrapper")) ?? -1;
        if (!layout || place < 0) {
          void cell.ready.then(() => this.schedule()); // it is drawn when it comes into sight
          continue;
        }
        widget = new Widget();
        widget.addClass("jp-durable-badge");
        layout.insertWidget(place + 1, widget);
        this.badges.set(cell, widget);
        cell.disposed.connect(() => this.badges.delete(cell));
      }
      const says = resuming ? this.trans.__("resuming…") : badge(this.trans, run, now);
      const key = `${run?.id ?? ""} ${state} ${says}`;
      if (widget.node.dataset.key === key) continue;
      widget.node.dataset.key = key;
      widget.node.dataset.state = state;
      redraw(
        widget.node,
        icon(SIGNS[state]),
        h("span", { class: "jp-durable-says" }, says),
        run !== undefined &&
          !resuming &&
          isResumable(run) &&
          button(this.trans.__("Resume"), "resume", () => void this.actions.resume(run)),
        run !== undefined && button(this.trans.__("Timeline"), "open", () => this.actions.open(run.id)),
      );
    }
    for (const [cell, widget] of this.badges) {
      if (seen.has(cell)) continue;
      widget.dispose();
      this.badges.delete(cell);
    }
  }

  // -- the notice --------------------------------------------------------------------------------------

  private drawBanner(found: Notice[], under: RunItem[]): void {
    const { trans } = this;
    const lines: HTMLElement[] = [];
    const wanting = this.wanting;
    if (wanting) {
      const close = (): void => {
        this.wanting = null;
        this.schedule();
      };
      lines.push(
        this.line(
          "⚠",
          trans.__("%1 needs %2, which could not be brought back.", wanting.run.name, wanting.names.join(", ")),
          [
            button(
              trans.__("Run the set-up cells and resume"),
              "prepare",
              () => {
                close();
                void this.actions.resume(wanting.run, true);
              },
              { class: "jp-durable-button jp-mod-primary" },
            ),
          ],
          close,
        ),
      );
    }
    for (const run of under) lines.push(this.line("▶", trans.__("Resuming %1…", run.name), []));
    for (const one of found) lines.push(this.notice(one));
    const key = JSON.stringify([
      wanting?.names,
      under.map((run) => run.id),
      found.map((one) => [one.key, one.run.waits]),
    ]);
    if (key === this.said) return;
    this.said = key;
    redraw(this.banner.node, ...lines);
    this.banner.setHidden(!lines.length);
    this.fit();
  }

  /** A header's layout knows heights only as styles. */
  private fit(): void {
    const lines = [...this.banner.node.children] as HTMLElement[];
    const height = `${lines.reduce((sum, line) => sum + line.offsetHeight, 0)}px`;
    if (this.banner.node.style.minHeight === height) return;
    this.banner.node.style.minHeight = this.banner.node.style.maxHeight = height;
    this.panel.contentHeader.fit();
  }

  private notice(one: Notice): HTMLElement {
    const { trans, actions } = this;
    const { run } = one;
    const dismiss = (): void => {
      this.dismissed.add(one.key);
      this.schedule();
    };
    const timeline = button(trans.__("Timeline"), `open:${run.id}`, () => actions.open(run.id));
    if (one.kind === "resume") {
      const says =
        run.status === "waiting"
          ? trans.__("%1 has its answer, and stopped at %2.", run.name, where(trans, run))
          : trans.__("%1 stopped at %2.", run.name, where(trans, run));
      const resume = button(trans.__("Resume"), `resume:${run.id}`, () => void actions.resume(run), {
        class: "jp-durable-button jp-mod-primary",
      });
      return this.line("■", says, [resume, timeline], dismiss);
    }
    const wait = asked(run)[0];
    const buttons = wait
      ? wait.actions
          .filter((name) => name === "approve" || name === "reject")
          .map((name, at) =>
            button(action(trans, name), `${name}:${wait.key}`, () => void actions.decide(run, wait, name), {
              class: `jp-durable-button${at ? "" : " jp-mod-primary"}`,
            }),
          )
      : [];
    return this.line("‖", trans.__("%1 stopped. %2", run.name, prompt(trans, wait)), [...buttons, timeline], dismiss);
  }

  private line(sign: string, says: string, buttons: HTMLElement[], dismiss?: () => void): HTMLElement {
    return h(
      "div",
      { class: "jp-durable-line" },
      icon(sign),
      h("span", { class: "jp-durable-says" }, says),
      ...buttons,
      dismiss &&
        button("✕", "dismiss", dismiss, {
          class: "jp-durable-button jp-mod-plain",
          "aria-label": this.trans.__("Dismiss"),
        }),
    );
  }
}
