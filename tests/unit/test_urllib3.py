"""urllib3 inside a run, alone and under requests and botocore: replayed below them; the server's hits are counted."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
import requests
import requests.adapters
import urllib3
from http_server import COMPRESSED, GAP, Server
from runs import Bench
from sdks import Bedrock

from jupyter_durable.testing import FakeProvider, call, reply, turns

POOL = urllib3.connectionpool.HTTPConnectionPool


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
def test_requests_gets_the_response_it_got(bench: Bench, server: Server, path: str) -> None:
    """Status, reason, headers, cookies and content, through redirects; a session made before the run."""
    session = requests.Session()

    def agent() -> Any:
        session.cookies.clear()
        answer = session.post(server.url + path, json={"a": 1})
        return [
            answer.status_code,
            answer.reason,
            answer.raw.version,
            list(answer.headers.items()),
            answer.content,
            [r.status_code for r in answer.history],
            dict(session.cookies),
            answer.url,
        ]

    found = same(bench, server, agent)
    if path == "/cookie":
        assert found[6] == {"session": "planted-secret-cookie"}


@pytest.mark.parametrize("path", ["/json", *COMPRESSED, "/big", "/chunks"])
@pytest.mark.parametrize("preload", [True, False])
def test_urllib3_alone(bench: Bench, server: Server, path: str, preload: bool) -> None:
    """A pool manager, decoding or not, read whole or in pieces."""

    def agent() -> Any:
        with urllib3.PoolManager() as pools:
            answer = pools.request("GET", server.url + path, preload_content=preload)
            raw = pools.request("GET", server.url + path + "#", preload_content=False, decode_content=False)
            parts = list(raw.stream(1 << 16))
            raw.release_conn()
            data = answer.data if preload else answer.read()
            return answer.status, dict(answer.headers), data, b"".join(parts)

    same(bench, server, agent)


@pytest.mark.parametrize("query", ["n=5", "n=5&gzip=1"])
def test_streams_pass_live_and_replay(bench: Bench, server: Server, query: str) -> None:
    """Each event when it comes, with the borders it had; at once on replay."""
    times: list[float] = []

    def agent() -> Any:
        found = []
        with requests.get(f"{server.url}/stream?{query}", stream=True) as answer:
            for part in answer.iter_content(None):
                times.append(time.monotonic())
                found.append(part)
        return found

    parts = same(bench, server, agent)
    assert b"".join(parts).endswith(b"data: [DONE]\n\n")
    if "gzip" not in query:
        assert len(parts) == 6
        live, again = times[5] - times[0], times[-1] - times[6]
        assert live > 4 * GAP
        assert again < live / 4


def test_lines_of_a_stream_come_as_they_are_sent(bench: Bench, server: Server) -> None:
    """Whatever chunk size the reader asks for."""
    times: list[float] = []

    def agent() -> Any:
        with requests.get(f"{server.url}/stream?n=5", stream=True) as answer:
            return [times.append(time.monotonic()) or line for line in answer.iter_lines() if line]

    assert same(bench, server, agent)[-1] == b"data: [DONE]"
    assert times[5] - times[0] > 4 * GAP


def test_a_crash_repeats_only_what_was_under_way(bench: Bench, server: Server) -> None:
    """The requests that were answered stay so."""

    def agent() -> Any:
        return [requests.get(f"{server.url}/json?n={n}").json()["hit"] for n in range(3)]

    bench.crash("after-start", 3, agent)
    assert bench.resume(agent) == [1, 1, 1]
    assert server.total == 3
    bench.crash("after-call", 2, agent)
    assert bench.resume(agent) == [2, 3, 2]


def test_a_stream_cut_off_by_a_crash_is_asked_for_again(bench: Bench, server: Server) -> None:
    """Nothing depends on it."""

    def agent() -> Any:
        with requests.get(f"{server.url}/stream?n=4", stream=True) as answer:
            lines = [line for line in answer.iter_lines() if line]
        return lines, requests.get(f"{server.url}/json").json()["hit"]

    bench.crash("after-chunk", 3, agent)
    lines, hit = bench.resume(agent)
    assert lines[0] == b"data: 0/2"
    assert hit == 1


def test_closed_early(bench: Bench, server: Server) -> None:
    """Two events, and no more."""

    def agent() -> Any:
        with requests.get(f"{server.url}/stream?n=50", stream=True) as answer:
            parts = answer.iter_content(None)
            return [next(parts), next(parts)]

    assert same(bench, server, agent) == [b"data: 0/1\n\n", b"data: 1/1\n\n"]


@pytest.mark.parametrize("path", ["/status?code=503&times=2", "/drop?times=2"])
def test_a_retry_of_the_callers_own_is_an_attempt(bench: Bench, server: Server, path: str) -> None:
    """What failed is not an outcome; the success answers the first call on replay."""
    calls = 0

    def agent() -> Any:
        nonlocal calls
        while True:
            calls += 1
            try:
                answer = requests.get(server.url + path)
                answer.raise_for_status()
                return answer.json()["hit"]
            except requests.RequestException:
                continue

    assert same(bench, server, agent) == 3
    assert calls == 4


def test_urllib3s_own_retries_are_one_attempt(bench: Bench, server: Server) -> None:
    """A session with a retrying adapter."""

    def agent() -> Any:
        with requests.Session() as session:
            retry = urllib3.Retry(total=5, status_forcelist=[503], backoff_factor=0)
            session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
            return session.get(server.url + "/status?code=503&times=2").json()["hit"]

    assert same(bench, server, agent) == 3
    assert len(bench.steps()) == 1


@pytest.mark.parametrize("path", ["/drop", "/cut?n=2"])
def test_a_broken_connection_replays_as_it_broke(bench: Bench, server: Server, path: str) -> None:
    """An error of requests, caught; then another call."""

    def agent() -> Any:
        try:
            found = requests.get(server.url + path).text
        except requests.ConnectionError as error:
            found = type(error).__name__
        except requests.exceptions.ChunkedEncodingError as error:
            found = type(error).__name__
        return found, requests.get(server.url + "/json").json()["hit"]

    value = same(bench, server, agent)
    assert value[0] in ("ConnectionError", "ChunkedEncodingError")


def test_files_are_sent_and_told_apart(bench: Bench, server: Server) -> None:
    """A file is read for its digest and sent from its beginning; a generator is sent untouched."""

    def agent() -> Any:
        one = requests.post(server.url + "/json", data=io.BytesIO(b"abc")).json()["hit"]
        two = requests.post(server.url + "/json", files={"f": ("a.txt", b"content")}).json()["hit"]
        three = requests.post(server.url + "/json", data=(part for part in [b"x", b"y"])).json()["hit"]
        return one, two, three

    assert same(bench, server, agent) == (1, 2, 3)
    assert server.bodies[0] == b"abc"
    assert b"content" in server.bodies[1]
    assert server.bodies[2] == b"xy"


def test_nothing_is_patched_outside_runs(bench: Bench, server: Server) -> None:
    """The very same function, and an ordinary response."""
    before = POOL.__dict__["urlopen"]

    def agent() -> Any:
        assert POOL.__dict__["urlopen"] is not before
        return requests.get(server.url + "/json").json()

    bench.new(agent)
    assert POOL.__dict__["urlopen"] is before
    assert type(requests.get(server.url + "/json").raw._fp).__module__ == "http.client"


# -- botocore --------------------------------------------------------------------------------------------


SCRIPT = turns(
    [reply(tool_calls=[call("search", q="lease")]), reply("A lease is a right that ends by itself.")]
)


def test_an_agent_on_bedrock_killed_at_each_point(bench: Bench) -> None:
    """Converse with a tool call: no answered request is made again."""
    pytest.importorskip("boto3")
    sdk = Bedrock()
    with FakeProvider(SCRIPT) as provider:
        expected = bench.new(lambda: sdk.agent(provider))
        assert provider.hits == 2
        assert bench.execute_replay(lambda: sdk.agent(provider)) == expected
        assert provider.hits == 2
        assert {step.kind for step in bench.steps()} == {"model"}
        for point, nth, more in [("after-start", 2, 2), ("after-call", 1, 3), ("after-outcome", 1, 2)]:
            before = provider.hits
            bench.crash(point, nth, lambda: sdk.agent(provider))
            assert bench.resume(lambda: sdk.agent(provider)) == expected
            assert provider.hits - before == more


def test_a_stream_of_bedrock_events(bench: Bench) -> None:
    """ConverseStream: binary events, live and again."""
    pytest.importorskip("boto3")
    sdk = Bedrock()
    with FakeProvider(turns([reply("one two three four")])) as provider:
        parts = bench.new(lambda: list(sdk.stream(provider)))
        assert "".join(parts) == "one two three four"
        assert bench.execute_replay(lambda: list(sdk.stream(provider))) == parts
        assert provider.hits == 1
