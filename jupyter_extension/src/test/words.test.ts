import assert from "node:assert/strict";
import { test } from "node:test";

import { ago, fileName, money } from "../logic/words.js";

void test("figures for people", () => {
  assert.equal(ago(0, 7300, "en"), "2 hr. ago");
  assert.equal(ago(100, 130, "en"), "now");
  assert.equal(ago(200, 100, "en"), "now", "clocks differ");
  assert.equal(ago(0, 86_400, "en"), "yesterday");
  assert.deepEqual([0, 0.004, 2].map(money), ["", "$0.004", "$2.00"]);
  assert.equal(fileName("deep/a.ipynb"), "a.ipynb");
});
