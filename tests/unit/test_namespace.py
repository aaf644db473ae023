"""Capture in one namespace, restore in another that knows nothing: what a fresh kernel does."""

from __future__ import annotations

import hashlib
import linecache
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_durable.codec.canonical import Canonical
from jupyter_durable.errors import DurableError, EncodingError
from jupyter_durable.kernel.namespace import (
    Restored,
    Snapshot,
    StatementLog,
    capture,
    differing,
    fingerprint,
    inputs_of,
    reset_names,
    restore,
)


def digest(value: Any) -> bytes:
    """Stands for the codec's digest."""
    return hashlib.blake2b(repr(value).encode(), digest_size=16).digest()


class Notebook:
    """A namespace in which cells run and are recorded, as in a kernel."""

    cells = 0

    def __init__(self) -> None:
        self.ns: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self.log = StatementLog()

    def run(self, source: str, *, record: bool = True) -> None:
        source = textwrap.dedent(source).strip("\n")
        Notebook.cells += 1
        name = f"<cell {Notebook.cells}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec", dont_inherit=True), self.ns)
        if record:
            self.log.record(source)

    def capture(self, cell: str, **options: Any) -> Snapshot:
        return capture(textwrap.dedent(cell), self.ns, self.log, digest, **options)

    def restore(self, snapshot: Snapshot, **options: Any) -> Restored:
        self.executed: list[str] = []

        def execute(source: str) -> None:
            self.executed.append(source)
            self.run(source, record=False)

        stored = Snapshot.from_value(snapshot.to_value())
        return restore(stored, self.ns, shell_exec=execute, log=self.log, **options)


def moved(cell: str, *cells: str) -> tuple[Notebook, Restored]:
    """Run `cells`, capture what `cell` needs, restore it in a fresh notebook and run `cell` there."""
    old = Notebook()
    for source in cells:
        old.run(source)
    new = Notebook()
    restored = new.restore(old.capture(cell))
    new.run(cell)
    return new, restored


def test_rebinding_reaches_restored_functions() -> None:
    """A restored function sees the new value of a global, and a helper that was defined again."""
    new, _ = moved(
        "before = tool()",
        """
        CFG = 2
        def helper(x): return x * 100
        def tool(): return helper(CFG) + CFG
        """,
    )
    assert new.ns["before"] == 202
    new.run("CFG = 20\ndef helper(x): return -x")
    new.run("after = tool()")
    assert new.ns["after"] == 0


def test_last_definition_wins() -> None:
    """Of two definitions of a name the later one is restored, also when a cell failed before a third."""
    old = Notebook()
    old.run("def f(): return 1")
    old.run("def f(): return 2")
    failing = "def other(): return 0\nraise ValueError\ndef f(): return 3"
    with pytest.raises(ValueError):
        old.run(failing)
    old.log.record(failing, failed_line=2)
    new = Notebook()
    new.restore(old.capture("f()"))
    assert new.ns["f"]() == 2
    assert old.log.last("other") is not None


def test_failed_redefinition_is_seen_without_a_line() -> None:
    """A definition that was recorded but never executed does not stand for the function that is there."""
    old = Notebook()
    old.run("def f(): return 1")
    old.log.record("raise ValueError\ndef f(): return 2")
    new = Notebook()
    new.restore(old.capture("f()"))
    assert new.ns["f"]() == 1


def test_isinstance_and_methods() -> None:
    """Restored instances belong to the restored class, whose methods see the namespace."""
    new, _ = moved(
        "ok = isinstance(agent, Agent) and agent.ask('q')",
        """
        SUFFIX = '!'
        class Base:
            def shout(self, x): return x.upper() + SUFFIX
        class Agent(Base):
            kind = 'agent'
            def __init__(self, name): self.name = name
            @staticmethod
            def helper(x): return clean(x)
            @property
            def title(self): return self.name
            def ask(self, q): return self.title + self.shout(self.helper(q))
        def clean(x): return x.strip()
        agent = Agent('a')
        """,
    )
    assert new.ns["ok"] == "aQ!"
    assert set(new.ns) >= {"Base", "Agent", "clean", "SUFFIX", "agent"}


