// The plugins: what JupyterLab and Notebook load, wired together. What decides anything is in logic/.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ILabShell, ILayoutRestorer } from "@jupyterlab/application";
import { ICommandPalette } from "@jupyterlab/apputils";
import { IDocumentManager } from "@jupyterlab/docmanager";
import { INotebookTracker } from "@jupyterlab/notebook";
import { IRenderMimeRegistry } from "@jupyterlab/rendermime";
import { ISettingRegistry } from "@jupyterlab/settingregistry";
import { IStatusBar } from "@jupyterlab/statusbar";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";

import { Actions, plain } from "./actions.js";
import { addCommands } from "./commands.js";
import { Live } from "./live.js";
import { Watched } from "./notebooks.js";
import { durableIcon, RunsPanel } from "./panel.js";
import { factory } from "./renderer.js";
import { Resumer } from "./resume.js";
import { PLUGIN, Preferences } from "./settings.js";
import { notify, Waiting } from "./status.js";
import type { Request } from "./timeline.js";

const plugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN,
  description: "The runs of durable cells: a panel, timelines in outputs, badges and notices in notebooks.",
  autoStart: true,
  requires: [INotebookTracker, IRenderMimeRegistry],
  optional: [IDocumentManager, ISettingRegistry, ITranslator, ICommandPalette, IStatusBar, ILayoutRestorer, ILabShell],
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    rendermime: IRenderMimeRegistry,
    documents: IDocumentManager | null,
    registry: ISettingRegistry | null,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    statusBar: IStatusBar | null,
    restorer: ILayoutRestorer | null,
    labShell: ILabShell | null,
  ): void => {
    const began = performance.now();
    const trans = (translator ?? nullTranslator).load("jupyter_durable");
    const live = new Live(app.serviceManager.serverSettings);
    const preferences = new Preferences();
    const resumer = new Resumer(trans, (run) => live.runs.get(run.id)?.updated !== run.updated);
    const actions = new Actions(app, live, tracker, documents, resumer, labShell !== null, trans);

    rendermime.addFactory(factory(live));
    addCommands(app, live, actions, tracker, preferences, palette, trans);
    live.command = (id, args) => {
      if (!app.commands.hasCommand(id)) return false;
      void app.commands.execute(id, args as never);
      return true;
    };
    listen(live);

    const panel = new RunsPanel(live, actions, trans);
    const here = (): void =>
      panel.setNotebook(tracker.currentWidget ? plain(tracker.currentWidget.context.path) : null);
    const place = (): void => {
      if (preferences.panel && !panel.isAttached) app.shell.add(panel, "left", { rank: 300, type: "Durable runs" });
      else if (!preferences.panel && panel.isAttached) panel.parent = null;
    };
    place();
    restorer?.add(panel, panel.id);
    tracker.currentChanged.connect((_, current) => {
      here();
      current?.context.pathChanged.connect(here);
    });
    tracker.widgetAdded.connect((_, notebook) => new Watched(notebook, live, actions, resumer, preferences, trans));
    preferences.changed.connect(place);
    const show = (): void => {
      if (labShell && labShell.leftCollapsed) labShell.expandLeft();
      app.shell.activateById(panel.id);
    };
    app.commands.addCommand("jupyter-durable:show-panel", {
      label: (args) => (args.toolbar ? "" : trans.__("Show Durable Runs")),
      caption: trans.__("Runs of durable cells: this notebook's, and all others"),
      icon: (args) => (args.toolbar ? durableIcon : undefined),
      isVisible: (args) => !args.toolbar || labShell === null, // Lab has the side bar's tab; Notebook shows none
      describedBy: { args: { type: "object", properties: {} } },
      execute: show,
    });
    palette?.addItem({ command: "jupyter-durable:show-panel", category: trans.__("Durable Runs") });
    if (statusBar) {
      const item = new Waiting(live, trans, show);
      statusBar.registerStatusItem("jupyter-durable:waiting", {
        item,
        align: "left",
        rank: 90,
        isActive: () => item.count > 0,
        activeStateChanged: item.activeChanged,
      });
    }
    notify(live, preferences, trans, (run) => actions.open(run));

    if (registry) void preferences.read(registry).catch(() => undefined); // as they are
    void app.restored.then(() => {
      here();
      return live.start();
    });
    performance.measure("jupyter-durable:activate", { start: began });
  },
};

/** The kernel's widget asks whoever is around it: the server answers while a cell keeps the kernel busy. */
function listen(live: Live): void {
  document.addEventListener("jupyter-durable:ask", (event) => {
    const detail = (event as CustomEvent<{ run: string; request: Request; result: unknown }>).detail;
    if (!live.there || !live.runs.get(detail.run)) return; // a run of another store: its kernel knows it
    event.preventDefault();
    detail.result = live.ask(detail.run, detail.request);
  });
  document.addEventListener("jupyter-durable:command", (event) => {
    const { id, args } = (event as CustomEvent<{ id: string; args: Record<string, unknown> }>).detail;
    if (live.command(id, args)) event.preventDefault();
  });
}

export default plugin;
