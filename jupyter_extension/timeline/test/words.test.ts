import assert from "node:assert/strict";
import { test } from "node:test";

import { count, money, reason, span } from "../words.js";

void test("durations have at most two units", () => {
  const given = [0, 0.0004, 0.0123, 0.9996, 1.25, 59.96, 60, 61.9, 3600, 5400, 86_400, 100_000];
  const said = ["0.0 ms", "0.4 ms", "12 ms", "1000 ms", "1.3 s", "60.0 s", "1 min", "1 min 1 s", "1 h", "1 h 30 min"];
  assert.deepEqual(given.map(span), [...said, "1 d", "1 d 3 h"]);
  assert.equal(span(-1), "", "clocks differ");
  assert.equal(span(NaN), "");
});

void test("money and tokens", () => {
  assert.deepEqual([0, 0.00042, 0.0099, 0.01, 12.3].map(money), ["$0", "$0.00042", "$0.0099", "$0.01", "$12.30"]);
  assert.deepEqual([999, 1000, 9999, 12_345, 1_500_000].map(count), ["999", "1.0k", "10.0k", "12k", "1.5M"]);
});

void test("an error says its message, whatever it is", () => {
  assert.deepEqual([new Error("no"), "gone", null].map(reason), ["no", "gone", "null"]);
});
