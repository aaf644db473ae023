// That what people read can be translated: it goes through the translator, as literals that its tools find.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import ts from "typescript";

const SRC = new URL("../../src/", import.meta.url);
const WORDS = /\p{L}{2}/u;
/** Properties, attributes and arguments that are shown, or read aloud. */
const SHOWN = new Set(["label", "caption", "title", "placeholder", "aria-label", "body", "textContent", "text"]);
const SAYING = new Set(["button", "success", "warning", "error", "info", "Error"]);

/** Literals in an expression that are shown as they stand: what is handed to a function is the function's affair. */
function* literals(node: ts.Node): Iterable<ts.Node> {
  if (ts.isCallExpression(node) || ts.isNewExpression(node) || ts.isFunctionLike(node)) return;
  if (ts.isElementAccessExpression(node) || ts.isPropertyAccessExpression(node)) return;
  if (ts.isBinaryExpression(node) && /^[!=<>]/.test(node.operatorToken.getText())) return;
  if (ts.isConditionalExpression(node)) {
    yield* literals(node.whenTrue);
    yield* literals(node.whenFalse);
    return;
  }
  if (ts.isStringLiteralLike(node) && WORDS.test(node.text)) yield node;
  if (ts.isTemplateExpression(node)) {
    if ([node.head, ...node.templateSpans.map((one) => one.literal)].some((one) => WORDS.test(one.text))) yield node;
  }
  for (const child of node.getChildren()) yield* literals(child);
}

function* faults(node: ts.Node): Iterable<ts.Node> {
  const called = ts.isCallExpression(node) || ts.isNewExpression(node) ? node.expression : undefined;
  const name = called && (ts.isPropertyAccessExpression(called) ? called.name.text : called.getText());
  const given = ts.isCallExpression(node) || ts.isNewExpression(node) ? [...(node.arguments ?? [])] : [];
  if (name === "__" || name === "_n") {
    for (const text of given.slice(0, name === "_n" ? 2 : 1)) if (!ts.isStringLiteral(text)) yield text;
  } else if (name === "h") for (const child of given.slice(2)) yield* literals(child);
  else if (name && SAYING.has(name) && given[0]) yield* literals(given[0]);
  if (ts.isPropertyAssignment(node) && SHOWN.has(node.name.getText().replace(/"/g, ""))) {
    yield* literals(node.initializer);
  }
  if (ts.isBinaryExpression(node) && ts.isPropertyAccessExpression(node.left) && SHOWN.has(node.left.name.text)) {
    yield* literals(node.right);
  }
  for (const child of node.getChildren()) yield* faults(child);
}

const found = (name: string, text: string): string[] =>
  [...faults(ts.createSourceFile(name, text, ts.ScriptTarget.ESNext, true))].map((one) => `${name}: ${one.getText()}`);

void test("everything that is shown goes through the translator", () => {
  const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter(
    (name) => name.endsWith(".ts") && !name.startsWith("test/"),
  );
  assert.ok(files.length > 10);
  assert.deepEqual(
    files.flatMap((name) => found(name, readFileSync(new URL(name, SRC), "utf8"))),
    [],
  );
});

void test("what does not is found", () => {
  const told = (text: string): number => found("a.ts", text).length;
  assert.equal(told('button("Resume", key, go)'), 1);
  assert.equal(told('h("p", { title: open ? "Close" : trans.__("Open") }, `${n} steps`)'), 2);
  assert.equal(told("trans.__(`stopped at ${n}`)"), 1);
  assert.equal(told('throw new Error("no such cell")'), 1);
  assert.equal(told('h("p", { class: "one two" }, trans.__("%1 steps", n), `${n} · ${m}`)'), 0);
});
