import assert from "node:assert/strict";
import { test } from "node:test";

import type { Schema } from "../schema.js";
import { changed, resolve } from "../schema.js";

void test("references and optional types are followed to what a field is made for", () => {
  const root = {
    $defs: { Size: { type: "integer", minimum: 1 } },
    properties: { size: { anyOf: [{ $ref: "#/$defs/Size" }, { type: "null" }], title: "Size" } },
  };
  const found = resolve(root.properties.size, root);
  assert.deepEqual(found, { type: "integer", minimum: 1, title: "Size", nullable: true });
  assert.deepEqual(resolve({ type: ["string", "null"] }, {}), { type: "string", nullable: true });
});

void test("a schema that leads nowhere, or round in a circle, asks for JSON", () => {
  const circle = { $ref: "#" + "/a", a: { $ref: "#/a" } };
  assert.equal(resolve(circle, circle as Schema).type, undefined);
  assert.deepEqual(resolve({ $ref: "#/constructor/name" }, {}), {});
  assert.deepEqual(resolve(null as unknown as Schema, {}), {});
});

void test("only what was changed is sent: the rest may be dots for a secret", () => {
  assert.deepEqual(changed({ to: "a", key: "•••", list: [1] }, { to: "b", key: "•••", list: [1] }), { to: "b" });
  assert.deepEqual(changed(undefined, { to: "b" }), { to: "b" });
  assert.deepEqual(changed({ to: "a" }, undefined), {});
});
