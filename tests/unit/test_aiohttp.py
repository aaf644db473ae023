"""aiohttp inside a run: replayed below its session; the server's hits are counted."""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any

import aiohttp
import pytest
from http_server import COMPRESSED, GAP, Server
from runs import Bench
from sdks import Gemini

from jupyter_durable.testing import FakeProvider, call, reply, turns


def same(bench: Bench, server: Server, fn: Any) -> Any:
    """Execute, then replay: equal results, no further request."""
    value = bench.new(fn)
    hits = server.total
    assert hits
    assert bench.execute_replay(fn) == value
    assert server.total == hits
    return value


@pytest.mark.parametrize(
    "path", ["/json", *COMPRESSED, "/big", "/chunks", "/status?code=404", "/redirect", "/cookie"]
)
def test_a_session_gets_the_response_it_got(bench: Bench, server: Server, path: str) -> None:
    """Status, reason, headers, cookies and content, through redirects."""

    async def agent() -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.post(server.url + path, json={"a": 1}) as answer,
        ):
            return [
                answer.status,
                answer.reason,
                answer.version,
                answer.raw_headers,
                await answer.read(),
                [r.status for r in answer.history],
                {name: cookie.value for name, cookie in answer.cookies.items()},
                str(answer.url),
                type(answer).__name__,
            ]

    found = same(bench, server, agent)
    if path == "/cookie":
        assert found[6] == {"session": "planted-secret-cookie"}


@pytest.mark.parametrize("query", ["n=5", "n=5&gzip=1"])
def test_streams_pass_live_and_replay(bench: Bench, server: Server, query: str) -> None:
    """Each event when it comes; at once on replay."""
    times: list[float] = []

    async def agent() -> Any:
        found = []
        async with aiohttp.ClientSession() as session, session.get(f"{server.url}/stream?{query}") as answer:
            async for part in answer.content.iter_any():
                times.append(time.monotonic())
                found.append(part)
        return b"".join(found)

    assert same(bench, server, agent).endswith(b"data: [DONE]\n\n")
    if "gzip" not in query:
        live, again = times[5] - times[0], times[-1] - times[6]
        assert live > 4 * GAP
        assert again < live / 4


def test_a_crash_repeats_only_what_was_under_way(bench: Bench, server: Server) -> None:
    """The requests that were answered stay so."""

    async def agent() -> Any:
        async with aiohttp.ClientSession() as session:
            return [(await (await session.get(f"{server.url}/json?n={n}")).json())["hit"] for n in range(3)]

    bench.crash("after-start", 3, agent)
    assert bench.resume(agent) == [1, 1, 1]
    assert server.total == 3
    bench.crash("after-call", 2, agent)
    assert bench.resume(agent) == [2, 3, 2]


def test_a_stream_cut_off_by_a_crash_is_asked_for_again(bench: Bench, server: Server) -> None:
    """Nothing depends on it."""

    async def agent() -> Any:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{server.url}/stream?n=4") as answer:
                lines = [line async for line in answer.content]
            async with session.get(f"{server.url}/json") as answer:
                return lines[0], (await answer.json())["hit"]

    bench.crash("after-chunk", 3, agent)
    assert bench.resume(agent) == (b"data: 0/2\n", 1)


def test_gathered_requests_keep_their_answers(bench: Bench, server: Server) -> None:
    """Each its own, whatever comes first."""

    async def one(session: aiohttp.ClientSession, n: int) -> Any:
        async with session.get(f"{server.url}/slow?s=0.0{9 - n}&n={n}") as answer:
            return (await answer.json())["path"]

    async def agent() -> Any:
        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(*(one(session, n) for n in range(8)))

    assert len(set(same(bench, server, agent))) == 8


@pytest.mark.parametrize("released", [True, False])
def test_closed_early(bench: Bench, server: Server, released: bool) -> None:
    """Two events, and no more."""

    async def agent() -> Any:
        async with aiohttp.ClientSession() as session:
            answer = await session.get(f"{server.url}/stream?n=50")
            found = [await answer.content.readuntil(b"\n\n"), await answer.content.readuntil(b"\n\n")]
            if released:
                answer.release()
            else:
                answer.close()
            return found

    assert same(bench, server, agent) == [b"data: 0/1\n\n", b"data: 1/1\n\n"]


