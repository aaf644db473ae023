"""Functions, classes and imports, restored in a namespace that knows nothing: what a fresh kernel does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from namespaces import Notebook, moved


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


@pytest.mark.slow
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


def test_syntax_error_needs_nothing() -> None:
    """A cell that does not parse captures nothing and fails as a cell does, later."""
    assert Notebook().capture("def (").names == ()
