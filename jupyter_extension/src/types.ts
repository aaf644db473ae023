// Made by tools/write_types.py from the pydantic models' JSON schema. Do not edit.

export const MIME = "application/vnd.jupyter-durable.timeline.v1+json";

/** How many present steps have which status; `replayed`: of the completed, answered from the journal at least once. */
export interface Counts {
  completed: number;
  running: number;
  waiting: number;
  in_doubt: number;
  failed: number;
  cancelled: number;
  replayed: number;
}

/** What a person says about a wait; `key` is the wait's. `edit` approves with `value` for those arguments. */
export interface Decision {
  key: string;
  action: "approve" | "reject" | "edit" | "answer" | "retry" | "supply" | "fail" | "signal" | "raise";
  value?: JsonValue;
  message?: string;
}

/** A run is gone. `kept`: what its forks need of it stays until they go, too. */
export interface Deleted {
  deleted: boolean;
  kept: boolean;
}

/** A value of a step, or a part of it, as a reader may draw it without trusting it. */
export interface Detail {
  form: "text" | "table" | "image" | "messages" | "none";
  type: string;
  size: number;
  offset: number;
  next?: number;
  text?: string;
  columns?: string[];
  rows?: string[][];
  mime?: string;
  data?: string;
  markdown?: boolean;
}

/** Why a step in doubt counts as failed. */
export interface Fail {
  message: string;
}

/** Why something was refused. `hint`: the next step; `decided_by`: who was first. */
export interface Fault {
  message: string;
  hint?: string;
  decided_by?: string;
  reason?: string | null;
}

/** Send this run's pages from `mark` of `feed` on; another feed or none: from the beginning. */
export interface Follow {
  type: "follow";
  run: string;
  feed?: string;
  mark?: number;
}

/** Where a fork goes on: step `at` is made again, or with other `arguments`, or gives `result` without being made. */
export interface Fork {
  at: string;
  result?: JsonValue;
  arguments?: Record<string, JsonValue> | null;
}

/** A fork was made. It goes on when its cell is run. `repeats`: effects of the part left behind, by name. */
export interface Forked {
  run: string;
  name: string;
  replayed: number;
  repeats: Record<string, number>;
}

export type JsonValue = unknown;

/** A scope: one sequential strand. `step`: the step inside whose attempt it is. `depth` is 0 for the cell's own. */
export interface Lane {
  id: number;
  parent: number;
  name: string;
  depth: number;
  step?: string;
}

/** A line of `durable.log`. */
export interface Line {
  at: number;
  text: string;
}

/** A run that was to be followed is not there, or cannot be read. */
export interface LostEvent {
  type: "lost";
  run: string;
  message: string;
}

/** An empty object. */
export interface Nothing {

}

/** What changed between two marks of a feed. `more`: there is more, ask again. `left_out`: steps without a row here. */
export interface Page {
  v: 1;
  feed: string;
  since: number;
  mark: number;
  run: RunHead;
  lanes: Lane[];
  rows: Row[];
  waits: Wait[];
  more?: boolean;
  left_out?: number;
}

/** A page of a run that is followed. */
export interface PageEvent {
  type: "page";
  run: string;
  page: Page;
}

/** A decision was written. `by`: who it says decided. */
export interface Recorded {
  recorded: boolean;
  by: string;
  says: string;
}

/** A run this one was forked from, or that was forked from it, and at which entry of the journal. */
export interface Relative {
  id: string;
  name: string;
  status: "running" | "waiting" | "interrupted" | "failed" | "completed" | "cancelled";
  at: number;
  step?: string;
}

/** A step. `n` is its place in journal order, from 0; `id` is what people type. */
export interface Row {
  n: number;
  id: string;
  lane: number;
  kind: string;
  name: string;
  status: "running" | "waiting" | "in_doubt" | "completed" | "failed" | "cancelled";
  at: number;
  end?: number;
  took?: number;
  attempts?: number;
  replays?: number;
  effect?: string;
  given?: string;
  old?: boolean;
  taken?: boolean;
  call?: string;
  says?: string;
  model?: string;
  tokens?: number[];
  cost?: number;
  saved?: number;
  progress?: number;
  log?: Line[];
  text?: string;
  output?: boolean;
  wait?: Wait;
}

/** Rows with what they say of their values. */
export interface Rows {
  rows: Row[];
}

/** The run. `now` is when this was said, so that a reader's own clock need not be right. */
export interface RunHead {
  id: string;
  name: string;
  status: "running" | "waiting" | "interrupted" | "failed" | "completed" | "cancelled";
  now: number;
  created: number;
  updated: number;
  sessions: ([number, number | null])[];
  steps: number;
  counts: Counts;
  cost: number;
  saved: number;
  calls: number;
  tokens: number[];
  unpriced: number;
  notebook?: string;
  owner?: string;
  parent?: Relative;
  forks?: Relative[];
  progress?: number;
  log?: Line[];
  error?: string;
  line?: string;
}

/** A run in a list. */
export interface RunItem {
  id: string;
  name: string;
  status: "running" | "waiting" | "interrupted" | "failed" | "completed" | "cancelled";
  live: boolean;
  cut: boolean;
  path: string | null;
  notebook: string | null;
  cell: string | null;
  created: number;
  updated: number;
  counts: Counts;
  done: number;
  steps: number;
  cost: number;
  saved: number;
  waits: Wait[];
  left: boolean;
  parent?: string;
  headless?: boolean;
}

/** Runs, newest first. `next`: what to give as `before` for those that follow. */
export interface RunList {
  runs: RunItem[];
  next?: string;
}

/** Runs that are new or changed. `id`: say it as `last` when you come again. `all`: forget the others. */
export interface RunsEvent {
  type: "runs";
  id: string;
  runs: RunItem[];
  all?: boolean;
  gone?: string[];
}

/** A value under a name. Two with the same `once` are one. */
export interface Signal {
  name: string;
  value?: JsonValue;
  once?: string;
}

/** That the extension is there. `can`: which operations it has. */
export interface Status {
  version: string;
  can: string[];
}

/** The result of a step in doubt. */
export interface Supply {
  value: JsonValue;
}

/** Send no more of it. */
export interface Unfollow {
  type: "unfollow";
  run: string;
}

/** Something a person must say. `key` names the decision; the first one with that key stands. */
export interface Wait {
  key: string;
  kind: string;
  prompt: string;
  actions: string[];
  step?: string | null;
  schema?: Record<string, unknown> | null;
  value?: unknown;
  until?: number | null;
}
