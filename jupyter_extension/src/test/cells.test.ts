import assert from "node:assert/strict";
import { test } from "node:test";

import * as cells from "../logic/cells.js";
import { cell } from "./kit.js";

void test("only a first line that is the whole word makes a cell durable", () => {
  assert.equal(cells.durableLine("%%durable"), "");
  assert.equal(cells.durableLine("%%durable research --budget '$2'\nx"), "research --budget '$2'");
  assert.equal(cells.durableLine("%%durable \r\nx"), "");
  for (const other of ["%%durables a", "# c\n%%durable", " %%durable", "%durable list", ""])
    assert.equal(cells.durableLine(other), null);
  assert.equal(cells.isDurable(cell("%%durable", "c", "markdown")), false);
});

void test("the name is the first word that no option takes", () => {
  const names: [string, string | null][] = [
    ["%%durable research", "research"],
    ["%%durable --new research", "research"],
    ["%%durable --budget '$2.00' --approve 'send_*' \"my run\"", "my run"],
    ["%%durable --store a.db", null],
    ["%%durable --max-steps=3 x", "x"],
    ["%%durable", null],
    ["x = 1", null],
  ];
  for (const [source, name] of names) assert.equal(cells.nameOf(source), name, source);
});

void test("a run's cell is found by name, then by id; of two of a name, that with the id", () => {
  const these = [
    cell("%%durable a", "1"),
    cell("%%durable b", "2"),
    cell("%%durable", "3"),
    cell("%%durable a", "4"),
    cell("a", "5"),
  ];
  assert.equal(cells.placeOf({ name: "b", cell: "9" }, these), 1);
  assert.equal(cells.placeOf({ name: "a", cell: "4" }, these), 3);
  assert.equal(cells.placeOf({ name: "a", cell: null }, these), 0);
  assert.equal(cells.placeOf({ name: "whatever", cell: "3" }, these), 2);
  assert.equal(cells.placeOf({ name: "c", cell: "1" }, these), -1, "renamed: another run");
  assert.equal(cells.placeOf({ name: "c", cell: "5" }, these), -1, "no durable cell any more");
});

void test("set-up cells are the code above, without other durable cells", () => {
  const these = [
    cell("import x"),
    cell("# Title", "m", "markdown"),
    cell("%%durable a"),
    cell(" \n"),
    cell("y = 1"),
    cell("%%durable b"),
    cell("z"),
  ];
  assert.deepEqual(cells.setUp(these, 5), [0, 4]);
});

void test("what a resume could not bring back is read from the outputs", () => {
  const outputs = [
    "research: 3 of 4 replayed\nnot restored: client: nothing binds it",
    "not restored: lock: it cannot be pickled: x",
    "fine",
  ];
  assert.deepEqual(cells.missing(outputs), ["client", "lock"]);
  assert.deepEqual(cells.missing(["NameError: name 'x' is not defined"]), []);
});

void test("options that would not resume are named", () => {
  assert.equal(cells.inTheWay("%%durable a --new"), "--new");
  assert.equal(cells.inTheWay("%%durable --resume=018f a"), "--resume=018f");
  assert.equal(cells.inTheWay("%%durable newest"), null);
});

void test("a cell is made durable with a name that is free, and what the settings capture", () => {
  const these = [cell("%%durable run"), cell("%%durable run-2")];
  assert.equal(cells.freeName(these), "run-3");
  const all = ["tools", "models", "http", "mcp"];
  assert.equal(cells.madeDurable("x", "a", all), "%%durable a\nx");
  assert.equal(cells.madeDurable("x", "a", ["http", "tools"]), "%%durable a --capture tools,http\nx");
  assert.equal(cells.madeDurable("x", "a", []), "%%durable a --no-capture\nx");
  assert.equal(cells.madeDurable("%%durable b\nx", "a", all), "%%durable b\nx");
});
