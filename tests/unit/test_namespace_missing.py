"""What cannot be kept is made again (clients, locks), or is named as missing, and nothing else suffers."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from namespaces import Notebook, moved

from jupyter_durable.errors import DurableError, EncodingError

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
