"""httpx and httpx2 inside a run: recorded and replayed below the client; the server's hits are counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from http_server import COMPRESSED, GAP, Server
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.session import Session
from jupyter_durable.store import connect
from jupyter_durable.testing.proving import execute


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
    "path", ["/json", *COMPRESSED, "/big", "/chunks", "/status?code=404", "/redirect", "/cookie"]
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


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/json", *COMPRESSED, "/big", "/chunks", "/redirect"])
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


@pytest.mark.slow
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
    live, again = times[5] - times[0], times[-1] - times[6]
    assert live > 4 * GAP
    assert again < live / 4


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


# -- around the transport --------------------------------------------------------------------------------


def test_hooks_auth_and_mounts_go_on_as_usual(bench: Bench, server: Server, lib: Any) -> None:
    """They are above or below us; a client made before the run is covered."""
    seen: list[str] = []

    class Tagged(lib.HTTPTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            seen.append("transport")
            return super().handle_request(request)

    client = lib.Client(
        auth=("user", "planted-password"),
        event_hooks={
            "request": [lambda request: seen.append("request")],
            "response": [lambda response: seen.append(f"response {response.status_code}")],
        },
        mounts={"http://": Tagged()},
    )

    def agent() -> Any:
        return client.get(server.url + "/json").json()

    value = bench.new(agent)
    assert seen == ["request", "transport", "response 200"]
    assert server.seen[0]["Authorization"].startswith("Basic ")
    seen.clear()
    assert bench.execute_replay(agent) == value
    assert seen == ["request", "response 200"]
    client.close()


def test_a_token_endpoint_is_asked_every_time(bench: Bench, server: Server, lib: Any) -> None:
    """A credential exchange is no step: its answer is good for a while only, and nobody else's business."""

    class Auth(lib.Auth):  # type: ignore[misc]
        requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            answer = yield lib.Request(
                "POST", server.url + "/json/oauth/token", data={"grant_type": "client_credentials"}
            )
            request.headers["authorization"] = f"Bearer {answer.json()['hit']}"
            yield request

    def agent() -> Any:
        with lib.Client(auth=Auth()) as client:
            return client.get(server.url + "/json").json()

    value = bench.new(agent)
    assert bench.execute_replay(agent) == value
    assert server.hits["POST /json/oauth/token"] == 2
    assert server.hits["GET /json"] == 1
    assert [step.name.split()[0] for step in bench.steps()] == ["GET"]


def test_multipart_bodies_are_equal_whatever_their_boundary(bench: Bench, server: Server, lib: Any) -> None:
    """It is random; the digest does not cover it."""

    def agent() -> Any:
        with lib.Client() as client:
            answer = client.post(
                server.url + "/json", files={"file": ("a.txt", b"content")}, data={"purpose": "x"}
            )
            return answer.json()

    same(bench, server, agent)
    assert b"content" in server.bodies[0]


def test_a_streamed_request_body_is_sent_and_left_out(bench: Bench, server: Server, lib: Any) -> None:
    """A generator can be read once: that is the server's."""

    def agent() -> Any:
        def parts() -> Iterator[bytes]:
            yield b"one "
            yield b"two"

        with lib.Client() as client:
            return client.post(server.url + "/json", content=parts()).json()

    same(bench, server, agent)
    assert server.bodies[0] == b"one two"
    assert "streamed body" in bench.steps()[0].arguments


def test_cookies_are_sealed(server: Server, lib: Any, tmp_path: Path) -> None:
    """What replay must give back, nobody else can read."""
    store = connect(str(tmp_path / "journal.db"))
    session = Session(store)

    def agent() -> Any:
        with lib.Client() as client:
            client.get(server.url + "/cookie", headers={"authorization": "Bearer planted-bearer"})
            return dict(client.cookies)

    value = execute(session, session.new("run"), agent)
    assert value == ("returned", {"session": "planted-secret-cookie"})
    assert execute(session, session.replay(store.runs()[0]), agent) == value
    store.close()
    for file in tmp_path.iterdir():
        assert b"planted" not in file.read_bytes()


# -- whether it is a step --------------------------------------------------------------------------------


