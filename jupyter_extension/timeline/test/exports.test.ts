import assert from "node:assert/strict";
import { test } from "node:test";

import type * as Described from "../../src/timeline.js";
import * as renderer from "../index.js";

void test("it is what the Lab extension, anywidget and reports are told that it is", () => {
  const described: typeof Described = renderer;
  const names = ["default", "form", "markdown", "money", "mount", "render", "span", "still"];
  assert.deepEqual(Object.keys(described).sort(), names);
  assert.deepEqual(Object.keys(renderer.default), ["render"]);
});
