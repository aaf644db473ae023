"""MCP sessions as steps: real servers over every transport, their effects counted in a file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mcp_server
import pytest
from runs import Bench

import jupyter_durable as durable

mcp = pytest.importorskip("mcp")
from mcp import ClientSession, StdioServerParameters  # noqa: E402
from mcp.client.stdio import stdio_client  # noqa: E402

try:
    from mcp.client.streamable_http import streamable_http_client as http_client
except ImportError:
    from mcp.client.streamable_http import streamablehttp_client as http_client

from mcp.client.sse import sse_client  # noqa: E402

CLIENTS: dict[str, Callable[[str], Any]] = {"http": http_client, "sse": sse_client}
with contextlib.suppress(ImportError):  # in version 1, with the extra `ws`
    from mcp.client.websocket import websocket_client

    CLIENTS["ws"] = websocket_client

TWO = not hasattr(mcp, "McpError") or hasattr(mcp, "Client")
Connect = Callable[[], contextlib.AbstractAsyncContextManager[Any]]


class Place:
    """Where a server is: how to open a session, and what it has done."""

    def __init__(self, effects: Path, server: mcp_server.HttpServer | None) -> None:
        self.effects = effects
        self.server = server

    @property
    def done(self) -> dict[str, int]:
        """Its effects, the starts of its process left out."""
        done = mcp_server.lines(self.effects)
        done.pop("started", None)
        return dict(done)

    @property
    def starts(self) -> int:
        return mcp_server.lines(self.effects)["started"]

    def transport(self) -> Any:
        if self.server is not None:
            return CLIENTS[self.server.kind](self.server.url)
        executable, *args = mcp_server.command(self.effects)
        return stdio_client(StdioServerParameters(command=executable, args=args))

    @contextlib.asynccontextmanager
    async def session(self, **how: Any) -> AsyncIterator[ClientSession]:
        async with self.transport() as streams, ClientSession(streams[0], streams[1], **how) as session:
            await session.initialize()
            yield session


@pytest.fixture(params=["stdio", "http", "sse", "ws"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A server over each transport."""
    effects = tmp_path / "effects.txt"
    if request.param == "stdio":
        yield Place(effects, None)
        return
    if request.param not in CLIENTS:
        pytest.skip(f"version {version('mcp')} has no such client")
    server = mcp_server.HttpServer(effects, request.param).start()
    yield Place(effects, server)
    server.stop()


@pytest.fixture
def stdio(tmp_path: Path) -> Place:
    """A server over stdio."""
    return Place(tmp_path / "effects.txt", None)


def text(result: Any) -> str:
    """A result's text."""
    return "|".join(item.text for item in result.content)


def is_error(result: Any) -> bool:
    """In the words of either version."""
    return bool(getattr(result, "is_error", getattr(result, "isError", None)))


@pytest.mark.slow
def test_a_session_is_replayed_without_a_server(place: Place) -> None:
    """Every kind of request comes back equal and of its own type, with no server there."""

    bench = Bench()

    async def agent() -> Any:
        async with place.session() as session:
            tools = await session.list_tools()
            total = await session.call_tool("add", {"a": 1, "b": 2})
            failed = await session.call_tool("fail", {"text": "no"})
            uri: Any = "note://today"
            read = await session.read_resource(uri)
            prompt = await session.get_prompt("greet", {"name": "Ada"})
            resources = await session.list_resources()
            prompts = await session.list_prompts()
        return tools, total, failed, read, prompt, resources, prompts

    first = bench.new(agent)
    tools, total, failed, read, prompt, *_ = first
    assert [tool.name for tool in tools.tools] == ["add", "fail", "slow", "die"]
    assert (text(total), is_error(total)) == ("3", False)
    assert is_error(failed)
    assert "no" in text(failed)
    assert read.contents[0].text == "sunny"
    assert prompt.messages[0].content.text == "Say hello to Ada."
    done = place.done
    assert done == {"add 1 2": 1, "fail no": 1, "read": 1, "prompt Ada": 1}
    starts = place.starts
    if place.server is not None:
        place.server.stop()

    again = bench.execute_replay(agent)

    assert again == first
    assert [type(value) for value in again] == [type(value) for value in first]
    assert (place.done, place.starts) == (done, starts)
    steps = bench.steps()
    assert [(step.kind, step.name) for step in steps] == [
        ("mcp", "initialize"),
        ("mcp", "demo.list_tools"),
        ("mcp", "demo.add"),
        ("mcp", "demo.fail"),
        ("mcp", "demo.read_resource"),
        ("mcp", "demo.get_prompt"),
        ("mcp", "demo.list_resources"),
        ("mcp", "demo.list_prompts"),
    ]
    assert not bench.notices, "what serves a session is no effect outside steps"


