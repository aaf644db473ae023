// Running the cell of a run again: in whatever state the notebook's kernel is.

import type { Cell } from "@jupyterlab/cells";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { NotebookActions } from "@jupyterlab/notebook";
import type { ISessionContext } from "@jupyterlab/apputils";
import { Notification } from "@jupyterlab/apputils";
import type { Kernel } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";
import { Signal } from "@lumino/signaling";

import type { CellLike } from "./logic/cells.js";
import { inTheWay, missing, placeOf, setUp } from "./logic/cells.js";
import type { RunItem } from "./types.js";

/** A resume that failed for want of names that could not be brought back. */
export interface Wanting {
  panel: NotebookPanel;
  run: RunItem;
  names: string[];
}

const PATIENCE = 120_000;
const SILENCE = 20_000;

/** The cells of a notebook, as the logic looks at them. */
export function cellsOf(panel: NotebookPanel): CellLike[] {
  return panel.content.widgets.map(({ model }) => ({
    id: model.id,
    type: model.type,
    source: model.sharedModel.getSource(),
  }));
}

export class Resumer {
  readonly wanting = new Signal<this, Wanting>(this);
  /** A run's cell is being run again, or not any more. */
  readonly changed = new Signal<this, void>(this);
  private under = new Set<string>();

  /** `moved`: whether anything has come of a run since it looked like that. */
  constructor(
    private readonly trans: TranslationBundle,
    private readonly moved: (run: RunItem) => boolean,
  ) {}

  /** Whether a run's cell is being run again. */
  isUnderWay(run: string): boolean {
    return this.under.has(run);
  }

  /** Bring a run's cell into sight. */
  reveal(panel: NotebookPanel, run: RunItem): Cell | null {
    const place = placeOf(run, cellsOf(panel));
    const cell = panel.content.widgets[place] ?? null;
    if (cell) {
      panel.content.activeCellIndex = place;
      void panel.content.scrollToItem(place, "smart");
    }
    return cell;
  }

  /**
   * Run the cell of `run` again, with the set-up cells before it if `prepared`. Throws what keeps it from being run.
   * Nothing else is executed: the run brings its names with it.
   */
  async resume(panel: NotebookPanel, run: RunItem, prepared = false): Promise<void> {
    if (this.under.has(run.id)) return;
    let watch = 0;
    this.mark(run, true);
    try {
      await panel.context.ready;
      const cell = this.reveal(panel, run);
      if (!cell) throw new Error(this.trans.__("The cell of %1 is not in this notebook any more.", run.name));
      const flag = inTheWay(cell.model.sharedModel.getSource());
      if (flag) {
        throw new Error(
          this.trans.__("The cell's first line says %1: take that out and run the cell, and it resumes.", flag),
        );
      }
      await this.kernel(panel);
      const { content, sessionContext } = panel;
      if (prepared) {
        const before = setUp(cellsOf(panel), content.widgets.indexOf(cell)).map((at) => content.widgets[at]);
        const these = before.filter((one): one is Cell => one !== undefined);
        if (these.length && !(await NotebookActions.runCells(content, these, sessionContext))) return;
      }
      content.activeCellIndex = content.widgets.indexOf(cell);
      watch = window.setInterval(() => this.silent(panel, run), SILENCE);
      if (await NotebookActions.runCells(content, [cell], sessionContext)) return;
      const names = missing(texts(cell));
      if (names.length && !prepared) this.wanting.emit({ panel, run, names });
    } finally {
      window.clearInterval(watch);
      this.mark(run, false);
    }
  }

  private mark(run: RunItem, under: boolean): void {
    if (under) this.under.add(run.id);
    else this.under.delete(run.id);
    this.changed.emit();
  }

  /** Some extensions that run cells in the server lose a kernel that has died, and never say so. */
  private silent(panel: NotebookPanel, run: RunItem): void {
    const busy = panel.sessionContext.session?.kernel?.status === "busy";
    if (busy || !this.under.has(run.id) || this.moved(run)) return;
    this.mark(run, false);
    Notification.warning(
      this.trans.__(
        "The cell of %1 was sent, and nothing came of it. Nothing is lost: shut the kernel down (menu Kernel) and resume again.",
        run.name,
      ),
    );
  }

  /** A kernel that answers, with our extension loaded: started if there is none, waited for while it restarts. */
  private async kernel(panel: NotebookPanel): Promise<void> {
    const { sessionContext } = panel;
    await sessionContext.ready;
    const began = Date.now();
    let looked = began;
    for (;;) {
      const kernel = sessionContext.session?.kernel;
      if (!kernel) await start(sessionContext);
      else if (kernel.status === "dead") await sessionContext.restartKernel();
      else if (kernel.connectionStatus !== "connected" && Date.now() - looked > 1000) {
        // A server that was started anew has no such kernel: the page would find out in its own time.
        looked = Date.now();
        await sessionContext.sessionManager.refreshRunning().catch(() => undefined);
      } else if (kernel.connectionStatus === "connected" && mayAnswer(kernel.status, Date.now() - began)) {
        // One that has just died is said to be busy for some seconds, and what is asked of it then is cancelled, or lost.
        const patience = kernel.status === "busy" ? PATIENCE / 2 : 5000;
        const late = new Promise<boolean>((done) => setTimeout(() => done(false), patience));
        if (await Promise.race([load(kernel).catch(() => false), late])) return;
      }
      if (Date.now() - began > PATIENCE) throw new Error(this.trans.__("The kernel does not answer."));
      await new Promise((done) => setTimeout(done, 100));
    }
  }
}

/** Whether a kernel of that status is worth asking. Some servers say of one that has died no more than that it starts. */
const mayAnswer = (status: Kernel.Status, waited: number): boolean =>
  status === "idle" || status === "busy" || (waited > 3000 && (status === "starting" || status === "unknown"));

/** A kernel where there is none: the one that is preferred may be gone, too. */
async function start(context: ISessionContext): Promise<void> {
  if (!(await context.startKernel())) return;
  const name = context.kernelPreference.name ?? context.specsManager.specs?.default;
  if (name) await context.changeKernel({ name });
}

/** `%load_ext`, which changes nothing where it was done before. */
async function load(kernel: Kernel.IKernelConnection): Promise<boolean> {
  const code = "get_ipython().extension_manager.load_extension('jupyter_durable')";
  await kernel.requestExecute({ code, silent: true, store_history: false, allow_stdin: false, stop_on_error: false })
    .done;
  return true;
}

/** What a cell's outputs say, as text. */
function texts(cell: Cell): string[] {
  const outputs = (cell.model.sharedModel as { outputs?: unknown }).outputs;
  const found: string[] = [];
  for (const output of Array.isArray(outputs) ? (outputs as Record<string, unknown>[]) : []) {
    const data = output.data as Record<string, unknown> | undefined;
    for (const text of [data?.["text/plain"], output.text, output.evalue]) {
      if (typeof text === "string") found.push(text);
      else if (Array.isArray(text)) found.push(text.join(""));
    }
  }
  return found;
}
