// Commands: of the palette, of the cells' toolbars, and those that a timeline's buttons call.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import type { ICommandPalette } from "@jupyterlab/apputils";
import { refreshIcon } from "@jupyterlab/ui-components";
import type { INotebookTracker } from "@jupyterlab/notebook";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { CommandRegistry } from "@lumino/commands";

import type { Actions } from "./actions.js";
import type { Live } from "./live.js";
import { durableLine, freeName, madeDurable } from "./logic/cells.js";
import { isOver, isResumable } from "./logic/runs.js";
import { durableIcon } from "./panel.js";
import { cellsOf } from "./resume.js";
import type { Preferences } from "./settings.js";
import type { RunItem } from "./types.js";

const NOTHING = { args: { type: "object", properties: {} } } as const;
const A_RUN = {
  args: {
    type: "object",
    properties: { run: { type: "string", description: "The run's id; without it, the newest run of the active cell" } },
  },
} as const;

export function addCommands(
  app: JupyterFrontEnd,
  live: Live,
  actions: Actions,
  tracker: INotebookTracker,
  preferences: Preferences,
  palette: ICommandPalette | null,
  trans: TranslationBundle,
): void {
  const { commands } = app;
  const category = trans.__("Durable Runs");
  const meant = (args: { run?: unknown }): RunItem | undefined =>
    args.run === undefined ? actions.ofActiveCell() : actions.run(args.run);
  const add = (id: string, options: CommandRegistry.ICommandOptions, shown = true): void => {
    commands.addCommand(id, options);
    if (shown) palette?.addItem({ command: id, category });
  };

  add("jupyter-durable:resume", {
    label: trans.__("Resume the Run of This Cell"),
    caption: trans.__("Run the cell again: it goes on at the step that was cut off"),
    describedBy: A_RUN,
    isEnabled: (args) => {
      const run = meant(args);
      return run !== undefined && isResumable(run);
    },
    execute: async (args) => {
      const run = meant(args);
      if (run) await actions.resume(run);
    },
  });
  add("jupyter-durable:open", {
    label: trans.__("Open the Timeline of This Cell's Run"),
    describedBy: A_RUN,
    isEnabled: (args) => args.run !== undefined || actions.ofActiveCell() !== undefined,
    execute: (args) => {
      const id = typeof args.run === "string" ? args.run : actions.ofActiveCell()?.id;
      if (id) actions.open(id);
    },
  });
  add(
    "jupyter-durable:reveal",
    {
      label: trans.__("Go to the Cell of a Run"),
      describedBy: A_RUN,
      isEnabled: (args) => meant(args)?.path !== null && meant(args) !== undefined,
      execute: async (args) => {
        const run = meant(args);
        if (run) await actions.reveal(run);
      },
    },
    false,
  );
  add("jupyter-durable:cancel", {
    label: trans.__("Cancel the Run of This Cell…"),
    describedBy: A_RUN,
    isEnabled: (args) => {
      const run = meant(args);
      return run !== undefined && !isOver(run);
    },
    execute: async (args) => {
      const run = meant(args);
      if (run) await actions.cancel(run);
    },
  });
  add("jupyter-durable:fork", {
    label: trans.__("Fork the Run of This Cell…"),
    caption: trans.__("Another run that goes on from a step of it"),
    describedBy: {
      args: {
        type: "object",
        properties: {
          ...A_RUN.args.properties,
          step: { type: "string", description: "Where; without it, you are asked" },
        },
      },
    },
    isEnabled: (args) => {
      const run = meant(args);
      return run !== undefined && !run.live;
    },
    execute: async (args) => {
      const run = meant(args);
      if (run) await actions.fork(run, typeof args.step === "string" ? args.step : undefined);
    },
  });
  add("jupyter-durable:export", {
    label: (args) =>
      args.format === "json" || args.format === "otel"
        ? trans.__("Save the Run of This Cell as Data")
        : trans.__("Save a Report of This Cell's Run"),
    describedBy: {
      args: {
        type: "object",
        properties: { ...A_RUN.args.properties, format: { type: "string", enum: ["html", "json", "otel"] } },
      },
    },
    isEnabled: (args) => meant(args) !== undefined,
    execute: async (args) => {
      const run = meant(args);
      if (run) await actions.export(run, typeof args.format === "string" ? args.format : "html");
    },
  });
  add("jupyter-durable:delete", {
    label: trans.__("Delete the Run of This Cell…"),
    describedBy: A_RUN,
    isEnabled: (args) => {
      const run = meant(args);
      return run !== undefined && !run.live;
    },
    execute: async (args) => {
      const run = meant(args);
      if (run) await actions.delete(run);
    },
  });
  add("jupyter-durable:make-durable", {
    label: trans.__("Make This Cell Durable"),
    caption: trans.__("Put %%durable on its first line"),
    describedBy: NOTHING,
    isEnabled: () => {
      const model = tracker.activeCell?.model;
      return model?.type === "code" && durableLine(model.sharedModel.getSource()) === null;
    },
    execute: () => {
      const panel = tracker.currentWidget;
      const model = tracker.activeCell?.model;
      if (!panel || model?.type !== "code") return;
      const base =
        (panel.context.path.split("/").pop() ?? "run").replace(/\.ipynb$/, "").replace(/[^\w-]+/g, "-") || "run";
      const source = model.sharedModel.getSource();
      model.sharedModel.setSource(madeDurable(source, freeName(cellsOf(panel), base), preferences.capture));
    },
  });
  // The toolbar of a cell: one button that is there when it does something.
  add(
    "jupyter-durable:cell",
    {
      label: (args) => (args.toolbar ? "" : trans.__("Resume or Show This Cell's Run")),
      caption: () => {
        const run = actions.ofActiveCell();
        return run && isResumable(run)
          ? trans.__("Resume the run of this cell")
          : trans.__("Show the timeline of this cell's run");
      },
      icon: () => {
        const run = actions.ofActiveCell();
        return run && isResumable(run) ? refreshIcon : durableIcon;
      },
      describedBy: NOTHING,
      isVisible: () => actions.ofActiveCell() !== undefined,
      execute: async () => {
        const run = actions.ofActiveCell();
        if (!run) return;
        if (isResumable(run)) await actions.resume(run);
        else actions.open(run.id);
      },
    },
    false,
  );
  let before = "";
  const tell = (): void => {
    const run = actions.ofActiveCell();
    const now = `${run?.id ?? ""} ${run?.status ?? ""} ${run?.live ?? ""}`;
    if (now === before) return;
    before = now;
    for (const id of ["resume", "open", "cancel", "fork", "export", "delete", "cell", "make-durable"])
      commands.notifyCommandChanged(`jupyter-durable:${id}`);
  };
  live.changed.connect(tell);
  tracker.activeCellChanged.connect(tell);
}