def test_inside_a_tool_it_is_covered_by_the_tool(bench: Bench, server: Server, lib: Any) -> None:
    """One step, and no notice about a connection."""

    @durable.tool
    def fetch() -> Any:
        return lib.get(server.url + "/json").json()

    same(bench, server, fetch)
    assert [step.kind for step in bench.steps()] == ["tool"]
    assert bench.notices == []


def test_a_model_call_inside_a_tool_is_its_child(bench: Bench, server: Server, lib: Any) -> None:
    """Cut off after it, the tool goes on with it."""
    ask = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    @durable.tool
    def think() -> Any:
        return [
            lib.post(f"{server.url}/json/v1/chat/completions?n={n}", json=ask).json()["hit"] for n in range(2)
        ]

    bench.crash("after-start", 3, think)
    assert bench.resume(think) == [1, 1]
    assert server.total == 2
    assert [step.kind for step in bench.steps()] == ["tool", "model", "model"]


def test_a_transport_below_a_transport_passes(bench: Bench, server: Server, lib: Any) -> None:
    """The outermost wins."""

    class Below(lib.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            answer = lib.get(str(request.url))
            return lib.Response(answer.status_code, content=answer.content)

    def agent() -> Any:
        with lib.Client(transport=Below()) as client:
            return client.get(server.url + "/json").json()

    same(bench, server, agent)
    assert len(bench.steps()) == 1


@pytest.mark.parametrize("capture", [(), ("models",), ("http",)])
def test_what_is_not_captured_is_made_as_ever(
    bench: Bench, server: Server, lib: Any, capture: tuple[str, ...]
) -> None:
    """`--capture` says which."""
    ask = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    def agent() -> Any:
        lib.get(server.url + "/json")
        lib.post(server.url + "/json/v1/chat/completions", json=ask)

    bench.new(agent, capture=frozenset(capture))
    assert [step.kind for step in bench.steps()] == {"models": ["model"], "http": ["http"]}.get(
        "".join(capture), []
    )


def test_a_thread_that_outlives_the_run(bench: Bench, server: Server, lib: Any) -> None:
    """Its requests pass, with one notice."""
    go, done = threading.Event(), threading.Event()
    found: list[Any] = []

    def late(client: Any) -> None:
        go.wait(10)
        found.append([client.get(server.url + "/json").status_code for _ in range(2)])
        done.set()

    with lib.Client() as client:

        def agent() -> None:
            threading.Thread(target=late, args=(client,), daemon=True).start()

        bench.new(agent)
        with_other_run = Bench()

        def other() -> None:
            go.set()
            done.wait(10)

        with_other_run.new(other)
    assert found == [[200, 200]]
    assert sum("outlived" in notice for notice in bench.notices) == 1
    assert bench.steps() == []


def test_a_websocket_is_said_not_to_be_journaled(bench: Bench, server: Server, lib: Any) -> None:
    """By an upgrade through httpx, and through `websockets`."""
    websockets_client = pytest.importorskip("websockets.sync.client")

    def upgrade() -> Any:
        return lib.get(
            server.url + "/json", headers={"connection": "upgrade", "upgrade": "websocket"}
        ).status_code

    def connect_() -> Any:
        try:
            websockets_client.connect(server.url.replace("http", "ws") + "/json")
        except Exception as error:
            return type(error).__name__

    for agent in (upgrade, connect_):
        bench.notices.clear()
        assert bench.new(agent)
        assert sum("websocket connection to 127.0.0.1 is not journaled" in n for n in bench.notices) == 1
        assert bench.steps() == []


@pytest.mark.slow
def test_the_recorded_pace(bench: Bench, server: Server, lib: Any) -> None:
    """`pace`: as slowly as it came."""

    def agent() -> Any:
        with lib.Client() as client, client.stream("GET", f"{server.url}/stream?n=4") as answer:
            return list(answer.iter_raw())

    bench.new(agent)
    run = bench.session.replay(bench.record)
    run.options.pace = True
    began = time.monotonic()
    execute(bench.session, run, agent)
    assert time.monotonic() - began > 3 * GAP
