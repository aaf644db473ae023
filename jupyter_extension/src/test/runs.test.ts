import assert from "node:assert/strict";
import { test } from "node:test";

import * as runs from "../logic/runs.js";
import { cell, run, wait } from "./kit.js";

const events = (items: ReturnType<typeof run>[], more = {}): Parameters<runs.Runs["take"]>[0] => ({
  type: "runs",
  id: "e-1",
  runs: items,
  ...more,
});

void test("events replace, add and take away", () => {
  const known = new runs.Runs();
  const [one, two] = [run(), run()];
  assert.deepEqual(known.take(events([one, two], { all: true })), new Set([one.id, two.id]));
  assert.deepEqual(
    known.all().map((item) => item.id),
    [two.id, one.id],
    "newest first",
  );
  assert.deepEqual(known.take(events([{ ...one, name: "other" }])), new Set([one.id]));
  assert.equal(known.get(one.id)?.name, "other");
  known.take(events([], { gone: [two.id] }));
  assert.equal(known.get(two.id), undefined);
  const three = run();
  assert.deepEqual(
    known.take(events([three], { all: true })),
    new Set([one.id, three.id]),
    "what is not among all is gone",
  );
  known.add([{ ...three, name: "older" }, run()]);
  assert.equal(known.get(three.id)?.name, "research", "what is known is newer");
  assert.equal(known.all().length, 2);
});

void test("a badge says how the newest run stands", () => {
  assert.equal(runs.stateOf(undefined), "none");
  assert.equal(runs.stateOf(run()), "done");
  assert.equal(runs.stateOf(run({ status: "running", live: true })), "running");
  assert.equal(runs.stateOf(run({ status: "running", live: true, waits: [wait()] })), "waiting");
  assert.equal(runs.stateOf(run({ status: "waiting", live: false, waits: [wait({ kind: "sleep" })] })), "resumable");
  assert.equal(runs.stateOf(run({ status: "waiting", live: false })), "resumable", "decided while nobody was there");
  assert.equal(runs.stateOf(run({ status: "interrupted" })), "resumable");
  assert.equal(runs.stateOf(run({ status: "failed" })), "failed");
  assert.equal(runs.stateOf(run({ status: "cancelled" })), "cancelled");
});

void test("a position says how many steps are known only if that is more", () => {
  assert.deepEqual(runs.position(run({ done: 11, steps: 12 })), { step: 12, of: null });
  assert.deepEqual(runs.position(run({ done: 11, steps: 31 })), { step: 12, of: 31 });
});

void test("a notebook is told of runs that nobody advances, the newest of each cell", () => {
  const cells = [cell("%%durable research"), cell("%%durable mail", "c2")];
  const old = run({ status: "interrupted" });
  const cut = run({ status: "interrupted", cut: true });
  const asks = run({ name: "mail", status: "waiting", waits: [wait()] });
  const newestFirst = [asks, cut, old];
  const found = runs.notices(newestFirst, cells, new Set());
  assert.deepEqual(
    found.map((one) => [one.run.id, one.kind]),
    [
      [cut.id, "resume"],
      [asks.id, "decide"],
    ],
  );
  assert.deepEqual(runs.notices(newestFirst, cells, new Set(found.map((one) => one.key))), []);
  const moved = [asks, { ...cut, done: 12 }, old];
  assert.equal(runs.notices(moved, cells, new Set(found.map((one) => one.key))).length, 1, "again when it has moved");
  for (const none of [
    { live: true },
    { status: "completed" },
    { status: "failed" },
    { left: true },
    { headless: true },
  ] as const) {
    assert.deepEqual(
      runs.notices([run({ status: "interrupted", ...none })], [cell("%%durable research")], new Set()),
      [],
    );
  }
  assert.deepEqual(runs.notices([cut], [cell("%%durable other")], new Set()), [], "its cell is gone");
});

void test("only what died is resumed by itself, and once at a position", () => {
  const cells = [cell("%%durable research")];
  const stopped = runs.notices([run({ status: "interrupted" })], cells, new Set());
  assert.deepEqual(runs.automatic(stopped, new Set()), [], "somebody has stopped it");
  const died = run({ status: "interrupted", cut: true });
  const found = runs.notices([died], cells, new Set());
  assert.equal(runs.automatic(found, new Set()).length, 1);
  assert.deepEqual(runs.automatic(found, new Set([`${died.id}:${died.done}`])), []);
});

void test("filters", () => {
  const asks = run({ name: "mail", status: "waiting", waits: [wait()] });
  const match = (item: typeof asks, text: string, status: runs.Filter["status"] = ""): boolean =>
    runs.matches(item, { text, status });
  assert.ok(match(asks, "MAI"));
  assert.ok(match(asks, "a.ipynb"));
  assert.ok(match(asks, asks.id));
  assert.ok(!match(asks, "other"));
  assert.ok(match(asks, "", "waiting") && match(asks, "", "open") && !match(asks, "", "resumable"));
  assert.ok(
    match(run({ status: "failed" }), "", "resumable") && match(run(), "", "completed") && !match(run(), "", "open"),
  );
});

void test("everything that waits for a person, the longest first", () => {
  const known = new runs.Runs();
  const first = run({ status: "waiting", waits: [wait(), wait({ kind: "sleep", key: "s" })] });
  const second = run({ status: "running", live: true, waits: [wait({ kind: "ask" })] });
  const left = run({ status: "waiting", waits: [wait()], left: true });
  known.take(events([left, second, first, run()]));
  assert.deepEqual(
    known.waiting().map((one) => one.run.id),
    [first.id, second.id],
  );
});