@pytest.mark.parametrize("path", ["/status?code=503&times=2", "/drop?times=2"])
def test_a_retry_of_the_callers_own_is_an_attempt(bench: Bench, server: Server, path: str) -> None:
    """What failed is not an outcome; the success answers the first call on replay."""
    calls = 0

    async def agent() -> Any:
        nonlocal calls
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            while True:
                calls += 1
                try:
                    async with session.post(server.url + path) as answer:
                        return (await answer.json())["hit"]
                except aiohttp.ClientError:
                    continue

    assert same(bench, server, agent) == 3
    assert calls == 4


@pytest.mark.parametrize("path", ["/drop", "/cut?n=2"])
def test_a_broken_connection_replays_as_it_broke(bench: Bench, server: Server, path: str) -> None:
    """An error of aiohttp, caught; then another call."""

    async def agent() -> Any:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.post(server.url + path) as answer:
                    found = await answer.text()
            except aiohttp.ClientError as error:
                found = type(error).__name__
            async with session.get(server.url + "/json") as answer:
                return found, (await answer.json())["hit"]

    value = same(bench, server, agent)
    assert value[0] in ("ServerDisconnectedError", "ClientPayloadError")


def test_nobody_listens(bench: Bench, server: Server) -> None:
    """A refused connection is aiohttp's own error, on replay too."""

    async def agent() -> Any:
        async with aiohttp.ClientSession() as session:
            try:
                await session.get("http://127.0.0.1:9/")
            except aiohttp.ClientConnectorError as error:
                found = type(error).__name__
            async with session.get(server.url + "/json") as answer:
                return found, (await answer.json())["hit"]

    assert same(bench, server, agent) == ("ClientConnectorError", 1)


def test_a_timeout_that_the_run_survives(bench: Bench, server: Server) -> None:
    """aiohttp's own."""

    async def agent() -> Any:
        limit = aiohttp.ClientTimeout(total=0.05)
        async with aiohttp.ClientSession(timeout=limit) as session:
            try:
                await session.get(server.url + "/slow?s=5")
            except TimeoutError:
                return "late"

    assert bench.new(agent) == "late"
    assert bench.execute_replay(agent) == "late"


def test_bodies_are_sent(bench: Bench, server: Server) -> None:
    """Bytes, a file, a form, a generator."""

    async def parts() -> Any:
        yield b"x"
        yield b"y"

    async def agent() -> Any:
        async with aiohttp.ClientSession() as session:
            found = []
            for data in (b"abc", io.BytesIO(b"file"), {"a": "1"}, parts()):
                async with session.post(server.url + "/json", data=data) as answer:
                    found.append((await answer.json())["hit"])
            return found

    assert same(bench, server, agent) == [1, 2, 3, 4]
    assert server.bodies == [b"abc", b"file", b"a=1", b"xy"]


def test_nothing_is_patched_outside_runs(bench: Bench, server: Server) -> None:
    """The very same function."""
    before = aiohttp.connector.BaseConnector.__dict__["connect"]

    async def agent() -> Any:
        assert aiohttp.connector.BaseConnector.__dict__["connect"] is not before
        async with aiohttp.ClientSession() as session, session.get(server.url + "/json") as answer:
            return await answer.json()

    bench.new(agent)
    assert aiohttp.connector.BaseConnector.__dict__["connect"] is before


@pytest.mark.slow
def test_google_genai_uses_it(bench: Bench) -> None:
    """Its async client prefers aiohttp where that is installed."""
    pytest.importorskip("google.genai")
    sdk = Gemini()
    script = turns([reply(tool_calls=[call("search", q="lease")]), reply("A lease ends by itself.")])
    with FakeProvider(script) as provider:

        async def agent() -> Any:
            return await sdk.agent_async(provider)

        expected = bench.new(agent)
        assert bench.execute_replay(agent) == expected
        assert provider.hits == 2
        assert {step.kind for step in bench.steps()} == {"model"}
