// What can be done about runs, wherever a button for it is.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Dialog, InputDialog, Notification, showDialog } from "@jupyterlab/apputils";
import type { IDocumentManager } from "@jupyterlab/docmanager";
import type { INotebookTracker, NotebookPanel } from "@jupyterlab/notebook";
import type { TranslationBundle } from "@jupyterlab/translation";

import type { Live } from "./live.js";
import { isOver } from "./logic/runs.js";
import { tab } from "./renderer.js";
import type { Resumer } from "./resume.js";
import type { Page, Row, RunItem, Wait } from "./types.js";

export class Actions {
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly live: Live,
    private readonly tracker: INotebookTracker,
    private readonly documents: IDocumentManager | null,
    private readonly resumer: Resumer,
    private readonly inLab: boolean,
    private readonly trans: TranslationBundle,
  ) {}

  /** The run of that id, known or not. */
  run(id: unknown): RunItem | undefined {
    return typeof id === "string" ? this.live.runs.get(id) : undefined;
  }

  /** The newest run of the active cell. */
  ofActiveCell(): RunItem | undefined {
    const cell = this.tracker.activeCell;
    const path = this.tracker.currentWidget?.context.path;
    if (!cell || !path) return undefined;
    const { id, sharedModel, type } = cell.model;
    return this.live.runs.ofCell(plain(path), { id, type, source: sharedModel.getSource() });
  }

  /** Run its cell again; `prepared`: with the set-up cells before it. */
  async resume(run: RunItem, prepared = false): Promise<void> {
    await this.attempt(async () => {
      const panel = await this.notebook(run);
      if (panel) await this.resumer.resume(panel, run, prepared);
    });
  }

  /** Its notebook, with its cell in sight. */
  async reveal(run: RunItem): Promise<void> {
    await this.attempt(async () => {
      const panel = await this.notebook(run);
      if (panel) this.resumer.reveal(panel, run);
    });
  }

  /** Its timeline, in a tab. */
  open(id: string): void {
    const name = this.run(id)?.name ?? id.slice(0, 13);
    const area = this.inLab ? "main" : "right"; // in Notebook, a page has one document
    const known = [...this.app.shell.widgets(area)].find((widget) => widget.id === `jupyter-durable-${id}`);
    const widget = known ?? tab(this.live, id, name, this.trans);
    if (!known) this.app.shell.add(widget, area, { mode: "split-right" });
    this.app.shell.activateById(widget.id);
  }

  async decide(run: RunItem, wait: Wait, action: string): Promise<void> {
    if (action === "approve" || action === "reject" || action === "retry") {
      await this.attempt(async () => {
        await this.live.client.decide(run.id, { key: wait.key, action });
      });
    } else this.open(run.id); // there is a form for it
  }

  async cancel(run: RunItem): Promise<void> {
    if (isOver(run)) return;
    const asked = await showDialog({
      title: this.trans.__("End the run %1 for good?", run.name),
      body: this.trans.__("What is recorded stays, and nothing goes on with it."),
      buttons: [
        Dialog.cancelButton({ label: this.trans.__("Keep it") }),
        Dialog.warnButton({ label: this.trans.__("End it") }),
      ],
    });
    if (asked.button.accept) await this.attempt(() => this.live.client.cancel(run.id));
  }

  /** A run that goes on from a step of it, which a person chooses if it is not given. */
  async fork(run: RunItem, step?: string): Promise<void> {
    const { trans } = this;
    await this.attempt(async () => {
      const at = step ?? (await this.chooseStep(run));
      if (at === null) return;
      const made = await this.live.client.fork(run.id, at);
      const again = Object.entries(made.repeats).map(([name, times]) => (times > 1 ? `${name} ×${times}` : name));
      const says = [
        trans.__("%1 forked at step %2. Resume it in its notebook.", made.name, at),
        again.length ? trans.__("It may happen once more: %1.", again.join(", ")) : "",
      ];
      Notification.success(says.filter(Boolean).join(" "));
      await this.reveal(run);
    });
  }

  /** Save it as a file, secrets masked. */
  async export(run: RunItem, format = "html"): Promise<void> {
    await this.attempt(async () => {
      const { name, data } = await this.live.client.export(run.id, format);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(data);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  }

  async delete(run: RunItem): Promise<void> {
    const asked = await showDialog({
      title: this.trans.__("Delete the run %1?", run.name),
      body: this.trans.__("Its journal goes for good, with all results in it. What forks need of it stays."),
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: this.trans.__("Delete") })],
    });
    if (asked.button.accept) await this.attempt(() => this.live.client.delete(run.id));
  }

  private async chooseStep(run: RunItem): Promise<string | null> {
    const rows = new Map<number, Row>();
    for (let page = { feed: "", mark: 0, more: true } as Partial<Page>; page.more;) {
      page = await this.live.client.steps(run.id, page.feed ?? "", page.mark ?? 0);
      for (const row of page.rows ?? []) rows.set(row.n, row); // in the order in which they changed
    }
    const present = [...rows.values()].filter((row) => !row.old).sort((a, b) => b.n - a.n);
    const items = present.map((row) => `${row.id}  ${row.call ?? row.name}`);
    const chosen = await InputDialog.getItem({
      title: this.trans.__("Fork %1: from which step on?", run.name),
      label: this.trans.__("That step and what followed is made again; what is before it is taken over."),
      items,
      okLabel: this.trans.__("Fork"),
    });
    const at = chosen.button.accept && chosen.value !== null ? items.indexOf(chosen.value) : -1;
    return present[at]?.id ?? null;
  }

  /** Its notebook, opened if it is not; null: it is not among the server's files, which is said. */
  private async notebook(run: RunItem): Promise<NotebookPanel | null> {
    const path = run.path;
    if (path !== null) {
      const open = this.tracker.find((panel) => plain(panel.context.path) === path);
      const panel = open ?? (this.documents?.openOrReveal(path) as NotebookPanel | undefined);
      if (panel) {
        this.app.shell.activateById(panel.id);
        await panel.revealed;
        return panel;
      }
    }
    Notification.warning(
      this.trans.__(
        "The notebook of %1 cannot be opened from here: %2",
        run.name,
        run.notebook ?? this.trans.__("none"),
      ),
    );
    return null;
  }

  /** Do something, and say why if it is refused. */
  private async attempt(what: () => Promise<unknown>): Promise<void> {
    try {
      await what();
    } catch (error) {
      Notification.error(error instanceof Error ? error.message : String(error));
    }
  }
}

/** A path without its drive: runs know the file. */
export const plain = (path: string): string => path.replace(/^[A-Za-z]+:/, "").replace(/^\/+/, "");
