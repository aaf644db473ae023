// Runs and cells to say things about.

import type { CellLike } from "../logic/cells.js";
import type { RunItem, Wait } from "../types.js";

let last = 0;

export function run(given: Partial<RunItem> = {}): RunItem {
  const counts = { completed: 0, running: 0, waiting: 0, in_doubt: 0, failed: 0, cancelled: 0, replayed: 0 };
  last += 1;
  return {
    id: `018f0000-0000-7000-8000-${String(last).padStart(12, "0")}`,
    name: "research",
    status: "completed",
    live: false,
    cut: false,
    path: "a.ipynb",
    notebook: "/home/ada/a.ipynb",
    cell: "c1",
    created: 1,
    updated: 1,
    counts,
    done: 11,
    steps: 11,
    cost: 0,
    saved: 0,
    waits: [],
    left: false,
    ...given,
  };
}

export const wait = (given: Partial<Wait> = {}): Wait => ({
  key: "approval:1.0",
  kind: "approval",
  prompt: "approval of mail",
  actions: ["approve", "reject"],
  step: "1.0",
  ...given,
});

export const cell = (source: string, id = "c1", type = "code"): CellLike => ({ id, source, type });