def test_instances_bring_their_class() -> None:
    """A class that only data leads to is restored as a definition, wherever the data holds it."""
    new, _ = moved(
        "names = [type(h).__name__ for h in state['hits']]; same = type(state['hits'][0]) is Hit",
        """
        from dataclasses import dataclass, field
        @dataclass
        class Hit:
            text: str
            tags: list = field(default_factory=list)
        state = {'hits': [Hit('a'), Hit('b', [1])]}
        """,
    )
    assert new.ns["names"] == ["Hit", "Hit"]
    assert new.ns["same"]
    assert new.ns["state"]["hits"][1] == new.ns["Hit"]("b", [1])


def test_deeply_hidden_class_is_found() -> None:
    """What only pickling finds, far inside a value, is captured all the same."""
    new, _ = moved(
        "value = data[-1].v",
        """
        class Deep:
            def __init__(self, v): self.v = v
        data = [{'n': [i]} for i in range(9000)] + [Deep(7)]
        """,
    )
    assert new.ns["value"] == 7
    assert isinstance(new.ns["data"][-1], new.ns["Deep"])


def test_aliasing_is_kept() -> None:
    """What two names, or a name and an attribute, share stays one object."""
    new, _ = moved(
        "same = agent.memory is messages and box[0] is messages",
        """
        class Agent: pass
        messages = [{'role': 'user'}]
        agent = Agent(); agent.memory = messages
        box = [messages]
        """,
    )
    assert new.ns["same"]


FAKE_OPENAI = """
import threading
class OpenAI:
    made = 0
    def __init__(self, base_url=None, **options):
        self.base_url, self.lock = base_url, threading.Lock()
        OpenAI.made += 1
"""


