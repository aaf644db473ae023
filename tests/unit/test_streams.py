"""How streams are written down and read again: many chunks to an entry, read further, stopped."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from http_server import Server, replays
from runs import Bench

from jupyter_durable.errors import DivergenceError
from jupyter_durable.model import Payload
from jupyter_durable.runtime.pieces import Pieces
from jupyter_durable.testing import KILL_POINTS, Crash, crash_at


def kinds(bench: Bench) -> Counter[str]:
    """The newest run's entries by type."""
    return Counter(entry.type for entry in bench.store.entries(bench.record.id))


def merging(server: Server, merged: list[bytes], streams: int, **query: Any) -> Any:
    """An agent that reads `streams` at once, all into one list."""

    async def agent() -> Any:
        merged.clear()

        async def read(n: int) -> None:
            url = f"{server.url}/stream?s={n}&" + "&".join(f"{key}={value}" for key, value in query.items())
            async with httpx2.AsyncClient() as client, client.stream("GET", url) as answer:
                async for part in answer.aiter_raw():
                    merged.append(b"%d " % n + part)  # noqa: PERF401 - several of them do it in turn

        await asyncio.gather(*(read(n) for n in range(streams)))
        return list(merged)

    return agent


@pytest.mark.slow
def test_streams_that_take_turns_have_an_entry_each(bench: Bench, server: Server) -> None:
    """Ten of 42 chunks: not an entry for each turn; merged on replay as they came."""
    agent = merging(server, [], 10, n=41, gap=0.01)
    value = bench.new(agent)
    assert len(value) == 420
    assert sum(a[:1] != b[:1] for a, b in pairwise(value)) > 200  # they did take turns
    found = kinds(bench)
    assert found["outcome"] == 10
    assert found["chunk"] < 130  # each stream's end commits what the others have got by then
    assert replays(bench, server, agent) == value
    assert replays(bench, server, agent) == value


@pytest.mark.slow
def test_streams_that_take_turns_crash_everywhere(server: Server) -> None:
    """Whenever it is cut off: it goes on, and what was merged then is merged so again."""
    merged: list[bytes] = []
    agent = merging(server, merged, 3, n=4, gap=0.004)
    bench = Bench()
    with crash_at("before-close", 99) as passed:
        bench.new(agent)
    for point in KILL_POINTS:
        for nth in range(2, passed.count(point) + 1, 3):
            bench = Bench()
            with crash_at(point, nth):
                try:
                    bench.new(agent)
                except Crash:
                    if not bench.store.runs():
                        continue
                    value = bench.resume(agent)
                    assert len(value) >= 15
                    assert replays(bench, server, agent) == value, (point, nth)


def test_a_group_says_how_its_streams_took_turns() -> None:
    """An entry each; only if one came between are its turns told."""

    def encode(data: bytes) -> Payload:
        return Payload("raw", data)

    group = Pieces()
    assert group.begin((1, 0), encode(b"head"))
    for owner, data in (("a", b"1"), ("a", b"22"), ("b", b"333"), ("a", b"4")):
        assert group.add(owner, (1, "ab".index(owner)), 1, data, 7, encode)
    head, a, b = group
    assert (head.meta, a.pos, b.pos) == ({"i": 0, "g": 0, "o": [0, 1]}, 0, 1)
    assert a.meta == {"i": 1, "z": [1, 2, 1], "t": [7, 7, 7], "g": 1, "o": [1, 2, 4, 1]}
    assert b.meta == {"i": 1, "z": [3], "t": [7], "g": 2, "o": [3, 1]}
    assert not group.add("a", (1, 0), 5, b"5", 8, encode)  # taken
    one_after_the_other = Pieces()
    for owner in ("a", "a", "b"):
        one_after_the_other.add(owner, (1, 0), 1, b"x", 0, encode)
    assert [draft.meta for draft in one_after_the_other] == [
        {"i": 1, "z": [1, 1], "t": [0, 0]},
        {"i": 1, "z": [1], "t": [0]},
    ]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["close", "hold"])
@pytest.mark.parametrize("blocking", [True, False])
def test_an_edit_that_reads_further(bench: Bench, server: Server, end: str, blocking: bool) -> None:
    """A stream left on purpose, and read on by the edited cell: it breaks there, as one that a crash cut off, and
    is asked for again when the cell is run again; what came after it is done anew, what came before is not."""
    wanted = 2
    held: list[Any] = []

    async def read(answer: Any) -> list[bytes]:
        found: list[bytes] = []
        parts = answer.iter_raw() if blocking else answer.aiter_raw()
        held.append(parts)
        while len(found) < wanted:
            found.append(next(parts) if blocking else await anext(parts))
        return found

    async def agent() -> Any:
        client: Any = httpx2.Client() if blocking else httpx2.AsyncClient()

        async def get(path: str, **how: Any) -> Any:
            answer = client.send(client.build_request("GET", server.url + path), **how)
            return answer if blocking else await answer

        before = (await get("/json?before")).json()["hit"]
        answer = await get("/stream?n=5&gap=0.01", stream=True)
        held.append(answer)
        found = await read(answer)
        if end == "close":
            answer.close() if blocking else await answer.aclose()
        return [before, found, (await get("/json?after")).json()["hit"]]

    before, found, after = bench.new(agent)
    assert (before, len(found), after) == (1, 2, 1)
    wanted = 4
    with pytest.raises(
        httpx2.RemoteProtocolError, match="2 chunks of this response were read before the code was edited"
    ):
        bench.fork(agent)
    assert server.hits["GET /stream?n=5&gap=0.01"] == 1
    before, found, after = bench.resume(agent)
    assert (before, after) == (1, 2)
    assert [part[-3:] for part in found] == [b"2\n\n"] * 4  # all of the second answer
    assert server.hits == {"GET /json?before": 1, "GET /stream?n=5&gap=0.01": 2, "GET /json?after": 2}
    assert replays(bench, server, agent) == [before, found, after]
    assert [step.status for step in bench.steps() if not step.history] == ["completed"] * 3
    wanted = 5  # unedited, and yet it differs: that is no edit
    with pytest.raises(DivergenceError, match="left"):
        bench.execute_replay(agent)


