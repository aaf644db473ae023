"""httpx and httpx2 inside a run: recorded and replayed below the client; the server's hits are counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest
from http_server import GAP, Server, serving
from runs import Bench


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that counts."""
    with serving() as running:
        yield running


@pytest.fixture
def bench() -> Bench:
    """An empty store."""
    return Bench()


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def lib(request: pytest.FixtureRequest) -> Any:
    """Both libraries."""
    return request.param


def same(bench: Bench, server: Server, fn: Any) -> Any:
    """Execute, then replay: equal results, no further request."""
    value = bench.new(fn)
    hits = server.total
    assert hits
    assert bench.execute_replay(fn) == value
    assert server.total == hits
    return value


# -- whole responses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/json", "/gzip", "/big", "/chunks", "/status?code=404", "/redirect", "/cookie"]
)
def test_a_response_replays_byte_for_byte(bench: Bench, server: Server, lib: Any, path: str) -> None:
    """Status, reason, version, headers, cookies and content, through redirects."""

    def agent() -> Any:
        with lib.Client(follow_redirects=True) as client:
            answer = client.get(server.url + path)
            return [
                answer.status_code,
                answer.reason_phrase,
                answer.http_version,
                answer.headers.raw,
                answer.content,
                [r.status_code for r in answer.history],
                dict(client.cookies),
                answer.elapsed is not None,
                str(answer.url),
            ]

    same(bench, server, agent)


@pytest.mark.parametrize("path", ["/json", "/gzip", "/big", "/chunks", "/redirect"])
def test_async_too(bench: Bench, server: Server, lib: Any, path: str) -> None:
    """An async client."""

    async def agent() -> Any:
        async with lib.AsyncClient(follow_redirects=True) as client:
            answer = await client.post(server.url + path, json={"a": 1})
            return [answer.status_code, answer.headers.raw, answer.content]

    same(bench, server, agent)


def test_raw_bytes_stay_compressed(bench: Bench, server: Server, lib: Any) -> None:
    """What is recorded is what was on the wire."""

    def agent() -> Any:
        with lib.Client() as client, client.stream("GET", server.url + "/gzip") as answer:
            return b"".join(answer.iter_raw())[:2]

    assert same(bench, server, agent) == b"\x1f\x8b"


def test_a_crash_between_two_requests_repeats_none(bench: Bench, server: Server, lib: Any) -> None:
    """Only the one under way is made again."""

    def agent() -> Any:
        with lib.Client() as client:
            return [client.get(f"{server.url}/json?n={n}").json()["hit"] for n in range(3)]

    bench.crash("after-start", 3, agent)
    assert bench.resume(agent) == [1, 1, 1]
    assert server.total == 3
    bench.crash("after-call", 2, agent)
    assert bench.resume(agent) == [1 + 1, 2 + 1, 1 + 1]


def test_streams_pass_live_and_replay(bench: Bench, server: Server, lib: Any) -> None:
    """Each event when it comes; at once on replay."""
    times: list[float] = []

    def agent() -> Any:
        with lib.Client() as client, client.stream("GET", f"{server.url}/stream?n=5") as answer:
            found = []
            for part in answer.iter_raw():
                times.append(time.monotonic())
                found.append(part)
            return found

    parts = same(bench, server, agent)
    assert parts[-1] == b"data: [DONE]\n\n"
    live, again = times[:6], times[6:]
    assert live[5] - live[0] > 4 * GAP
    assert again[-1] - again[0] < GAP


def test_nothing_is_patched_outside_runs(bench: Bench, server: Server, lib: Any) -> None:
    """The very same functions."""
    before = lib.Client.__dict__["_transport_for_url"], lib.AsyncClient.__dict__["_transport_for_url"]

    def agent() -> Any:
        assert lib.Client.__dict__["_transport_for_url"] is not before[0]
        return lib.get(server.url + "/json").json()

    bench.new(agent)
    assert (
        lib.Client.__dict__["_transport_for_url"],
        lib.AsyncClient.__dict__["_transport_for_url"],
    ) == before
