import assert from "node:assert/strict";
import { test } from "node:test";

import type { Page, Row, RunHead } from "../../src/types.js";
import { Filter } from "../filter.js";
import { Model } from "../model.js";
import { laneMove } from "../moves.js";

const row = (n: number, given: Partial<Row> = {}): Row => ({
  n,
  id: `1.${n}`,
  lane: 1,
  kind: "tool",
  name: "search",
  status: "completed",
  at: n,
  ...given,
});

function page(since: number, mark: number, rows: Row[], given: Partial<Page> = {}): Page {
  const run = { id: "r", name: "r", updated: mark, now: 0, steps: rows.length } as RunHead;
  return { v: 1, feed: "a", since, mark, run, lanes: [], rows, waits: [], ...given };
}

void test("a page that was missed is noticed, and the mark stays where it is sure", () => {
  const model = new Model(() => {});
  assert.equal(model.take(page(0, 3, [row(0)])).missed, false);
  assert.equal(model.take(page(5, 6, [row(2)])).missed, true);
  assert.equal(model.mark, 3);
  assert.equal(model.take(page(3, 6, [row(1)])).missed, false);
  assert.equal(model.mark, 6);
});

void test("a row that comes again keeps what it said, unless it is something else now", () => {
  const model = new Model(() => {});
  model.add(row(0, { call: "search('a')", says: "12 hits" }));
  model.add(row(0));
  assert.deepEqual([model.rows[0]?.call, model.rows[0]?.says], ["search('a')", "12 hits"]);
  model.add(row(0, { status: "failed" }));
  assert.deepEqual([model.rows[0]?.call, model.rows[0]?.says], ["search('a')", undefined]);
});

void test("another feed starts anew", () => {
  const model = new Model(() => {});
  model.take(page(0, 3, [row(0), row(1)]));
  model.take(page(0, 1, [row(0)], { feed: "b" }));
  assert.deepEqual([model.rows.length, model.mark, model.inLane.get(1)], [1, 1, [0]]);
});

void test("lanes come after those they are in", () => {
  const lane = (id: number, parent: number): Page["lanes"][number] => ({ id, parent, name: `${id}`, depth: 0 });
  const model = new Model(() => {});
  model.take(page(0, 1, [], { lanes: [lane(4, 1), lane(1, 0), lane(3, 2), lane(2, 1), lane(5, 99)] }));
  assert.deepEqual(model.order, [1, 2, 3, 4, 5]);
});

void test("filters say how many steps match, and of how many", () => {
  const model = new Model(() => {});
  model.take(page(0, 1, [row(0), row(1, { name: "mail", status: "failed" }), row(2, { status: "failed", old: true })]));
  const filter = new Filter();
  assert.deepEqual([filter.match(model), filter.shown], ["", null]);
  filter.toggle("failed");
  assert.deepEqual([filter.match(model), filter.shown], ["1 of 3", [1]], "what was left behind is not failed");
  filter.toggle("failed");
  filter.search = "search 1.2";
  assert.deepEqual([filter.match(model), filter.shown], ["1 of 3", [2]]);
});

void test("up and down lead to what went on at the same time", () => {
  const model = new Model(() => {});
  for (const one of [row(0), row(5, { at: 50 }), row(9, { at: 90 })]) model.add(one);
  for (const one of [row(3, { at: 30, lane: 2 }), row(6, { at: 55, lane: 2 })]) model.add(one);
  model.order = [1, 7, 2]; // nothing is in 7
  assert.equal(laneMove("ArrowDown", model.rows[5], model), 6);
  assert.equal(laneMove("ArrowRight", model.rows[9], model), 9);
  assert.equal(laneMove("End", undefined, model), 0);
  assert.equal(laneMove("x", model.rows[5], model), undefined);
});
