"""Code identity: what counts as the same code, and what is named when it is not."""

from __future__ import annotations

import json
import linecache
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from jupyter_durable.kernel.cells import CodeIdentity, changed, identify
from jupyter_durable.kernel.names import needs, parse
from jupyter_durable.kernel.statements import StatementLog


class Notebook:
    """A namespace in which cells run and are recorded."""

    cells = 0

    def __init__(self, *cells: str) -> None:
        self.ns: dict[str, Any] = {"__name__": "__main__"}
        self.log = StatementLog()
        for cell in cells:
            self.run(cell)

    def run(self, source: str) -> None:
        source = textwrap.dedent(source).strip("\n")
        Notebook.cells += 1
        name = f"<identity {Notebook.cells}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec", dont_inherit=True), self.ns)
        self.log.record(source)

    def identify(self, cell: str) -> CodeIdentity:
        return identify(textwrap.dedent(cell), self.ns, None, self.log)


def difference(cell: str, before: str, after: str) -> list[str]:
    """What `changed` names when `before` was executed again as `after`."""
    book = Notebook(before)
    old = book.identify(cell)
    book.run(after)
    return changed(old, book.identify(cell))


@pytest.mark.parametrize(
    "other",
    [
        "x = f(1,\n   2)  # twice\n\n\nprint( x )",
        "# note\nx = (f(1, 2)); print(x)",
        "%%durable research --new\nx = f(1, 2)\nprint(x)",
        "\n%%durable\nx = f(1, 2)\nprint(x)",
        "__durable_begin__('research')\nx = f(1, 2)\nprint(x)",
        "   x = f(0x1, 2)\n   print(x)",
    ],
)
def test_formatting_is_no_change(other: str) -> None:
    """Comments, formatting and the `%%durable` line do not change a cell."""
    assert identify(other, {}).digest == identify("x = f(1, 2)\nprint(x)", {}).digest


@pytest.mark.parametrize(
    "other",
    ["x = f(1, 2.0)", "x = f(1, True)", "x = f('1', 2)", "x = f(2, 1)", "y = f(1, 2)", "x = f(1, *2)", ""],
)
def test_code_is_a_change(other: str) -> None:
    """Values, their types, order and names do."""
    assert changed(identify("x = f(1, 2)", {}), identify(other, {})) == ["the cell"]


def test_docstrings_count() -> None:
    """A docstring is a tool's schema: changing it changes the code."""
    cell, before = "f()", "def f():\n    'searches'\n    return 1"
    assert difference(cell, before, before.replace("searches", "reads")) == ["f"]
    assert difference(cell, before, before.replace("return", "# note\n    return")) == []


def test_ipython_syntax() -> None:
    """Magics, shell lines, help and top-level await are code like any other."""
    cell = "!ls {folder}\n%time x = await f(1)\ny = !pwd\nprint?\n"
    assert identify(cell, {}).digest == identify(cell.replace("f(1)", "f( 1 )"), {}).digest
    assert changed(identify(cell, {}), identify(cell.replace("!ls", "!rm"), {})) == ["the cell"]
    assert "folder" in needs(parse(cell)).reads
    assert "f" in needs(parse(cell)).reads


def test_time_magic_holds_code() -> None:
    """The body of `%%time` is compared as code, not as text."""
    assert identify("%%durable\n%%time\nf( 1 ) # one", {}).cell == identify("%%time\nf(1)", {}).cell


def test_given_transform_is_used() -> None:
    """The shell's own transformer is asked about what is not Python."""
    identity = identify("go north", {}, lambda source: "go('north')")
    assert identity.cell == identify("go('north')", {}).cell


def test_syntax_error_has_an_identity() -> None:
    """A cell that does not parse has an identity of its own, and fails later as a cell does."""
    assert identify("def (", {}).digest == identify("def (", {}).digest
    assert identify("def (", {}).digest != identify("def [", {}).digest


