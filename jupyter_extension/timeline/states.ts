// What steps and runs can be: signs, words, and the order in which they are told.

import type { Row } from "../src/types.js";

export type State = Row["status"];

/** After a sign: ▶ is an emoji where nothing says otherwise. */
export const TEXT = "\ufe0e";

/** The worst first: who looks for one looks for these. */
export const ORDER: State[] = ["failed", "in_doubt", "waiting", "running", "completed", "cancelled"];

/** From what is done to what is to come. */
export const METER: State[] = ["completed", "failed", "in_doubt", "waiting", "running", "cancelled"];

const STATES: Partial<Record<string, [icon: string, word: string]>> = {
  running: ["▶", "running"],
  waiting: ["‖", "waiting"],
  in_doubt: ["?", "in doubt"],
  completed: ["✓", "completed"],
  failed: ["✗", "failed"],
  cancelled: ["■", "cancelled"],
  interrupted: ["■", "interrupted"],
};

const KINDS: Partial<Record<string, string>> = {
  tool: "⚙",
  model: "✦",
  http: "⇄",
  mcp: "⬡",
  sleep: "☾",
  signal: "⚑",
  ask: "?",
  approval: "✋",
  run: "▣",
};

/** Icon and word of a step's or a run's state. */
export const stateOf = (status: string): [icon: string, word: string] => STATES[status] || ["•", status];

/** The sign of a kind of step. */
export const signOf = (kind: string): string => (KINDS[kind] || "•") + TEXT;
