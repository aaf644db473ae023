"""What the first line says of a run, in real kernels: which functions are tools, which calls are captured."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel_agents import calls, moved_to, said
from kernels import Kernel


@pytest.fixture
def kernel(shared: Kernel, tmp_path: Path) -> Kernel:
    """The shared kernel, in the test's own folder and store."""
    return moved_to(shared, tmp_path)


KINDS = """
async def k_async(x):
    trace(f"async {x}")
    await asyncio.sleep(0)
    return x

def k_generator(x):
    trace(f"generator {x}")
    yield from range(x)

async def k_async_generator(x):
    trace(f"async generator {x}")
    for n in range(x):
        yield n
"""
SERVER = """
import http.server, threading
hits = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        hits.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_port
"""
USES = """
values = [await k_async(1), list(k_generator(2)), [n async for n in k_async_generator(3)]]
"""
FOUND = "[1, [0, 1], [0, 1, 2]]"
MADE = ["async 1", "generator 2", "async generator 3"]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "inside", "both"])
def test_functions_of_every_kind(kernel: Kernel, tmp_path: Path, where: str) -> None:
    """Async functions and generators; made in an earlier cell, in the cell itself, or again in the cell."""
    if where != "inside":
        kernel.check(KINDS)
    else:
        kernel.check(
            "for name in ('k_async', 'k_generator', 'k_async_generator'):\n    globals().pop(name, None)"
        )
    inside = KINDS if where != "before" else ""
    cell = (
        f"%%durable kinds_{where} --tool 'k_*'\n{inside}{USES}\nif not ready:\n    raise ValueError\nvalues"
    )
    kernel.check("ready = False")
    assert kernel.run(cell).ename == "ValueError"
    assert calls(tmp_path) == MADE
    kernel.check("ready = True")
    reply = kernel.check(cell)
    assert reply.result == FOUND
    assert "3 of 3 steps replayed" in said(reply) or "3 replayed" in said(reply)
    assert calls(tmp_path) == MADE
    # Afterwards they are what they were, and nothing of ours is left.
    kernel.check("k_async(1).close()")
    assert (
        kernel.check("hasattr(k_async, '__durable__'), hasattr(k_generator, '__durable__')").result
        == "(False, False)"
    )


def test_defined_in_a_block_and_decorated(kernel: Kernel, tmp_path: Path) -> None:
    """Wherever at the top level; what a decorator made of it is the tool; methods and inner functions are not."""
    cell = """%%durable blocks --tool 'b_*'
import functools
if True:
    @functools.lru_cache
    def b_cached(x):
        trace(f"cached {x}")
        def b_inner():
            return x
        return b_inner()

class Thing:
    def b_method(self):
        return 0

[b_cached(1), Thing().b_method()]
"""
    assert kernel.check(cell).result == "[1, 0]"
    shown = kernel.check("%durable show blocks")
    text = shown.stdout + said(shown)
    assert "b_cached" in text
    assert "b_method" not in text
    assert "b_inner" not in text
    assert kernel.check("b_cached.cache_info().misses").result == "1"


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ("class m_class: pass", "m_class, which is a class"),
        ("import functools\nm_partial = functools.partial(print)", "m_partial, which is a partial"),
        ("m_data = 1", "matches no function"),
    ],
)
def test_what_is_no_function(kernel: Kernel, setup: str, words: str) -> None:
    """Said, with what to do instead."""
    kernel.check("for name in [n for n in globals() if n.startswith('m_')]:\n    del globals()[name]")
    kernel.check(setup)
    reply = kernel.run("%%durable nothing --tool 'm_*'\n1")
    assert reply.ename == "UsageError"
    text = reply.traceback + reply.stderr
    assert words in text
    assert "@durable.tool" in text


@pytest.mark.slow
def test_commands_know_the_line(kernel: Kernel, tmp_path: Path) -> None:
    """`resume` and `goto` execute a run's code as its first line said: its tools are tools there, too."""
    kernel.check("def plain(x):\n    trace(f'plain {x}')\n    return x\nready = False")
    cell = "%%durable lined --tool plain\none = plain(1)\nif not ready:\n    raise ValueError\ntwo = plain(2)"
    assert kernel.run(cell).ename == "ValueError"
    kernel.check("ready = True")
    reply = kernel.check("%durable resume lined")
    assert "1 replayed, 1 executed" in said(reply), said(reply)
    assert calls(tmp_path) == ["plain 1", "plain 2"]
    kernel.check("del one, two")
    assert "lined at step 1.1: 1 replayed" in said(kernel.check("%durable goto lined 1.1"))
    assert kernel.check("one, 'two' in globals()").result == "(1, False)"
    assert calls(tmp_path) == ["plain 1", "plain 2"]


def test_changing_what_is_captured_is_an_edit(kernel: Kernel) -> None:
    """It decides which calls the journal has."""
    kernel.check("ready = False")
    cell = "%%durable captured {}\nif not ready:\n    raise ValueError"
    assert kernel.run(cell.format("--no-capture http")).ename == "ValueError"
    again = said(kernel.run(cell.format("--no-capture http")))
    assert "edit" not in again
    edited = said(kernel.run(cell.format("--capture tools --ignore-host x.y")))
    assert "--capture" in edited
    assert "--ignore-host" in edited


@pytest.mark.slow
def test_what_is_not_captured_and_an_ignored_host(kernel: Kernel, tmp_path: Path) -> None:
    """It happens again on resume, as the line asked; what is captured does not."""
    kernel.check(SERVER)
    fetch = "[urllib3.request('GET', f'http://{host}:{port}/').status for host in ('127.0.0.1', 'localhost')]"
    cell = (
        "%%durable hosts FLAGS\nimport urllib3\nvalues = "
        + fetch
        + "\nif not ready:\n    raise ValueError\nvalues"
    )
    for flags, hits in (("", 2), ("--no-capture http", 4), ("--ignore-host localhost", 3)):
        kernel.check("hits.clear()\nready = False")
        assert kernel.run(cell.replace("FLAGS", f"--new {flags}")).ename == "ValueError"
        kernel.check("ready = True")
        reply = kernel.check(cell.replace("FLAGS", flags))
        assert reply.result == "[200, 200]"
        assert kernel.check("len(hits)").result == str(hits)
        if flags.startswith("--ignore"):
            assert "outside a step" not in said(reply)
