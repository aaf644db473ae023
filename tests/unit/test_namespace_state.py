"""State beside definitions: registries, attributes of classes, agents; what changed since, and what goes back to the snapshot."""

from __future__ import annotations

from typing import Any

import pytest
from namespaces import Notebook, digest, moved

from jupyter_durable.codec.canonical import Canonical
from jupyter_durable.errors import DurableError
from jupyter_durable.kernel.namespace import (
    Snapshot,
    StatementLog,
    differing,
    fingerprint,
    inputs_of,
    reset_names,
)


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