SETUP = """
import functools, json as js
from dataclasses import dataclass
def policy(n): return {'n': n}
LIMIT = 3
def default(): return 1
def retry(n):
    def decorate(f):
        @functools.wraps(f)
        def wrapper(*a): return helper_in_wrapper(f(*a))
        return wrapper
    return decorate
def helper_in_wrapper(x): return x
class Base:
    def base(self): return in_base()
def in_base(): return 1
class Meta(type): pass
def note(): return int
class Agent(Base, metaclass=Meta):
    'an agent'
    @staticmethod
    def static(): return in_static()
    @classmethod
    def cls(cls): return [in_comprehension() for _ in 'a']
    @property
    def prop(self): return (lambda: in_lambda())()
    def method(self, x: note() = default()):
        def nested(): return in_nested()
        return nested()
def in_static(): return 1
def in_comprehension(): return 1
def in_lambda(): return 1
def in_nested(): return 1
agent = Agent()
@retry(2)
def search(q): return js.dumps(q)
def fetch(q): return q
TOOLS = {'fetch': fetch}
part = functools.partial(fetch, 1)
def make():
    def closed(): return in_closure()
    return closed
def in_closure(): return 1
closure = make()
square = lambda x: x * in_assigned_lambda()
def in_assigned_lambda(): return 1
def unused(): return 1
"""


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("search(1)", "search"),
        ("search(1)", "retry"),
        ("search(1)", "helper_in_wrapper"),
        ("Agent()", "Agent"),
        ("agent", "Agent"),
        ("[agent]; x = {'a': agent}", "Base"),
        ("agent", "in_base"),
        ("agent", "Meta"),
        ("agent", "in_static"),
        ("agent", "in_comprehension"),
        ("agent", "in_lambda"),
        ("agent", "in_nested"),
        ("agent", "default"),
        ("agent", "note"),
        ("TOOLS['fetch'](1)", "fetch"),
        ("part()", "fetch"),
        ("closure()", "in_closure"),
        ("square(2)", "square"),
        ("square(2)", "in_assigned_lambda"),
        ("def run(): return search(1)\nrun()", "search"),
        ("[f(1) for f in [search]]", "search"),
    ],
)
def test_reached_definitions_count(cell: str, name: str) -> None:
    """A definition the cell reaches, however indirectly, is part of its code, and is named when it changed."""
    tree = [n for n in parse(SETUP).body if name in needs(n).binds]
    assert len(tree) == 1
    again = {
        "search": "@retry(3)\ndef search(q): return js.dumps(q)",
        "square": "square = lambda x: x + in_assigned_lambda()",
        "Agent": "class Agent(Base, metaclass=Meta): 'another'",
        "Base": "class Base: pass",
        "Meta": "class Meta(type): x = 1",
    }.get(name, f"def {name}(*a): return 2")
    book = Notebook(SETUP)
    old = book.identify(cell)
    book.run(again)
    if name == "Agent":
        book.run("agent = Agent()")
    assert name in changed(old, book.identify(cell))


def test_unreached_definitions_do_not_count() -> None:
    """What the cell does not reach may change, and so may data."""
    cell = "search(1); agent; LIMIT"
    assert difference(cell, SETUP, "def unused(): return 2\nLIMIT = 4\ndef make(): pass") == []


def test_own_definitions_are_stable() -> None:
    """A cell that defines its helpers after their use is the same code when it runs a second time."""
    book = Notebook()
    cell = "def main(): return helper() + later\ndef helper(): return 1\nlater = 2\nx = main()"
    first = book.identify(cell)
    book.run(cell)
    assert book.identify(cell) == first
    assert first.missing == ()


def test_imports_count() -> None:
    """A name that is imported from elsewhere is another."""
    assert difference("load('1')", "from json import loads as load", "from pickle import loads as load") == [
        "load"
    ]
    assert difference("loads('1')", "from json import loads, dumps", "from json import loads") == []


def test_fresh_kernel_is_no_change() -> None:
    """In a kernel where nothing was restored yet, missing definitions are no change; the cell's text is."""
    old = Notebook(SETUP).identify("search(1)")
    fresh = identify("search(1)", {"__name__": "__main__"})
    assert fresh.missing == ("search",)
    assert changed(old, fresh) == []
    assert changed(old, identify("search(2)", {})) == ["the cell"]


