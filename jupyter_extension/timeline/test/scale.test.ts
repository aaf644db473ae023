import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { panned, Scale, tickFor, zoomed } from "../scale.js";
import * as sizes from "../sizes.js";
import { Track } from "../track.js";

const near = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-9, `${a} is not ${b}`);

void test("a night without a process is short, and work has the rest", () => {
  const scale = new Scale(
    [
      [0, 30],
      [40_030, 40_060],
      [90_000, null],
    ],
    90_060,
  );
  near(scale.x(0), 0);
  near(scale.x(90_060), 1);
  near(scale.x(15) - scale.x(0), 0.92 / 8);
  near(scale.x(20_000), scale.x(30));
  assert.deepEqual(
    scale.gaps.map((gap) => gap.seconds),
    [40_000, 49_940],
  );
  for (const seconds of [0, 10, 45, 119]) near(scale.worked(scale.at(seconds)), seconds);
});

void test("a run without a session has a place for everything", () => {
  const scale = new Scale([], 5);
  assert.deepEqual([scale.x(0), scale.x(5)], [0, 0]);
  near(scale.x(9), 1);
});

void test("what is pointed at stays, and nothing beyond the ends is seen", () => {
  const [a, b] = zoomed([0.2, 0.6], 0.5, 0.25);
  near(a + (b - a) * 0.25, 0.3);
  assert.deepEqual(zoomed([0.2, 0.6], 10, 0.5), [0, 1]);
  assert.deepEqual(panned([0.5, 0.75], 4), [0.75, 1]);
  assert.deepEqual(panned([0.5, 0.75], -4), [0, 0.25]);
});

void test("ticks are what people count in", () => {
  assert.deepEqual([tickFor(0.05, 10), tickFor(50, 5), tickFor(86_400 * 30, 10)], [0.005, 10, 86_400 * 3]);
});

void test("a step is found where it is drawn, and a few pixels beside it", () => {
  const step = { id: "1.0", lane: 1, kind: "tool", name: "f", status: "completed" as const };
  const rows = [
    { ...step, n: 0, at: 0, end: 10 },
    { ...step, n: 1, at: 50, end: 50 },
  ];
  const track = new Track(new Scale([[0, 100]], 100), [0, 1], 100, 100, 100);
  assert.deepEqual(
    [5, 12, 20, 52, 54, 56].map((x) => track.hit(x, [0, 1], rows)),
    [0, 0, -1, 1, 1, -1],
  );
});

void test("the style sheet has the sizes that drawing counts with", () => {
  const read = (name: string): string => readFileSync(`timeline/style/${name}.css`, "utf-8").replace(/\s+/g, " ");
  const css = read("steps") + read("lanes");
  const rule = (selector: string): string => css.slice(css.indexOf(`${selector} {`)).split("}")[0] ?? "";
  assert.match(rule(" .row"), new RegExp(`height: ${sizes.ROW}px;.* line-height: ${sizes.ROW}px;`));
  assert.match(rule(" .lane"), new RegExp(`height: ${sizes.LANE}px;`));
  assert.match(rule(" .lane .label"), new RegExp(`width: ${sizes.LABEL}px;`));
  const all = read("narrow");
  const narrow = all.slice(all.indexOf(`@container (max-width: ${sizes.NARROW}px)`));
  assert.match(narrow, new RegExp(`^@[^@]*\\.lane \\.label { width: ${sizes.LABEL_NARROW}px; }`));
});