@pytest.fixture
def openai(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package of that name: constructors are judged by where their class comes from."""
    (tmp_path / "openai.py").write_text(FAKE_OPENAI)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "openai", raising=False)
    yield
    sys.modules.pop("openai", None)


def test_objects_holding_clients(openai: Any) -> None:
    """A client is made again by its statement, and what held it holds the new one."""
    new, restored = moved(
        "same = agent.client is oai and tools['c'] is oai; url = oai.base_url",
        """
        from openai import OpenAI
        URL = 'http://x/v1'
        oai = OpenAI(base_url=URL)
        class Agent:
            def __init__(self, client): self.client = client
        agent = Agent(oai)
        tools = {'c': oai}
        """,
    )
    assert new.ns["same"]
    assert new.ns["url"] == "http://x/v1"
    assert restored.re_executed == ("oai = OpenAI(base_url=URL)",)
    assert restored.missing == {}


def test_anonymous_client_is_named_as_missing(openai: Any) -> None:
    """An object whose client has no name of its own is missing, and the notice says which statement made it."""
    old = Notebook()
    old.run(
        "from openai import OpenAI\nclass Agent:\n    def __init__(self, c): self.c = c\nagent = Agent(OpenAI())"
    )
    snapshot = old.capture("agent.c")
    assert "agent" in snapshot.missing
    assert "agent = Agent(OpenAI())" in snapshot.missing["agent"]


def test_locks_are_made_again() -> None:
    """Locks and synchronisation primitives come back; a constructor with an unknown call in it does not run."""
    _, restored = moved(
        "with lock: pass\nqueue, local, guard",
        """
        import threading, queue as q
        lock = threading.Lock()
        guard = threading.RLock()
        queue = q.SimpleQueue()
        local = threading.local()
        """,
    )
    assert sorted(restored.re_executed) == [
        "guard = threading.RLock()",
        "local = threading.local()",
        "lock = threading.Lock()",
        "queue = q.SimpleQueue()",
    ]
    old = Notebook()
    old.run(
        "import queue\nclass L(list): pass\ndef pay(): return 3\nbad = queue.SimpleQueue()\nimport threading"
    )
    old.run("s = threading.Semaphore(pay())")
    assert set(old.capture("s").missing) == {"s"}


def test_generator_is_missing_and_named() -> None:
    """A generator is not captured; the notice names it and how to make it again, and nothing else suffers."""
    old = Notebook()
    old.run("rows = [1, 2]\ngen = (r for r in rows)\nholder = {'g': gen, 'n': 1}")
    snapshot = old.capture("next(gen); print(rows, holder)")
    assert set(snapshot.missing) == {"gen"}
    assert "generator" in snapshot.missing["gen"]
    assert "gen = (r for r in rows)" in snapshot.missing["gen"]
    new = Notebook()
    restored = new.restore(snapshot)
    assert new.ns["rows"] == [1, 2]
    assert new.ns["holder"]["n"] == 1
    assert "gen" not in new.ns
    assert set(restored.missing) == {"gen"}
    with pytest.raises(DurableError, match="gen"):
        new.ns["holder"]["g"].send(None)


def test_open_is_never_executed_again(tmp_path: Path) -> None:
    """Restoring never opens a file for writing: what is in it stays."""
    path = tmp_path / "report.txt"
    old = Notebook()
    old.run(f"PATH = {str(path)!r}\nout = open(PATH, 'w')\nout.write('paid for')\nout.flush()")
    snapshot = old.capture("out.write('more'); print(PATH)")
    old.ns["out"].close()
    new = Notebook()
    restored = new.restore(snapshot)
    assert path.read_text() == "paid for"
    assert set(restored.missing) == {"out"}
    assert not any("open(" in source for source in new.executed)


def test_decorators() -> None:
    """Decorated functions are decorated again, by notebook decorators with arguments, data and wraps."""
    new, _ = moved(
        "result = (search(1), fetch(2), late(3), cached(4), cached.cache_info().misses)",
        """
        import functools
        POLICY = {'add': 10}
        calls = []
        def retry(policy):
            def decorate(f):
                @functools.wraps(f)
                def wrapper(x):
                    calls.append(f.__name__)
                    return f(x) + policy['add']
                return wrapper
            return decorate
        class Tool:
            def __init__(self, f): self.fn = f; functools.update_wrapper(self, f)
            def __call__(self, x): return ('tool', self.fn(x))
        @retry(POLICY)
        def search(x): return x
        @Tool
        def fetch(x): return x
        def late(x): return x
        late = retry({'add': 5})(late)
        @functools.lru_cache
        def cached(x): return x
        """,
    )
    assert new.ns["result"] == (11, ("tool", 2), 8, 4, 1)
    assert new.ns["calls"] == ["search", "late"]


def test_closures_lambdas_partials_recursion() -> None:
    """Functions made by functions keep their cells, share them, and see the namespace's globals."""
    new, _ = moved(
        "result = (bump(), bump(), peek(), double(4), add3(1), fact(5), inner(3), table['neg'](SCALE))",
        """
        from functools import partial
        SCALE = 10
        def counter():
            n = 0
            def bump():
                nonlocal n; n += 1
                return n * SCALE
            def peek(): return n
            return bump, peek
        bump, peek = counter()
        double = lambda x: x * 2 * unit
        unit = 1
        def add(a, b): return a + b
        add3 = partial(add, 3)
        def fact(n): return 1 if n < 2 else n * fact(n - 1)
        def make():
            def rec(n): return n if n < 1 else rec(n - 1) + SCALE
            return rec
        inner = make()
        table = {'neg': lambda x: -x * unit}
        """,
    )
    assert new.ns["result"] == (10, 20, 2, 8, 4, 120, 30, -10)
    new.run("SCALE = 1; unit = 3")
    new.run("again = (bump(), double(1), inner(3))")
    assert new.ns["again"] == (3, 6, 3)


def test_imports() -> None:
    """`import a.b`, `as`, `from … import … as …` and star imports come back as the names they bound."""
    new, _ = moved(
        "r = (js.dumps(1), dt(2020, 1, 1).year, os.path.join('a', 'b'), xml.dom.minidom, xml.sax.__name__, sqrt(4), area(1))",
        """
        import json as js
        from datetime import datetime as dt, timedelta
        import os.path
        import xml.dom.minidom
        import xml.sax
        from math import *
        def area(r): return floor(pi * r)
        """,
    )
    assert new.ns["r"][:3] == ("1", 2020, "a/b")
    assert new.ns["r"][5:] == (2.0, 3)
    assert "timedelta" not in new.ns


def test_conditional_definitions() -> None:
    """Of definitions in branches, the one that was executed is restored, without executing the condition."""
    new, _ = moved(
        "r = (f(), g.__name__, h())",
        """
        flags = []
        def check(): flags.append(1); return False
        if check():
            def f(): return 'yes'
        else:
            def f(): return 'no'
        try:
            import does_not_exist as g
        except ImportError:
            import json as g
        with open(__import__('os').devnull):
            def h(): return 1
        """,
    )
    assert new.ns["r"] == ("no", "json", 1)
    assert "flags" not in new.ns


def test_names_bound_first_are_not_needed() -> None:
    """What the cell binds before it reads it is not captured; what a branch may leave unbound is."""
    old = Notebook()
    old.run("a = b = c = d = e = f = 1\ndef helper(): return e")
    snapshot = old.capture(
        """
        a = 2
        for d in range(3): a += d
        if a: b = 1
        def main(): return helper() + a
        def helper(): return f
        print(a, b, [c for c in range(2)])
        main()
        """
    )
    assert set(snapshot.names) == {"b", "f"}


def test_only_missing_names_are_set() -> None:
    """Names the user has set are never overwritten; those listed in `overwrite` are, absent ones deleted."""
    old = Notebook()
    old.run("a = [1]\nb = 2")
    snapshot = old.capture("print(a, b, extra)")
    assert snapshot.absent == ("extra",)
    new = Notebook()
    new.run("b = 'mine'\nextra = 'left'")
    assert new.restore(snapshot).names == ("a",)
    assert (new.ns["a"], new.ns["b"], new.ns["extra"]) == ([1], "mine", "left")
    new.run("a.append(2)")
    assert set(new.restore(snapshot, overwrite=snapshot.names).names) == {"a", "b"}
    assert (new.ns["a"], new.ns["b"]) == ([1], 2)
    assert "extra" not in new.ns


def test_statement_for_one_name_leaves_the_others() -> None:
    """Executing a statement again for one name does not touch another it also binds."""
    old = Notebook()
    old.run("from json import dumps, loads\nif True:\n    def one(): return 1\n    def two(): return 2")
    snapshot = old.capture("dumps(one())")
    new = Notebook()
    new.run("loads = 'mine'; two = 'mine'")
    new.restore(snapshot)
    assert (new.ns["loads"], new.ns["two"], new.ns["one"]()) == ("mine", "mine", 1)


def test_defaults_and_registries_in_order() -> None:
    """Data that definitions need while they are executed is there in time, and has its captured content."""
    new, _ = moved(
        "r = (TOOLS['f'](), f.__defaults__[0] is CFG, REG)",
        """
        CFG = {'k': 1}
        REG = []
        def register(x): REG.append(x.__name__); return x
        @register
        def f(cfg=CFG): return cfg['k']
        TOOLS = {'f': f}
        """,
    )
    assert new.ns["r"] == (1, True, ["f"])


@pytest.mark.parametrize("wrap", ["f", "functools.wraps(f)(lambda *a: f(*a))"])
def test_tool_registry(wrap: str) -> None:
    """A registry that a decorator fills, the commonest circle, comes back with the functions that are there."""
    new, restored = moved(
        "r = (search(1), TOOLS['search'](1), TOOLS['search'] is search, list(TOOLS))",
        f"""
        import functools
        TOOLS = {{}}
        def tool(f):
            made = {wrap}
            TOOLS[f.__name__] = made
            return made
        @tool
        def search(q): return ('s', q, len(TOOLS))
        @tool
        def fetch(q): return ('f', q)
        """,
    )
    assert restored.missing == {}
    assert new.ns["r"] == (("s", 1, 2), ("s", 1, 2), True, ["search", "fetch"])


def test_agent_that_registers_its_tools() -> None:
    """`@agent.tool`: the agent is restored with its tools, each registered once, under the names they have."""
    new, restored = moved(
        "r = (agent.run('x'), agent.tools[0] is search, len(agent.tools))",
        """
        class Agent:
            def __init__(self): self.tools = []
            def tool(self, f): self.tools.append(f); return f
            def run(self, q): return [t(q) for t in self.tools]
        agent = Agent()
        @agent.tool
        def search(q): return q + SUFFIX
        @agent.tool
        def fetch(q): return search(q) + '?'
        SUFFIX = '!'
        """,
    )
    assert restored.missing == {}
    assert new.ns["r"] == (["x!", "x!?"], True, 2)
    new.run("SUFFIX = '.'\nagain = agent.run('x')")
    assert new.ns["again"] == ["x.", "x.?"]


def test_remade_agent_registers_again(openai: Any) -> None:
    """A client that tools register with is made again, and they register with it again."""
    source = FAKE_OPENAI + "\n    def tool(self, f): self.tools.append(f); return f\n    tools = ()\n"
    source = source.replace("self.base_url", "self.tools = []; self.base_url")
    Path(sys.path[0], "openai.py").write_text(source)
    new, restored = moved(
        "r = [t.__name__ for t in agent.tools]",
        "from openai import OpenAI\nagent = OpenAI()\n@agent.tool\ndef a(): pass\n@agent.tool\ndef b(): pass",
    )
    assert restored.missing == {}
    assert new.ns["r"] == ["a", "b"]


def test_state_of_definitions() -> None:
    """What was done to classes and functions after they were defined is not lost when they are defined again."""
    new, _ = moved(
        "r = (C.calls, C.seen[0].calls, C.limit, C().shout(), f.calls, f.note, g.k)",
        """
        import functools
        class C:
            calls = 0
            seen = []
            limit = 5
            def __init__(self): C.calls += 1; self.seen.append(self)
            def shout(self): return 'a'
        first = C()
        C.limit = 6
        def louder(method): return lambda self: method(self).upper()
        C.shout = louder(C.shout)
        def counted(h):
            @functools.wraps(h)
            def wrapper(): wrapper.calls += 1
            wrapper.calls = 0
            return wrapper
        @counted
        def f(): pass
        f(); f()
        f.note = 'n'
        def g(): pass
        g.k = [1]
        """,
    )
    assert new.ns["r"] == (1, 1, 6, "A", 2, "n", [1])


def test_class_state_is_an_input() -> None:
    """Attributes of classes that a run changes are inputs, and go back to the snapshot like names."""
    book = Notebook()
    book.run("class C:\n    seen = []\nC.seen.append('before')")
    cell = "C.seen.append('during')"
    snapshot = book.capture(cell)
    assert set(snapshot.inputs) == {"C.seen"}
    book.run(cell)
    left = fingerprint(snapshot.state, book.ns, digest)
    assert reset_names(left, book.ns, digest) == ["C.seen"]
    book.restore(snapshot, overwrite=["C.seen"])
    assert book.ns["C"].seen == ["before"]
    book.run("C.seen.append('mine')")
    assert reset_names(left, book.ns, digest) == []


def test_registered_implementations() -> None:
    """Functions registered with a definition, whatever their names, come with it."""
    new, _ = moved(
        "r = (area(1), area('a'), area([]))",
        """
        from functools import singledispatch
        @singledispatch
        def area(x): return 'other'
        @area.register
        def _(x: int): return unit * x
        @area.register(str)
        def _(x): return 'text'
        unit = 3
        """,
    )
    assert new.ns["r"] == (3, "text", "other")


def test_classes_without_a_name() -> None:
    """A class made by a function is stored with its bases and methods, which see the namespace."""
    new, _ = moved(
        "r = (o.x(), type(o).__name__, k.x())",
        """
        def make():
            class A:
                def x(self): return K
            class B(A):
                def x(self): return super().x() + 1
            return B
        K = 1
        o = make()()
        k = type(o)()
        """,
    )
    assert new.ns["r"] == (2, "B", 2)
    new.run("K = 5; again = o.x()")
    assert new.ns["again"] == 6


def test_future_annotations() -> None:
    """A class written under `from __future__ import annotations` may still name itself."""
    new, _ = moved(
        "n = Node(None).next",
        "from __future__ import annotations\nimport json",
        """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Node:
            next: Node | None
        """,
    )
    assert new.ns["n"] is None
    assert "annotations" not in new.ns


def test_pydantic_models() -> None:
    """Models typed in the notebook are defined again, and their instances are valid instances of them."""
    pytest.importorskip("pydantic")
    new, _ = moved(
        "ok = isinstance(hits[0], Hit) and hits[0].source.url; hits2 = Hit.model_validate(hits[0].model_dump())",
        """
        from pydantic import BaseModel, Field
        class Source(BaseModel):
            url: str
        class Hit(BaseModel):
            source: Source
            score: float = Field(ge=0)
        hits = [Hit(source=Source(url='u'), score=1)]
        """,
    )
    assert new.ns["ok"] == "u"
    assert new.ns["hits2"] == new.ns["hits"][0]


def test_named_types() -> None:
    """Enums, named tuples and type variables made by a call come back by that call."""
    new, _ = moved(
        "ok = (p == Point(1, 2), c is Color.RED, isinstance(p, Point))",
        """
        from collections import namedtuple
        from enum import Enum
        Point = namedtuple('Point', 'x y')
        class Color(Enum):
            RED = 1
        p = Point(1, 2); c = Color.RED
        """,
    )
    assert new.ns["ok"] == (True, True, True)


def test_numpy() -> None:
    """Arrays come back equal, and views of one name keep their values."""
    np = pytest.importorskip("numpy")
    new, _ = moved(
        "total = X.sum() + row.sum()", "import numpy as np\nX = np.arange(12.).reshape(3, 4)\nrow = X[1]"
    )
    assert new.ns["total"] == 66 + 22
    assert np.array_equal(new.ns["X"], np.arange(12.0).reshape(3, 4))


def test_pandas() -> None:
    """Frames come back equal."""
    pd = pytest.importorskip("pandas")
    new, _ = moved("n = len(df)", "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2], 'b': ['x', None]})")
    pd.testing.assert_frame_equal(new.ns["df"], pd.DataFrame({"a": [1, 2], "b": ["x", None]}))


def test_redefined_class_keeps_old_instances() -> None:
    """An instance of a class that was since defined again keeps behaving as it did."""
    new, _ = moved(
        "r = (old.v(), isinstance(old, C), C().v())",
        "class C:\n    def v(self): return 1\nold = C()",
        "class C:\n    def v(self): return 2",
    )
    assert new.ns["r"] == (1, False, 2)


def test_unrecorded_cells_are_found() -> None:
    """Definitions of cells that nobody recorded are found through their lines, or stored by value."""
    old = Notebook()
    old.run("K = 3\nclass A:\n    def m(self): return K\ndef f(): return A().m()", record=False)
    exec("def g(): return K + 1", old.ns)
    new = Notebook()
    new.restore(old.capture("f() + g()"))
    new.run("r = f() + g()\nK = 10\ns = f() + g()")
    assert (new.ns["r"], new.ns["s"]) == (7, 21)


def test_twice_restored() -> None:
    """A restored namespace can be captured and restored again."""
    new, _ = moved(
        "r = f(x)",
        "import json\nclass C: pass\ndef f(x): return json.dumps(x.v + x.m())\nC.m = lambda self: [2]\nx = C(); x.v = [1]",
    )
    third = Notebook()
    third.restore(new.capture("r = f(x)"))
    third.run("r = f(x)")
    assert third.ns["r"] == new.ns["r"] == "[1, 2]"


def test_local_modules_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module the user reached by changing sys.path is importable after restoring."""
    (tmp_path / "helpers_ns.py").write_text("def half(x): return x / 2")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    old = Notebook()
    old.run("from helpers_ns import half")
    snapshot = old.capture("half(2)")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    monkeypatch.delitem(sys.modules, "helpers_ns")
    new = Notebook()
    assert new.restore(snapshot).missing == {}
    assert new.ns["half"](4) == 2


def test_vanished_module_costs_one_name() -> None:
    """What needs a module that is not installed any more is missing; everything else comes back."""
    module = SimpleNamespace(Thing=None)
    old = Notebook()
    sys.modules["vanishing"] = type(sys)("vanishing")
    exec("class Thing:\n    def __init__(self): self.v = 1", sys.modules["vanishing"].__dict__)
    old.run("import vanishing\nx = vanishing.Thing()\nthings = [x, 5]\ny = [1, 2]\nz = y")
    # Only x: the module itself would be missing as well.
    snapshot = old.capture("print(x, things, y, z)")
    del sys.modules["vanishing"], module
    new = Notebook()
    restored = new.restore(snapshot)
    assert "vanishing" in restored.missing["x"]
    assert set(restored.missing) == {"x"}
    assert new.ns["y"] == [1, 2]
    assert new.ns["y"] is new.ns["z"]
    assert new.ns["things"][1] == 5
    with pytest.raises(DurableError, match="vanishing"):
        _ = new.ns["things"][0].v


def test_failing_state_is_reported() -> None:
    """A value whose rebuilding raises is missing, with the error; what was stored before it is there."""
    old = Notebook()
    old.run(
        "a = 1\nclass Bad:\n    def __getstate__(self): return 1\n    def __setstate__(self, s): raise OSError('no')\nb = Bad()"
    )
    new = Notebook()
    restored = new.restore(old.capture("a, b"))
    assert new.ns["a"] == 1
    assert "OSError: no" in restored.missing["b"]


def test_size_is_capped() -> None:
    """Too much data is refused with an error that names the largest value and what to do."""
    old = Notebook()
    old.run("small = 1\nbig = b'x' * 5_000_000")
    with pytest.raises(EncodingError) as caught:
        old.capture("small, big", limit=2 * 2**20)
    assert caught.value.path == "big"
    assert "big" in caught.value.hint
    assert "2 MB" in str(caught.value)


def test_history_variables_are_named() -> None:
    """`_` and `Out` are not captured, and the notice says to give the value a name."""
    old = Notebook()
    old.ns["_"] = 5
    snapshot = old.capture("print(_)")
    assert snapshot.names == ()
    assert "name" in snapshot.missing["_"]


def test_inputs_and_differing() -> None:
    """Inputs are the data names; a changed value differs, one that is gone does not, nor do definitions."""
    old = Notebook()
    old.run("import json\ntopic = 'a'\nlimit = 3\ndef f(): return limit\nunused = 9")
    cell = "json.dumps([topic, f()])"
    snapshot = old.capture(cell)
    assert set(snapshot.inputs) == {"topic", "limit"}
    assert inputs_of(cell, old.ns, old.log, digest) == snapshot.inputs
    old.run("topic = 'b'\ndef f(): return limit + 1")
    assert differing(snapshot.inputs, inputs_of(cell, old.ns, old.log, digest)) == ("topic",)
    assert differing(snapshot.inputs, inputs_of(cell, Notebook().ns, StatementLog(), digest)) == ()


def test_names_left_alone_are_reset() -> None:
    """After a stopped run, names as it left them go back to the snapshot; those rebound or mutated since are the user's."""
    book = Notebook()
    book.run("messages = []\nmine = [0]\nrebound = [1]\nfixed = 'x'")
    cell = "messages.append('q'); mine.append(1); rebound.append(2); seen = 1; print(fixed, count if False else 0)"
    snapshot = book.capture(cell)
    book.run(cell)
    left = fingerprint(snapshot.state, book.ns, digest)
    book.run("mine.append('edited')\nrebound = [1, 2]")
    names = reset_names(left, book.ns, digest)
    assert set(names) == {"messages", "fixed", "count"}
    now = inputs_of(cell, book.ns, book.log, digest)
    assert set(differing(snapshot.inputs, now, names)) == {"mine", "rebound"}
    book.restore(snapshot, overwrite=names)
    assert book.ns["messages"] == []
    assert book.ns["mine"] == [0, 1, "edited"]
    assert book.ns["rebound"] == [1, 2]


def test_changed_agents_are_noticed() -> None:
    """Changing an object of the user's own class in place counts, with the codec's digest, however deep it is held."""
    canonical = Canonical(b"0" * 32)

    def keyed(value: Any) -> bytes:
        return canonical.digest(value).value

    book = Notebook()
    book.run(
        """
        class Agent:
            def __init__(self): self.memory, self.me = [], self
        class Slim:
            __slots__ = ('n',)
        agent = Agent()
        slim = Slim(); slim.n = 1
        pool = {'agents': [Agent(), Agent()], 'plain': [1, 2]}
        """
    )
    cell = "agent, pool, slim"
    names = ("agent", "pool", "slim")
    then = inputs_of(cell, book.ns, book.log, keyed)
    assert then == inputs_of(cell, book.ns, book.log, keyed)
    assert set(then) == set(names)
    left = fingerprint(names, book.ns, keyed)
    book.run("agent.memory.append('x')")
    assert differing(then, inputs_of(cell, book.ns, book.log, keyed)) == ("agent",)
    book.run("pool['agents'][1].memory.append('x'); slim.n = 2")
    assert set(differing(then, inputs_of(cell, book.ns, book.log, keyed))) == set(names)
    assert reset_names(left, book.ns, keyed) == []


def test_new_object_at_an_old_address_is_the_users() -> None:
    """A client that was made anew is the user's, even at the address of the one before."""

    class Client:
        def __repr__(self) -> str:
            return "client"

    book = Notebook()
    book.ns["c"] = Client()
    left = fingerprint(["c"], book.ns, digest)
    del book.ns["c"]
    assert reset_names(left, book.ns, digest) == []
    book.ns["c"] = Client()
    assert reset_names(left, book.ns, digest) == []


def test_snapshot_is_plain_data() -> None:
    """A snapshot's value is JSON types and one bytes, comes back equal, and an unknown format is refused."""
    old = Notebook()
    old.run("x = [1]\ndef f(): return x")
    snapshot = old.capture("f(); gone")
    value = snapshot.to_value()

    def plain(part: Any) -> bool:
        if isinstance(part, dict):
            return all(isinstance(k, str) and plain(v) for k, v in part.items())
        return all(map(plain, part)) if isinstance(part, list) else isinstance(part, str | int | bytes)

    assert plain(value)
    assert Snapshot.from_value(value) == snapshot
    assert snapshot.size >= len(snapshot.blob) > 0
    with pytest.raises(DurableError):
        Snapshot.from_value({**value, "format": 99})


def test_syntax_error_needs_nothing() -> None:
    """A cell that does not parse captures nothing and fails as a cell does, later."""
    assert Notebook().capture("def (").names == ()