@pytest.mark.slow
def test_an_edit_that_reads_further_and_asks_again(bench: Bench, server: Server) -> None:
    """As every careful client does: then the fork comes to its end at once."""
    wanted = 1

    def agent() -> Any:
        for _ in range(2):
            found: list[bytes] = []
            try:
                with httpx2.stream("GET", server.url + "/stream?n=3&gap=0.01") as answer:
                    for part in answer.iter_raw():
                        found.append(part)
                        if len(found) == wanted:
                            break
            except httpx2.RemoteProtocolError:
                continue
            return [found, httpx2.get(server.url + "/json").json()["hit"]]
        return None

    assert bench.new(agent) == [[b"data: 0/1\n\n"], 1]
    wanted = 2
    value = bench.fork(agent)
    assert value == [[b"data: 0/2\n\n", b"data: 1/2\n\n"], 2]
    assert replays(bench, server, agent) == value
    assert any("leaves behind 1 step" in notice for notice in bench.notices)


@pytest.mark.slow
@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_response_that_is_left_because_the_run_ends(
    bench: Bench, server: Server, error: type[BaseException], blocking: bool
) -> None:
    """What ended the run closed it: resumed, it breaks there, as after a crash; asked for again when the cell is run again."""
    url = server.url + "/stream?n=4&gap=0.01"
    ended: list[int] = []

    def use(n: int) -> int:
        if n == 1 and not ended:
            ended.append(n)
            raise error
        return n

    async def agent() -> list[int]:
        if blocking:
            with httpx2.stream("GET", url) as answer:
                return [use(n) for n, _ in enumerate(answer.iter_raw())]
        found: list[int] = []
        async with httpx2.AsyncClient() as client, client.stream("GET", url) as answer:
            async for _ in answer.aiter_raw():
                found.append(use(len(found)))
        return found

    with pytest.raises(error):
        bench.new(agent)
    with pytest.raises(httpx2.RemoteProtocolError, match="cut off after 2 chunks"):
        bench.resume(agent)
    assert len(server.hits) == 1
    assert bench.resume(agent) == [0, 1, 2, 3, 4]
    assert list(server.hits.values()) == [2]
    assert replays(bench, server, agent) == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_an_answer_that_is_whole_when_its_reader_is_stopped(bench: Bench, server: Server) -> None:
    """Its last event has come, and a timeout strikes before the connection ends: it was answered, and is on replay;
    the timeout is one again."""

    async def agent() -> Any:
        found: list[bytes] = []
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        async with httpx2.AsyncClient() as client:
            try:
                async with (
                    asyncio.timeout(0.3),
                    client.stream("POST", f"{server.url}/linger/chat/completions?s=9", json=body) as answer,
                ):
                    async for part in answer.aiter_raw():
                        found.append(part)  # noqa: PERF401 - it is stopped in there
            except TimeoutError:
                found.append(b"late")
            return found, (await client.get(server.url + "/json")).json()["hit"]

    value = bench.new(agent)
    assert value == ([b"data: 0/1\n\n", b"data: 1/1\n\n", b"data: [DONE]\n\n", b"late"], 1)
    assert [step.status for step in bench.steps()] == ["completed", "completed"]
    assert replays(bench, server, agent) == value
    assert replays(bench, server, agent) == value


@pytest.mark.slow
def test_a_reader_that_is_stopped_between_two_chunks(bench: Bench, server: Server) -> None:
    """It does something else when the timeout strikes, and the response is closed: on replay, where nothing takes time,
    it asks for the next chunk before that. It waits there to be stopped, and has not diverged."""
    slow = True

    async def agent() -> Any:
        found: list[bytes] = []
        async with httpx2.AsyncClient() as client:
            try:
                async with (
                    asyncio.timeout(0.4),
                    client.stream("GET", server.url + "/stream?n=9&gap=0") as answer,
                ):
                    async for part in answer.aiter_raw():
                        found.append(part)
                        if len(found) == 3:
                            await asyncio.sleep(9 if slow else 0)  # shown to somebody, say
            except TimeoutError:
                found.append(b"late")
            return len(found), (await client.get(server.url + "/json")).json()["hit"]

    value = bench.new(agent)
    assert value == (4, 1)
    slow = False
    assert replays(bench, server, agent) == value
