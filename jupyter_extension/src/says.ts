// What is said of runs, in the reader's language.

import type { TranslationBundle } from "@jupyterlab/translation";

import { asked, isResumable, position, stateOf } from "./logic/runs.js";
import { ago, money } from "./logic/words.js";
import type { RunItem, Wait } from "./types.js";

/** A status as a word. */
export function word(trans: TranslationBundle, status: RunItem["status"]): string {
  return {
    running: trans.__("running"),
    waiting: trans.__("waiting"),
    interrupted: trans.__("interrupted"),
    failed: trans.__("failed"),
    completed: trans.__("completed"),
    cancelled: trans.__("cancelled"),
  }[status];
}

/** Where a run stopped: "step 12 of 31". */
export function where(trans: TranslationBundle, run: RunItem): string {
  const { step, of } = position(run);
  return of === null ? trans.__("step %1", step) : trans.__("step %1 of %2", step, of);
}

/** What is asked of a person. */
export function prompt(trans: TranslationBundle, wait: Wait | undefined): string {
  if (!wait) return "";
  return wait.kind === "ask" ? trans.__("Asks you: %1", wait.prompt) : wait.prompt;
}

/** What a durable cell's badge says. */
export function badge(trans: TranslationBundle, run: RunItem | undefined, now: number): string {
  const state = stateOf(run);
  if (!run || state === "none") return trans.__("durable · not run");
  switch (state) {
    case "running":
      return trans.__("running · %1", where(trans, run));
    case "waiting":
      return prompt(trans, asked(run)[0]);
    case "resumable":
      return run.status === "waiting"
        ? trans.__("decided · resumable at %1", where(trans, run))
        : trans.__("resumable at %1", where(trans, run));
    case "failed":
      return trans._n(
        "failed after %1 step · run it again to go on",
        "failed after %1 steps · run it again to go on",
        run.done,
      );
    case "cancelled":
      return trans.__("cancelled after %1 steps", run.done);
    default:
      return [trans.__("done"), trans._n("%1 step", "%1 steps", run.steps), ago(run.updated, now)].join(" · ");
  }
}

/** A run in half a line: where it stopped, or how many steps it has. */
export function facts(trans: TranslationBundle, run: RunItem, now: number): string {
  const stopped = isResumable(run) && run.status !== "failed";
  const parts = [
    run.parent ? trans.__("fork") : "",
    stopped ? trans.__("stopped at %1", where(trans, run)) : trans._n("%1 step", "%1 steps", run.steps),
    money(run.cost),
    run.saved ? trans.__("%1 saved", money(run.saved)) : "",
    ago(run.updated, now),
  ];
  return parts.filter(Boolean).join(" · ");
}

/** What an action on a wait is called. */
export function action(trans: TranslationBundle, name: string): string {
  switch (name) {
    case "approve":
      return trans.__("Approve");
    case "reject":
      return trans.__("Reject");
    case "retry":
      return trans.__("It did not happen: retry");
    default:
      return trans.__("Answer…");
  }
}
