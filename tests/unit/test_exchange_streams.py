"""How an exchange ends that is a stream: whole, closed early, abandoned, cut off, broken, asked for again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httpx2
import pytest
from http_server import Server, replays
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import DivergenceError


def lines(answer: Any) -> list[bytes]:
    """All of a stream."""
    return list(answer.iter_raw())


def test_closed_early_and_read_no_further(bench: Bench, server: Server) -> None:
    """The prefix replays; who reads on has diverged."""
    wanted = 2

    def agent() -> Any:
        found = []
        with httpx2.stream("GET", server.url + "/stream?n=5&gap=0.02") as answer:
            for part in answer.iter_raw():
                found.append(part)
                if len(found) == wanted:
                    break
        return found, httpx2.get(server.url + "/json").json()

    value = bench.new(agent)
    assert len(value[0]) == 2
    assert replays(bench, server, agent) == value
    wanted = 4
    with pytest.raises(DivergenceError, match="left"):
        bench.execute_replay(agent)


def test_abandoned_without_being_closed(bench: Bench, server: Server) -> None:
    """Kept and never closed: finalised when the run ends, and replayed without waiting for more."""
    kept = []

    def agent() -> Any:
        client = httpx2.Client()
        answer = client.send(client.build_request("GET", server.url + "/stream?n=3&gap=0.01"), stream=True)
        parts = answer.iter_raw()
        kept.append((client, answer, parts))
        found = [next(parts), next(parts)]
        return found, httpx2.get(server.url + "/json").json(), httpx2.get(server.url + "/json").json()

    value = bench.new(agent)
    assert bench.steps()[0].status == "completed"
    assert replays(bench, server, agent) == value
    kept.clear()


def test_cut_off_by_a_crash_and_nothing_depends_on_it(bench: Bench, server: Server) -> None:
    """It is issued again."""

    def agent() -> Any:
        with httpx2.stream("GET", server.url + "/stream?n=3&gap=0.01") as answer:
            return lines(answer)

    bench.crash("after-chunk", 3, agent)
    parts = bench.resume(agent)
    assert parts[0] == b"data: 0/2\n\n"
    assert len(parts) == 4
    assert replays(bench, server, agent) == parts


def test_cut_off_by_a_crash_after_its_strand_acted_on_it(bench: Bench, server: Server) -> None:
    """The prefix, and then the client's own error."""

    def agent() -> Any:
        found: list[Any] = []
        try:
            with httpx2.stream("GET", server.url + "/stream?n=3&gap=0.01") as answer:
                for part in answer.iter_raw():
                    found.append(part)
                    if len(found) == 2:
                        found.append(durable.step("note", lambda: "noted"))
        except httpx2.RemoteProtocolError as error:
            found.append(str(error))
        return found

    bench.crash("after-chunk", 4, agent)
    value = bench.resume(agent)
    assert value[:3] == [b"data: 0/1\n\n", b"data: 1/1\n\n", "noted"]
    assert "cut off" in value[-1]
    assert server.total == 1
    assert replays(bench, server, agent) == value


def test_a_connection_that_breaks_in_mid_stream(bench: Bench, server: Server) -> None:
    """The chunks, then the same error."""

    def agent() -> Any:
        found: list[Any] = []
        try:
            with httpx2.stream("GET", server.url + "/cut?n=2") as answer:
                found += iter(answer.iter_raw())
        except httpx2.RemoteProtocolError as error:
            found.append(str(error))
        return found, httpx2.get(server.url + "/json").json()

    value = bench.new(agent)
    assert replays(bench, server, agent) == value
    assert bench.steps()[0].status == "failed"


def test_a_broken_stream_that_is_asked_for_again(bench: Bench, server: Server) -> None:
    """The second try is an attempt of the same step: replay has only that one."""
    calls = []

    def agent() -> Any:
        while True:
            calls.append(1)
            with (
                contextlib.suppress(httpx2.RemoteProtocolError),
                httpx2.stream("GET", server.url + "/cut?n=2&ok=2") as answer,
            ):
                return lines(answer)

    value = bench.new(agent)
    assert value[0] == b"data: 0/2\n\n"
    assert replays(bench, server, agent) == value
    assert len(calls) == 3


@pytest.mark.parametrize("crash", [False, True])
def test_a_stream_asked_for_again_after_its_strand_acted_on_it(
    bench: Bench, server: Server, crash: bool
) -> None:
    """That is another step: the first one, broken off by the server or the crash, is what was acted on."""
    path = "/stream?n=3&gap=0.01" if crash else "/cut?n=2&ok=2"

    async def agent() -> Any:
        found: list[Any] = []
        async with asyncio.timeout(10), httpx2.AsyncClient() as client:
            while True:
                with contextlib.suppress(httpx2.RemoteProtocolError):
                    async with client.stream("GET", server.url + path) as answer:
                        async for part in answer.aiter_raw():
                            found.append(part)
                            found.append(durable.step("note", lambda part=part: b"noted " + part))
                    return found

    if crash:
        bench.crash("after-chunk", 4, agent)
        value = bench.resume(agent)
    else:
        value = bench.new(agent)
    assert value[:2] == [b"data: 0/1\n\n", b"noted data: 0/1\n\n"]
    assert b"data: 0/2\n\n" in value
    assert server.total == 2
    assert replays(bench, server, agent) == value