POINTS = ["before-start", "after-start", "after-call", "after-outcome"]


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_cut_off_anywhere(place: Place, point: str) -> None:
    """At every kill point of every step: no completed call is made again."""

    async def agent() -> list[str]:
        async with place.session() as session:
            return [text(await session.call_tool("add", {"a": n, "b": 0})) for n in range(3)]

    expected = ["0", "1", "2"]
    for nth in range(1, 5):
        bench = Bench()
        place.effects.unlink(missing_ok=True)
        bench.crash(point, nth, agent)
        before = place.done
        assert bench.resume(agent) == expected
        for what, times in place.done.items():
            # Only the call that was cut off after it was made is made again.
            assert times == 1 + (point == "after-call" and what == f"add {nth - 2} 0" and before[what])
        bench.execute_replay(agent)


@pytest.mark.slow
def test_calls_at_once(place: Place) -> None:
    """Several first live calls share one handshake."""

    async def agent() -> list[str]:
        async with place.session() as session:
            first = text(await session.call_tool("add", {"a": 0, "b": 0}))
            others = await asyncio.gather(*(session.call_tool("add", {"a": n, "b": n}) for n in (1, 2, 3)))
        return [first, *map(text, others)]

    bench = Bench()
    bench.crash("after-outcome", 3, agent)
    assert bench.resume(agent) == ["0", "2", "4", "6"]
    bench.execute_replay(agent)
    # Only one handshake, however many calls were the first live one.
    assert all(place.done[f"add {n} {n}"] <= 2 for n in range(4))


@pytest.mark.slow
def test_the_server_starts_with_the_first_live_call(stdio: Place) -> None:
    """A process whose calls are all replayed so far is not started."""

    seen: list[int] = []

    async def agent() -> str:
        async with stdio.session() as session:
            await session.list_tools()
            seen.append(stdio.starts)
            await session.call_tool("add", {"a": 1, "b": 1})
            seen.append(stdio.starts)
            return text(await session.call_tool("add", {"a": 2, "b": 2}))

    bench = Bench()
    bench.crash("after-outcome", 3, agent)
    assert seen == [1]
    assert bench.resume(agent) == "4"
    assert seen == [1, 1, 1]
    assert stdio.starts == 2
    assert stdio.done == {"add 1 1": 1, "add 2 2": 1}


