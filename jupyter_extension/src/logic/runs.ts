// The runs that the server has told of, and what is to be said of them.

import type { RunItem, RunsEvent, Wait } from "../types.js";
import type { CellLike } from "./cells.js";
import { isOf } from "./cells.js";

export type Status = RunItem["status"];
export type State = "none" | "running" | "resumable" | "waiting" | "done" | "failed" | "cancelled";

export const ICONS: Record<Status, string> = {
  running: "▶",
  waiting: "‖",
  interrupted: "■",
  failed: "✗",
  completed: "✓",
  cancelled: "■",
};

/** Waits that a person ends. */
export const asked = (run: RunItem): Wait[] => (run.left ? [] : run.waits.filter((wait) => wait.kind !== "sleep"));

/** Whether running its cell again goes on with it: nobody advances it, and nobody is asked anything first. */
export function isResumable(run: RunItem): boolean {
  if (run.live || run.left) return false;
  return run.status === "interrupted" || run.status === "failed" || (run.status === "waiting" && !asked(run).length);
}

export const isOver = (run: RunItem): boolean => run.status === "completed" || run.status === "cancelled";

/** What a durable cell's badge says of its newest run. */
export function stateOf(run: RunItem | undefined): State {
  if (!run) return "none";
  if (asked(run).length) return "waiting";
  if (run.live) return "running";
  if (run.status === "completed") return "done";
  if (run.status === "cancelled") return "cancelled";
  return run.status === "failed" ? "failed" : "resumable";
}

/** Where a resume goes on: the step, and how many are known if that is more. */
export function position(run: RunItem): { step: number; of: number | null } {
  const step = run.done + 1;
  return { step, of: run.steps > step ? run.steps : null };
}

/** Runs by id, as events tell them. */
export class Runs {
  private known = new Map<string, RunItem>();

  /** Take an event up; the ids of what is different now. */
  take(event: RunsEvent): Set<string> {
    const changed = new Set<string>();
    if (event.all) {
      const now = new Set(event.runs.map((run) => run.id));
      for (const id of this.known.keys()) if (!now.has(id)) changed.add(id);
      for (const id of changed) this.known.delete(id);
    }
    for (const id of event.gone ?? []) if (this.known.delete(id)) changed.add(id);
    for (const run of event.runs) {
      this.known.set(run.id, run);
      changed.add(run.id);
    }
    return changed;
  }

  /** More of them, from a list that was asked for. What is known is newer. */
  add(runs: RunItem[]): void {
    for (const run of runs) if (!this.known.has(run.id)) this.known.set(run.id, run);
  }

  get(id: string): RunItem | undefined {
    return this.known.get(id);
  }

  /** Newest first: ids are made of time. */
  all(): RunItem[] {
    return [...this.known.values()].sort((a, b) => (a.id < b.id ? 1 : a.id > b.id ? -1 : 0));
  }

  ofNotebook(path: string): RunItem[] {
    return this.all().filter((run) => run.path === path);
  }

  /** The newest run of a cell. */
  ofCell(path: string, cell: CellLike): RunItem | undefined {
    return this.ofNotebook(path).find((run) => !run.left && isOf(run, cell));
  }

  /** Everything that waits for a person, the longest first. */
  waiting(): { run: RunItem; wait: Wait }[] {
    return this.all()
      .reverse()
      .filter((run) => !isOver(run))
      .flatMap((run) => asked(run).map((wait) => ({ run, wait })));
  }
}

export interface Filter {
  text: string;
  status: "" | "open" | "waiting" | "resumable" | "failed" | "completed";
}

/** Whether a run is among those that are looked for. */
export function matches(run: RunItem, filter: Filter): boolean {
  const text = filter.text.trim().toLowerCase();
  if (
    text &&
    ![run.name, run.path ?? run.notebook ?? "", run.id, run.status].some((one) => one.toLowerCase().includes(text))
  )
    return false;
  switch (filter.status) {
    case "":
      return true;
    case "open":
      return !isOver(run);
    case "waiting":
      return asked(run).length > 0;
    case "resumable":
      return isResumable(run);
    default:
      return run.status === filter.status;
  }
}

export interface Notice {
  run: RunItem;
  kind: "resume" | "decide";
  key: string;
}

/**
 * What a notebook is to be told when it is open: runs of its cells that nobody advances. `dismissed` are keys of
 * notices that were closed; one comes again when its run has moved.
 */
export function notices(runs: RunItem[], cells: CellLike[], dismissed: ReadonlySet<string>): Notice[] {
  const found: Notice[] = [];
  for (const cell of cells) {
    const run = runs.find((one) => !one.left && isOf(one, cell));
    if (!run || run.live || run.headless || found.some((one) => one.run.id === run.id)) continue;
    const kind = asked(run).length ? "decide" : isResumable(run) && run.status !== "failed" ? "resume" : null;
    const key = `${run.id}:${run.done}:${run.updated}:${kind}`;
    if (kind && !dismissed.has(key)) found.push({ run, kind, key });
  }
  return found;
}

/**
 * Which runs to resume without being asked: those whose process ended without a word, once at each position, so
 * that a step which kills its kernel does not do so for ever.
 */
export function automatic(found: Notice[], tried: ReadonlySet<string>): Notice[] {
  return found.filter((one) => one.kind === "resume" && one.run.cut && !tried.has(`${one.run.id}:${one.run.done}`));
}