@pytest.mark.slow
def test_stopped_before_a_stream_that_was_cut_off_is_sent_again(bench: Bench, server: Server) -> None:
    """Nothing of it was delivered again, which is what the next process finds."""
    resumed = False
    seen = asyncio.Event()

    async def stream() -> Any:
        try:
            async with (
                asyncio.timeout(0.05 if resumed else 10),
                httpx2.AsyncClient() as client,
                client.stream("GET", server.url + "/stream?n=3&gap=0.05") as answer,
            ):
                async for _ in answer.aiter_raw():
                    seen.set()
        except TimeoutError:
            return "late"

    async def other() -> Any:
        await (asyncio.sleep(0.5) if resumed else seen.wait())
        return durable.step("other", lambda: "other")  # which has the chunk written

    async def agent() -> Any:
        return await asyncio.gather(stream(), other())

    bench.crash("after-chunk", 3, agent)
    resumed = True
    assert bench.resume(agent) == ["late", "other"]
    assert server.total == 1
    assert replays(bench, server, agent) == ["late", "other"]


@pytest.mark.slow
def test_several_streams_at_once_keep_their_order(bench: Bench, server: Server) -> None:
    """Merged as the chunks came; the same on replay."""

    async def agent() -> Any:
        merged: list[bytes] = []

        async def read(n: int) -> None:
            url = f"{server.url}/stream?n=6&gap=0.0{n}"
            async with httpx2.AsyncClient() as client, client.stream("GET", url) as answer:
                async for part in answer.aiter_raw():
                    merged.append(b"%d " % n + part)  # noqa: PERF401 - several of them do it in turn

        await asyncio.gather(*(read(n) for n in range(1, 6)))
        return merged

    value = bench.new(agent)
    assert len(value) == 35
    assert replays(bench, server, agent) == value


@pytest.mark.slow
def test_a_step_made_while_a_stream_is_open(bench: Bench, server: Server) -> None:
    """In any strand: the chunks delivered come first in the journal."""

    async def agent() -> Any:
        found: list[Any] = []
        url = server.url + "/stream?n=6&gap=0.01"
        async with httpx2.AsyncClient() as client, client.stream("GET", url) as answer:
            async for part in answer.aiter_raw():
                found.append(part)
                if len(found) == 3:
                    found.append((await client.get(server.url + "/json")).json()["hit"])
        return found

    value = bench.new(agent)
    assert replays(bench, server, agent) == value
    bench.crash("after-outcome", 1, agent)  # of the request inside
    with pytest.raises(httpx2.RemoteProtocolError, match="cut off"):
        bench.resume(agent)


def test_an_edit_where_a_stream_was_left(bench: Bench, server: Server) -> None:
    """The code failed over its first event: corrected, it gets a stream of its own to read."""
    wrong = True

    def agent() -> Any:
        with httpx2.stream("GET", server.url + "/stream?n=3&gap=0.01") as answer:
            for part in answer.iter_raw():
                if wrong:
                    raise ValueError(part)
            return part

    with pytest.raises(ValueError, match="data: 0"):
        bench.new(agent)
    with pytest.raises(ValueError, match="data: 0/1"):
        bench.resume(agent)
    assert server.total == 1
    wrong = False
    assert bench.fork(agent) == b"data: [DONE]\n\n"
    assert server.total == 2


@pytest.mark.slow
def test_a_stream_that_was_left_on_purpose_stays_left(bench: Bench, server: Server) -> None:
    """In a run that came to its end, which was edited below; in the fork itself."""
    more = False

    def agent() -> Any:
        with httpx2.stream("GET", server.url + "/stream?n=3&gap=0.01") as answer:
            first = next(answer.iter_raw())
        if not more:
            return first
        return [first, httpx2.get(server.url + "/json").json()["hit"]]

    first = bench.new(agent)
    assert server.total == 1
    more = True
    assert bench.fork(agent) == [first, 1]
    assert server.total == 2  # only what was added

    def left_last() -> Any:
        hit = httpx2.get(server.url + "/json?x=1").json()["hit"]
        with httpx2.stream("GET", f"{server.url}/stream?n=3&gap=0.01&{more}") as answer:
            return [hit, next(answer.iter_raw())]

    bench.new(left_last)
    more = "edited"  # type: ignore[assignment]
    value = bench.fork(left_last)
    assert replays(bench, server, left_last) == value


@pytest.mark.parametrize("read_on", [True, False])
def test_a_stream_that_outlives_its_run(bench: Bench, server: Server, read_on: bool) -> None:
    """Read or closed when the run has failed: it is nobody's any more; the run resumes and asks anew."""
    kept: list[Any] = []
    fail = True

    def agent() -> Any:
        client = httpx2.Client()
        answer = client.send(client.build_request("GET", server.url + "/stream?n=3&gap=0.01"), stream=True)
        parts = answer.iter_raw()
        kept[:] = [answer, parts]
        found = [next(parts)]
        if fail:
            raise ValueError("stop")
        return found + list(parts)

    with pytest.raises(ValueError, match="stop"):
        bench.new(agent)
    if read_on:
        assert len(list(kept[1])) == 3
    kept[0].close()
    fail = False
    assert bench.resume(agent)[0] == b"data: 0/2\n\n"