@pytest.mark.slow
def test_progress_is_the_steps_log(place: Place) -> None:
    """Whether or not the agent asks for it."""

    told: list[tuple[float, float | None, str | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async def agent() -> str:
        async with place.session() as session:
            await session.call_tool("slow", {"steps": 2})
            return text(await session.call_tool("slow", {"steps": 1}, progress_callback=tell))

    if place.server is not None and tuple(map(int, version("mcp").split(".")[:3])) < (1, 12, 4):
        pytest.skip("its server sends progress aside, and the answer may overtake it")
    bench = Bench()
    assert bench.new(agent) == "done"
    logs = [entry.meta for entry in bench.store.entries(bench.record.id) if entry.type == "log"]
    assert logs == [{"m": "part 1", "p": 0.5}, {"m": "part 2", "p": 1.0}, {"m": "part 1", "p": 1.0}]
    assert told == [(1, 1, "part 1")]


@pytest.mark.slow
def test_a_dead_server_ends_the_run_and_resuming_goes_on(stdio: Place) -> None:
    """A lost connection is an error; the call it came from is made again."""

    async def agent() -> list[str]:
        async with stdio.session() as session:
            one = text(await session.call_tool("add", {"a": 1, "b": 1}))
            return [one, text(await session.call_tool("die", {}))]

    bench = Bench()
    with pytest.raises(BaseException) as raised:
        bench.new(agent)
    assert "closed" in repr(raised.value).lower()
    assert bench.record.status == "failed"
    assert bench.resume(agent) == ["2", "alive"]
    assert stdio.done == {"add 1 1": 1, "die": 2}


@pytest.mark.slow
def test_an_error_of_the_protocol_is_an_outcome(place: Place) -> None:
    """It replays with its own fields."""

    async def agent() -> str:
        async with place.session() as session:
            try:
                await session.get_prompt("nobody")
            except Exception as error:
                return f"{type(error).__name__} {error} {error.error.message}"  # type: ignore[attr-defined]
            return "?"

    bench = Bench()
    first = bench.new(agent)
    assert "nobody" in first
    assert bench.execute_replay(agent) == first


@pytest.mark.slow
def test_what_cannot_be_started_late_says_why(stdio: Place, tmp_path: Path) -> None:
    """The error of the late start, not "connection closed"."""

    link = tmp_path / "python"
    link.write_text(f'#!/bin/sh\nexec "{mcp_server.sys.executable}" "$@"\n')
    link.chmod(0o755)

    async def agent() -> str:
        _, *args = mcp_server.command(stdio.effects)
        async with (
            stdio_client(StdioServerParameters(command=str(link), args=args)) as streams,
            ClientSession(*streams) as session,
        ):
            await session.initialize()
            return text(await session.call_tool("add", {"a": 1, "b": 1}))

    bench = Bench()
    bench.crash("after-outcome", 1, agent)
    link.unlink()
    with pytest.raises(BaseExceptionGroup) as raised:
        bench.resume(agent)
    assert raised.group_contains(FileNotFoundError)


@pytest.mark.slow
def test_inside_a_tool_a_call_is_its_child(stdio: Place) -> None:
    """And replays with it."""

    async def agent() -> str:
        async with stdio.session() as session:

            @durable.tool
            async def twice(n: int) -> int:
                total = await session.call_tool("add", {"a": n, "b": n})
                return int(text(total))

            return str(await twice(4))

    bench = Bench()
    assert bench.new(agent) == "8"
    assert [(step.kind, step.name) for step in bench.steps()] == [
        ("mcp", "initialize"),
        (
            "tool",
            "test_inside_a_tool_a_call_is_its_child.<locals>.agent.<locals>.twice".rpartition("<locals>.")[2],
        ),
        ("mcp", "demo.add"),
    ]
    assert bench.execute_replay(agent) == "8"


@pytest.mark.slow
def test_a_session_that_outlives_its_run(stdio: Place) -> None:
    """Replayed and never live, then used by ordinary code: it must shake hands first."""
    kept: list[Any] = []

    async def connect() -> str:
        transport = stdio.transport()
        read, write, *_ = await transport.__aenter__()
        session = ClientSession(read, write)
        await session.__aenter__()
        kept[:] = [session, transport]
        return (await session.initialize()).capabilities.__class__.__name__

    async def first() -> str:
        name = await connect()
        await close()
        return name

    async def close() -> None:
        session, transport = kept
        await session.__aexit__(None, None, None)
        await transport.__aexit__(None, None, None)

    bench = Bench()
    bench.new(first)

    async def later() -> str:
        from jupyter_durable.runtime.activation import Activation

        run = bench.session.replay(bench.record)
        activation = Activation(run)
        activation.enter()
        await connect()
        activation.leave()
        bench.session.close_run(run, None)
        result = await kept[0].call_tool("add", {"a": 2, "b": 3})
        await close()
        return text(result)

    assert asyncio.run(later()) == "5"


@pytest.mark.slow
def test_a_session_of_an_earlier_cell(place: Place) -> None:
    """Connected before the run: its calls are steps, its HTTP requests, whoever's context they are made in, are not."""
    from jupyter_durable.runtime.activation import Activation

    bench = Bench()

    async def cells(run: Any) -> list[str]:
        async with place.session() as session:
            activation = Activation(run)
            activation.enter()
            try:
                found = [text(await session.call_tool("add", {"a": n, "b": n})) for n in (1, 2)]
            finally:
                activation.leave()
            bench.session.close_run(run, None)
            return found

    assert asyncio.run(cells(bench.session.new("run"))) == ["2", "4"]
    assert [(step.kind, step.name.rpartition(".")[2]) for step in bench.steps()] == [("mcp", "add")] * 2
    assert asyncio.run(cells(bench.session.replay(bench.record))) == ["2", "4"]
    assert place.done == {"add 1 1": 1, "add 2 2": 1}
    assert not bench.notices


@pytest.mark.slow
def test_not_captured(stdio: Place) -> None:
    """Then it is live, and still no HTTP step or effect of its own."""

    async def agent() -> str:
        async with stdio.session() as session:
            return text(await session.call_tool("add", {"a": 1, "b": 1}))

    bench = Bench()
    assert bench.new(agent, capture=frozenset({"tools", "models", "http"})) == "2"
    assert bench.steps() == []
    assert not bench.notices


@pytest.mark.slow
def test_nothing_is_left_patched(stdio: Place) -> None:
    """After the last run the classes are what they were."""

    before = dict(vars(ClientSession)), stdio_client.__closure__[0].cell_contents

    async def agent() -> None:
        async with stdio.session():
            assert vars(ClientSession) != before[0]

    Bench().new(agent)
    assert (dict(vars(ClientSession)), stdio_client.__closure__[0].cell_contents) == before


@pytest.mark.skipif(not TWO, reason="mcp.Client came with version 2")
class TestClient:
    """`mcp.Client`: negotiates by itself, caches, and makes its transport before it is entered."""

    def agent(self, client: Callable[[], Any]) -> Callable[[], Any]:
        async def agent() -> Any:
            async with client() as connected:
                tools = [tool.name for tool in (await connected.list_tools()).tools]
                again = [tool.name for tool in (await connected.list_tools()).tools]
                total = await connected.call_tool("add", {"a": 1, "b": 2})
            return tools == again, text(total)

        return agent

    @pytest.mark.slow
    @pytest.mark.parametrize("nth", [1, 2, 3, 4])
    def test_cut_off_and_replayed(self, place: Place, nth: int) -> None:
        from mcp import Client

        executable, *args = mcp_server.command(place.effects)

        def client() -> Any:
            if place.server is None:
                return Client(StdioServerParameters(command=executable, args=args))
            return Client(place.server.url if place.server.kind == "http" else place.transport())

        agent = self.agent(client)
        bench = Bench()
        bench.crash("after-outcome", nth, agent)
        assert bench.resume(agent) == (True, "3")
        assert place.done == {"add 1 2": 1}
        starts = place.starts
        if place.server is not None:
            place.server.stop()
        assert bench.execute_replay(agent) == (True, "3")
        assert (place.done, place.starts) == ({"add 1 2": 1}, starts)
        assert not bench.notices

    @pytest.mark.slow
    def test_made_before_the_run(self, stdio: Place) -> None:
        from mcp import Client

        executable, *args = mcp_server.command(stdio.effects)
        parameters = StdioServerParameters(command=executable, args=args)
        clients = [Client(parameters), Client(parameters)]
        bench = Bench()
        agent = self.agent(lambda: clients.pop())
        assert bench.new(agent) == (True, "3")
        assert bench.execute_replay(agent) == (True, "3")
        assert stdio.starts == 1

    def test_a_server_in_this_process(self) -> None:
        from mcp import Client
        from mcp.server.mcpserver import MCPServer

        bench = Bench()
        server = MCPServer("here")

        @server.tool()
        def add(a: int, b: int) -> int:
            bench.effects["add"] += 1
            return a + b

        agent = self.agent(lambda: Client(server))
        assert bench.new(agent) == (True, "3")
        assert bench.execute_replay(agent) == (True, "3")
        assert bench.effects["add"] == 1
