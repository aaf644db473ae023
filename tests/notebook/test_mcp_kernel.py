"""MCP in real kernels: the kernel is killed, the server's process with it, and no completed call is made again."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_agents import LOAD, said, session
from kernels import Kernel, KernelDied

pytest.importorskip("mcp")

_FILE = Path(__file__).parents[1] / "unit" / "mcp_server.py"
_SPEC = importlib.util.spec_from_file_location("mcp_server", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
mcp_server: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(mcp_server)

SESSION = """%%durable mcp
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

def text(result):
    return result.content[0].text

async with (
    stdio_client(StdioServerParameters(command=command[0], args=command[1:])) as streams,
    ClientSession(*streams) as session,
):
    await session.initialize()
    names = [tool.name for tool in (await session.list_tools()).tools]
    found = [text(await session.call_tool("add", {"a": n, "b": 1})) for n in range(4)]
    found.append(text(await session.call_tool("slow", {"steps": 2})))
" ".join(names + found)
"""
ANSWER = "'add fail slow die 1 2 3 4 done'"
EFFECTS = {"add 0 1": 1, "add 1 1": 1, "add 2 1": 1, "add 3 1": 1, "slow 2": 1}


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    """What the servers did."""
    return tmp_path / "effects.txt"


@pytest.fixture(params=["http", "sse"])
def server(request: pytest.FixtureRequest, effects: Path) -> Iterator[Any]:
    """A server over streamable HTTP or server-sent events, in a process that outlives the kernels."""
    found = mcp_server.HttpServer(effects, request.param).start()
    yield found
    found.stop()


def done(effects: Path) -> dict[str, int]:
    """The servers' effects, without the starts of their processes."""
    return {what: times for what, times in mcp_server.lines(effects).items() if what != "started"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "nth"),
    [("after-start", 1), ("after-outcome", 1), ("after-start", 4), ("after-call", 4), ("after-outcome", 6)],
)
def test_a_stdio_session_is_killed(
    point: str, nth: int, make_kernel: Callable[..., Kernel], effects: Path, tmp_path: Path
) -> None:
    """In a fresh kernel the server starts with the first live call, and a replay starts none."""
    setup = f"command = {mcp_server.command(effects)!r}"
    kernel = make_kernel(env={**session(tmp_path), "JUPYTER_DURABLE_CRASH_AT": f"{point}:{nth}"})
    kernel.check(LOAD)
    kernel.check(setup)
    with pytest.raises(KernelDied):
        kernel.run(SESSION)
    kernel = make_kernel(env=session(tmp_path))
    kernel.check(LOAD)
    reply = kernel.check(SESSION)
    assert reply.result == ANSWER
    assert "outside a step" not in said(reply)
    # `after-call`: it was made, and nobody knows.
    assert done(effects) == {**EFFECTS, **({"add 1 1": 2} if point == "after-call" else {})}
    starts = mcp_server.lines(effects)["started"]

    kernel = make_kernel(env=session(tmp_path))
    kernel.check(LOAD)
    reply = kernel.check(SESSION)
    assert reply.result == ANSWER
    assert "restored" in said(reply)
    assert mcp_server.lines(effects)["started"] == starts


@pytest.mark.slow
def test_a_session_over_http_is_killed(
    make_kernel: Callable[..., Kernel], server: Any, effects: Path, tmp_path: Path
) -> None:
    """Its exchanges are no steps of their own, and the replay needs no server."""
    cell = """%%durable web
import mcp.client.streamable_http as http
from mcp import ClientSession
from mcp.client.sse import sse_client
client = getattr(http, "streamablehttp_client", None) or http.streamable_http_client
if url.endswith("/sse"):
    client = sse_client
async with client(url) as streams, ClientSession(streams[0], streams[1]) as session:
    await session.initialize()
    found = [(await session.call_tool("add", {"a": n, "b": 1})).content[0].text for n in range(4)]
found
"""
    kernel = make_kernel(env={**session(tmp_path), "JUPYTER_DURABLE_CRASH_AT": "after-outcome:3"})
    kernel.check(LOAD)
    kernel.check(f"url = {server.url!r}")
    with pytest.raises(KernelDied):
        kernel.run(cell)
    kernel = make_kernel(env=session(tmp_path))
    kernel.check(LOAD)
    reply = kernel.check(cell)
    assert reply.result == "['1', '2', '3', '4']"
    assert "3 replayed, 2 executed" in said(reply)
    assert "outside a step" not in said(reply)
    assert done(effects) == {f"add {n} 1": 1 for n in range(4)}
    server.stop()
    kernel = make_kernel(env=session(tmp_path))
    kernel.check(LOAD)
    assert kernel.check(cell).result == "['1', '2', '3', '4']"


@pytest.mark.slow
def test_a_toolset_of_an_earlier_cell(
    make_kernel: Callable[..., Kernel], effects: Path, tmp_path: Path
) -> None:
    """The snapshot brings it back, with what its servers had; neither the earlier cell nor a server is needed."""
    executable, *args = mcp_server.command(effects)
    setup = f"""
import asyncio
import jupyter_durable as durable

def shout(text: str) -> str:
    "Louder."
    return text.upper()

tools = durable.Toolset(shout, mcp={{"mcpServers": {{"demo": {{"command": {executable!r}, "args": {args!r}}}}}}})
await tools.load()
"""
    cell = """%%durable agent
names = [tool["function"]["name"] for tool in tools.schemas("openai")]
results = [
    await tools.call("shout", '{"text": "hi"}'),
    await tools.call("demo_add", '{"a": 1, "b": 2}'),
    tools.call_sync("demo_add", {"a": 2, "b": 2}),
    await tools.call("demo_add", {"a": 3}),
]
" ".join(names) + " | " + " | ".join(result.content for result in results)
"""
    answer = (
        "'shout demo_add demo_fail demo_slow demo_die | HI | 3 | 4 "
        "| demo_add: invalid arguments: b: Field required'"
    )
    kernel = make_kernel(env={**session(tmp_path), "JUPYTER_DURABLE_CRASH_AT": "after-outcome:2"})
    kernel.check(LOAD)
    kernel.check(setup)
    with pytest.raises(KernelDied):
        kernel.run(cell)
    kernel = make_kernel(env=session(tmp_path))
    kernel.check(LOAD)
    assert kernel.check(cell).result == answer
    assert mcp_server.lines(effects) == {"started": 2, "add 1 2": 1, "add 2 2": 1}
    kernel = make_kernel(env=session(tmp_path))
    kernel.check(LOAD)
    assert kernel.check(cell).result == answer
    assert mcp_server.lines(effects)["started"] == 2
