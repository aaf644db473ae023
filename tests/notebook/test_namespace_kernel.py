"""Snapshots between real kernels: captured in one, restored in another that ran nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kernels import Kernel

# Puts the harness where no cell under test sees it: into a module, not into the namespace.
HARNESS = """
import sys as _sys, types as _types
_h = _types.ModuleType("harness"); _sys.modules["harness"] = _h
exec('''
import hashlib, pathlib, pickle
from IPython import get_ipython
from jupyter_durable.kernel import namespace
from jupyter_durable.kernel.cells import CodeIdentity, identify, changed
restored_log = None
def digest(value): return hashlib.blake2b(repr(value).encode(), digest_size=16).digest()
def log():
    if restored_log is not None: return restored_log
    shell = get_ipython()
    return namespace.StatementLog.from_history(shell.user_ns["In"][1:-1], shell.transform_cell)
def save(cell, path):
    shell = get_ipython()
    snapshot = namespace.capture(cell, shell.user_ns, log(), digest, transform=shell.transform_cell)
    pathlib.Path(path).write_bytes(pickle.dumps(snapshot.to_value()))
    return snapshot
def load(path, **options):
    global restored_log
    restored_log = namespace.StatementLog()
    shell = get_ipython()
    snapshot = namespace.Snapshot.from_value(pickle.loads(pathlib.Path(path).read_bytes()))
    return namespace.restore(snapshot, shell.user_ns, shell_exec=namespace.shell_executor(shell), log=restored_log, **options)
def identity(cell):
    shell = get_ipython()
    return identify(cell, shell.user_ns, shell.transform_cell, log())
''', _h.__dict__)
del _sys, _types, _h
"""

SETUP = [
    "%load_ext autoreload\nimport json as js, threading\nfrom dataclasses import dataclass\nfrom functools import partial, wraps",
    """
CFG = {"unit": 2}
TOOLS = {}
def tool(f):
    @wraps(f)
    def wrapper(*a): return f(*a)
    TOOLS[f.__name__] = wrapper
    return wrapper
@dataclass
class Hit:
    text: str
    n: int = 0
    def scaled(self): return self.n * CFG["unit"]
@tool
def search(q): return Hit(q, len(q))
""",
    """
%matplotlib_is_not_there
""",
    """
listing = !echo one two
messages = [{"role": "user", "content": "hi"}]
class Agent:
    "an agent"
    def __init__(self): self.memory, self.lock, self.seen = messages, lock, []
    def ask(self, q):
        with self.lock: self.seen.append(q)
        return [t(q).scaled() for t in TOOLS.values()]
lock = threading.Lock()
agent = Agent()
def counter():
    n = 10
    def bump():
        nonlocal n; n += CFG["unit"]
        return n
    return bump
bump = counter()
hits = [search("abc")]
gen = (x for x in hits)
double = lambda x: x * CFG["unit"]
""",
    "%time import asyncio\nasync def slow(x):\n    await asyncio.sleep(0)\n    return js.dumps(x)",
]

CELL = """
before = (agent.ask("abc"), agent.memory is messages, agent.lock is lock, bump(), double(4), await slow(hits[0].text),
          isinstance(hits[0], Hit), listing[0], TOOLS["search"] is search)
CFG = {"unit": 3}
after = (agent.ask("abc"), bump(), double(4), hits[0].scaled())
if False: next(gen)
print(before, after)
"""
EXPECTED = "([6], True, True, 12, 8, '\"abc\"', True, 'one two', True) ([9], 15, 12, 9)\n"


@pytest.mark.slow
def test_moves_to_a_fresh_kernel(make_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    """Everything a cell reaches comes back in a kernel that ran nothing, and behaves as the original does."""
    path = str(tmp_path / "snapshot.bin")
    old = make_kernel()
    old.run(HARNESS)
    for cell in SETUP:
        old.run(cell)
    saved = old.run(
        f"import harness\ns = harness.save({CELL!r}, {path!r})\nprint(sorted(s.missing), s.absent, sorted(s.inputs))"
    )
    assert saved.ok, saved
    names = "['CFG', 'TOOLS', 'agent', 'bump', 'hits', 'listing', 'messages']"
    assert saved.stdout == f"['gen'] () {names}\n"
    identity = old.run(f"import harness\nprint(harness.identity({CELL!r}).to_json())").stdout
    assert old.run(CELL).stdout == EXPECTED

    new = make_kernel()
    new.run(HARNESS)
    restored = new.run(
        f"import harness\nr = harness.load({path!r})\nprint(r.re_executed, sorted(r.missing), 'gen' in globals(), 'harness' in r.names)"
    )
    assert restored.stdout == "('lock = threading.Lock()',) ['gen'] False False\n"
    assert new.run(CELL).stdout == EXPECTED
    # The source of what was restored is there for tracebacks, for inspect and for the identity of the code.
    shown = new.run("import inspect; print(inspect.getsource(search) + inspect.getsource(Agent.ask))").stdout
    assert "@tool\ndef search(q)" in shown
    assert "with self.lock" in shown
    compared = new.run(
        f"import harness\nold = harness.CodeIdentity.from_json({identity})\n"
        f"print(harness.changed(old, harness.identity({CELL!r})))\ndef search(q): return Hit(q, 0)\n"
        f"harness.restored_log.record('def search(q): return Hit(q, 0)')\n"
        f"print(harness.changed(old, harness.identity({CELL!r})))"
    )
    assert compared.stdout == "[]\n['search']\n", compared