def test_removed_part_is_a_change() -> None:
    """A tool that is no longer reached, everything being there, is a change that is named."""
    assert difference("tools", "def f(): pass\ndef g(): pass\ntools = [f, g]", "tools = [f]") == ["g"]


def test_registered_implementations_count() -> None:
    """What is registered with a function is part of it."""
    base = "from functools import singledispatch\n@singledispatch\ndef f(x): return 1\n"
    assert difference(
        "f(1)", base + "@f.register\ndef _(x: int): return 2", base + "@f.register\ndef _(x: int): return 3"
    ) == ["f"]


def test_modules_do_not_register() -> None:
    """`@durable.tool` on one function does not make every cell that uses `durable` depend on it."""
    book = Notebook("import functools\n@functools.lru_cache\ndef f(): return 1")
    assert set(book.identify("functools.reduce").parts) == {"functools"}


def test_without_source() -> None:
    """Functions made by exec are compared by their code; the same code is the same."""

    def made(source: str) -> CodeIdentity:
        ns: dict[str, Any] = {"__name__": "__main__"}
        exec(source, ns)
        return identify("f()", ns)

    assert made("def f(): return 1 in {1, 2, 'a'}") == made("\n\ndef f(): return 1 in {1, 2, 'a'}")
    assert changed(made("def f(): return 1"), made("def f(): return 2")) == ["f"]


def test_history_of_the_shell_is_enough() -> None:
    """Without a log, the cells in IPython's `In` say how definitions came about."""
    ns: dict[str, Any] = {"__name__": "__main__"}
    source = "class A:\n    x = 1"
    exec(source, ns)
    old = identify("A()", {**ns, "In": ["", source]})
    assert changed(old, identify("A()", {**ns, "In": ["", source.replace("1", "2")]})) == ["A"]


def test_local_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Local modules, and the local modules they import, are part of the code; installed ones are not."""
    package = tmp_path / "mine_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tools.py").write_text(
        "from . import deep\nimport json\nfrom mine_flat import x\ndef f(): return deep.g()"
    )
    (package / "deep.py").write_text("def g(): return 1  # one")
    (tmp_path / "mine_flat.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    book = Notebook("from mine_pkg.tools import f\nimport json")
    old = book.identify("f(); json")
    modules = {name for name in old.parts if name.startswith("module ")}
    assert modules == {"module mine_pkg", "module mine_pkg.tools", "module mine_pkg.deep", "module mine_flat"}
    (package / "deep.py").write_text("def g():\n    return 1")
    assert changed(old, book.identify("f(); json")) == []
    (package / "deep.py").write_text("def g():\n    return 22")
    assert changed(old, book.identify("f(); json")) == ["module mine_pkg.deep"]
    for name in list(sys.modules):
        if name.startswith("mine_"):
            del sys.modules[name]


def test_json_round_trip() -> None:
    """An identity survives JSON."""
    identity = Notebook(SETUP).identify("search(1), gone")
    assert CodeIdentity.from_json(json.loads(json.dumps(identity.to_json()))) == identity


def test_same_in_another_process() -> None:
    """Digests do not depend on the process: hash seeds, addresses and order of sets."""
    program = (
        "from jupyter_durable.kernel.cells import identify\n"
        "ns = {'__name__': '__main__'}\n"
        "exec(\"def f(): return 'x' in {'a', 'b', 'c', 'd'}\", ns)\n"
        'print(identify(\'f(1.5, {"a", "b"})\', ns).digest)'
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert len(found.pop().strip()) == 32


def test_usual_cell_is_fast() -> None:
    """To identify a usual cell over a usual notebook takes a few times what it takes to compile it."""
    book = Notebook(SETUP)
    cell = "\n".join(
        f"x{i} = search({i}); y{i} = [agent.method(x{i}) for _ in range({i})]" for i in range(25)
    )
    ours, floor = [], []
    for attempt in range(7):
        text = f"{cell}\nz = {attempt}"  # never the same, so that nothing is remembered
        start = time.thread_time()  # others may have the processor meanwhile
        book.identify(text)
        then = time.thread_time()
        compile(text, "cell", "exec")
        ours.append(then - start)
        floor.append(time.thread_time() - then)
    assert min(ours) < 10 * min(floor)
