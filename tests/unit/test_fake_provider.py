"""The fake provider, judged by the SDKs it is made for: they must not be able to tell it from the real one."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sdks
from sdks import SDKS, City, Sdk

from jupyter_durable.testing import (
    FakeProvider,
    ProviderProcess,
    call,
    cut,
    drop,
    fault,
    in_order,
    reply,
    slow,
    turns,
    usage,
)
from jupyter_durable.testing.provider import Request, ScriptError

ANSWER = "A lease is a lock that expires by itself."
AGENT = [
    reply(
        "Let me look.", tool_calls=[call("search", q="lease"), call("add", a=1, b=2)], thinking="Hm, a lease"
    ),
    reply(tool_calls=[call("search", q="fencing token")]),
    reply(ANSWER),
]


@pytest.fixture(params=SDKS, ids=lambda sdk: sdk.name)
def sdk(request: pytest.FixtureRequest) -> Sdk:
    """Each SDK that is installed."""
    if not request.param.available():
        pytest.skip(f"{request.param.module} is not installed")
    return request.param


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """A provider that echoes until a test gives it a script."""
    with FakeProvider() as provider:
        yield provider


def _agent(sdk: Sdk, provider: FakeProvider, *, is_async: bool) -> str:
    if not is_async:
        return sdk.agent(provider)
    if not sdk.has_async:
        pytest.skip(f"{sdk.name} has no async client")
    return asyncio.run(sdk.agent_async(provider))


def _pieces(sdk: Sdk, provider: FakeProvider, *, is_async: bool) -> list[tuple[str, float]]:
    """What a stream gave, and when."""
    if not is_async:
        return [(piece, time.monotonic()) for piece in sdk.stream(provider)]
    if not sdk.has_async:
        pytest.skip(f"{sdk.name} has no async client")

    async def main() -> list[tuple[str, float]]:
        return [(piece, time.monotonic()) async for piece in sdk.stream_async(provider)]

    return asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_an_agent_with_parallel_tools(sdk: Sdk, provider: FakeProvider, is_async: bool) -> None:
    """Three turns, two tool calls at once in the first; the script sees what the tools said."""
    provider.script = AGENT

    assert _agent(sdk, provider, is_async=is_async) == ANSWER
    assert provider.hits == provider.attempts == 3
    assert [request.turn for request in provider.requests] == [0, 1, 2]
    assert {request.api for request in provider.requests} == {sdk.name}
    second = provider.requests[1]
    assert [said.removeprefix('{"result":"').rstrip('"}') for said in second.results.values()] == [
        "found lease",
        "3",
    ]
    assert second.tools == ["search", "add"]
    assert second.prompt == sdks.QUESTION


def test_a_call_made_again_gets_the_same_answer(sdk: Sdk, provider: FakeProvider) -> None:
    """After a crash an agent starts over: the script does not shift, ids included."""
    provider.script = AGENT
    sdk.agent(provider)
    once = [request.body for request in provider.requests]
    provider.reset()

    assert sdk.agent(provider) == ANSWER
    assert [request.body for request in provider.requests] == once


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_stream(sdk: Sdk, provider: FakeProvider, is_async: bool) -> None:
    """Word by word, and all of it."""
    provider.script = reply(ANSWER, thinking="" if sdk.name in ("gemini", "mistral", "bedrock") else "Hm")

    pieces = [piece for piece, _ in _pieces(sdk, provider, is_async=is_async)]
    assert pieces == list(reply(ANSWER).chunks)
    assert (provider.hits, provider.requests[0].stream) == (1, True)


def test_structured_output(sdk: Sdk, provider: FakeProvider) -> None:
    """The SDK's own parsing makes the object; the script can see the schema it asked for."""
    provider.script = reply(json={"name": "Bern", "people": 134_000})

    assert sdk.structured(provider) == City(name="Bern", people=134_000)
    if sdk.name != "bedrock":  # it was asked without one
        assert set(provider.requests[0].schema["properties"]) == {"name", "people"}


@pytest.mark.slow
def test_usage_with_cache_and_thoughts(sdk: Sdk, provider: FakeProvider) -> None:
    """Each SDK finds the counts where it looks for them, at the end of a stream, too."""
    provider.script = reply(ANSWER, usage=usage(100, 50, cached=20, cache_write=5, reasoning=10))

    assert sdk.tokens(provider) == (100, 50, 20)


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 500, 503])
def test_faults_are_retried_by_the_sdk(sdk: Sdk, provider: FakeProvider, status: int) -> None:
    """What the SDK takes for passing passes; what a test counts is what was answered."""
    provider.script = [fault(status, times=2, retry_after=0.01), ANSWER]

    assert sdk.agent(provider) == ANSWER
    assert (provider.hits, provider.attempts) == (1, 3)
    assert [(r.status, r.outcome) for r in provider.requests] == [
        (status, "fault"),
        (status, "fault"),
        (200, "answered"),
    ]


def test_an_error_that_is_not_retried(sdk: Sdk, provider: FakeProvider) -> None:
    """It has the SDK's own type, with the script's message."""
    provider.script = fault(403, "your plan does not include leases")

    with pytest.raises(sdk.refusal(), match="your plan does not include leases"):
        sdk.agent(provider)
    assert (provider.hits, provider.attempts) == (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_stream_that_breaks_off(sdk: Sdk, provider: FakeProvider, is_async: bool, reset: bool) -> None:
    """After three words the SDK raises its error for that; the next time all is well."""
    provider.script = [cut(after=3, reset=reset), slow(delay=0.01), ANSWER]
    seen: list[str] = []

    def watched() -> None:
        for piece in sdk.stream(provider):
            seen.append(piece)  # noqa: PERF402 - what came before the error counts

    async def watched_async() -> None:
        async for piece in sdk.stream_async(provider):
            seen.append(piece)  # noqa: PERF401 - the same

    if is_async and not sdk.has_async:
        pytest.skip(f"{sdk.name} has no async client")
    with pytest.raises(sdk.errors()):
        asyncio.run(watched_async()) if is_async else watched()
    # A reset throws away what the client has not read yet.
    assert seen == list(reply(ANSWER).chunks[:3]) or (reset and len(seen) <= 3)
    assert (provider.hits, provider.requests[0].outcome) == (0, "cut")
    assert "".join(sdk.stream(provider)) == ANSWER
    assert provider.hits == 1


@pytest.mark.slow
def test_a_plain_answer_that_breaks_off(sdk: Sdk, provider: FakeProvider) -> None:
    """Half a body, or no answer at all: retried where the SDK does that, its connection error where not."""
    for trouble in (cut(), drop()):
        provider.reset()
        provider.script = [trouble, ANSWER]
        try:
            said = sdk.agent(provider)
        except (*sdk.errors(), KeyError):
            # (boto3 takes half a body for an answer without content.)
            said = sdk.agent(provider)
        assert said == ANSWER
        assert (provider.hits, provider.attempts) == (1, 2)
        assert provider.requests[0].outcome == "cut"


def test_an_error_in_the_middle_of_a_stream(sdk: Sdk, provider: FakeProvider) -> None:
    """As an event of the provider's kind; where that is an error for the SDK, it raises its own."""
    provider.script = [fault(503, "overloaded, sorry", after=2), ANSWER]
    seen: list[str] = []
    error: BaseException | None = None
    try:
        for piece in sdk.stream(provider):
            seen.append(piece)  # noqa: PERF402 - what came before the error counts
    except Exception as raised:
        error = raised

    assert seen == list(reply(ANSWER).chunks[:2])
    assert provider.requests[0].outcome == "fault"
    if sdk.name in ("openai.responses", "mistral"):
        return  # the one hands the error over as an event, the other has none for it
    assert "overloaded, sorry" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_slow_tokens_arrive_one_by_one(sdk: Sdk, provider: FakeProvider, is_async: bool) -> None:
    """The pauses are between the chunks, not before the first or after the last."""
    provider.script = [slow(delay=0.05), ANSWER]

    times = [at for _, at in _pieces(sdk, provider, is_async=is_async)]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert len(gaps) == len(reply(ANSWER).chunks) - 1
    # Nothing is said about how fast this machine is: only that no chunk waited for all of them.
    assert statistics.median(gaps) > 0.025
    assert max(gaps) < (times[-1] - times[0]) * 0.75


@pytest.mark.slow
def test_models_are_listed(provider: FakeProvider) -> None:
    """Each SDK finds the models in its own shape."""
    pytest.importorskip("openai")
    with sdks.OpenAIChat().client(provider) as client:
        assert [m.id for m in client.models.list()] == ["fake-model"]
        assert client.models.retrieve("gpt").id == "gpt"
    for other in (sdks.Anthropic(), sdks.Gemini(), sdks.Mistral()):
        if other.available():
            with other.client(provider) as client:
                listed = client.models.list()
            names = [getattr(m, "id", None) or m.name for m in getattr(listed, "data", listed)]
            assert names == ["models/fake-model" if other.name == "gemini" else "fake-model"]
    assert (provider.hits, provider.attempts) == (0, 0)


def test_the_environment_is_enough(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that makes its client without arguments talks to it."""
    openai = pytest.importorskip("openai")
    for name, value in provider.environment.items():
        monkeypatch.setenv(name, value)

    with openai.OpenAI() as client:
        said = client.responses.create(model="gpt", input="hi")
    assert said.output_text == "You said: hi"


# The script, without any SDK.


def _post(provider: Any, *texts: str, stream: bool = False) -> tuple[int, Any]:
    """Ask over bare HTTP; `texts` are user and assistant in turn."""
    messages = [
        {"role": "user" if at % 2 == 0 else "assistant", "content": text} for at, text in enumerate(texts)
    ]
    connection = http.client.HTTPConnection(provider.url.removeprefix("http://"), timeout=30)
    try:
        body = json.dumps({"model": "m", "messages": messages, "stream": stream})
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        raw = response.read()
        return response.status, raw if stream else json.loads(raw)
    finally:
        connection.close()


def _said(provider: Any, *texts: str) -> str:
    status, body = _post(provider, *texts)
    return (
        body["choices"][0]["message"]["content"] if status == 200 else f"{status}: {body['error']['message']}"
    )


def test_a_function_sees_the_request(provider: FakeProvider) -> None:
    """It may answer with text, a reply, or troubles and a reply."""

    def script(request: Request) -> Any:
        if "boom" in request.prompt:
            raise LookupError("no such thing")
        return [fault(429), f"{request.api} {request.turn} {request.prompt}"]

    provider.script = script
    assert _said(provider, "one").startswith("429")
    assert _said(provider, "one", "x", "two").startswith("429")  # another request: it meets it, too
    assert _said(provider, "one") == "openai.chat 0 one"
    assert _said(provider, "one", "x", "two") == "openai.chat 1 two"
    assert _said(provider, "boom") == "400: the script raised LookupError: no such thing"


def test_turns_end(provider: FakeProvider) -> None:
    """A conversation longer than the script is refused in a way that no SDK retries."""
    provider.script = turns(["one"])
    assert _said(provider, "hi") == "one"
    assert (
        _said(provider, "hi", "one", "more")
        == "400: the script has 1 turns; in this conversation they are used up"
    )


def test_in_order(provider: FakeProvider) -> None:
    """For agents without a conversation: the n-th request, whatever it is."""
    provider.script = in_order(["one", fault(500, times=2), slow(delay=0.0), "two"])
    assert [_said(provider, "hi")[:3] for _ in range(5)] == ["one", "500", "500", "two", "400"]


def test_troubles_come_one_after_the_other(provider: FakeProvider) -> None:
    """In the order in which they stand, each as often as it says, and a reset starts them over."""
    provider.script = [fault(429, times=2), fault(500), "done"]
    for _ in range(2):
        assert [_said(provider, "hi")[:4] for _ in range(4)] == ["429:", "429:", "500:", "done"]
        provider.reset()


@pytest.mark.parametrize(
    "script", [[cut(after=2)], [slow(delay=1)], slow(first=1), ["x", 3], [fault(500, after=2)]], ids=repr
)
def test_a_script_that_makes_no_sense_is_refused_at_once(script: Any) -> None:
    """Where it is written, not in the middle of a test."""
    with pytest.raises(ScriptError):
        FakeProvider(script)


def test_a_conversation_with_open_tool_calls_is_refused(provider: FakeProvider) -> None:
    """As providers do: a replay that lost a result would not go unnoticed."""
    connection = http.client.HTTPConnection(provider.url.removeprefix("http://"), timeout=30)
    asked = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [asked]},
        {"role": "user", "content": "?"},
    ]
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": "m", "messages": messages}))
    response = connection.getresponse()
    assert (response.status, "call_1" in response.read().decode()) == (400, True)
    connection.close()


def test_hits_are_counted_when_the_client_knows(provider: FakeProvider) -> None:
    """Who has read an answer to its end finds it counted: no waiting in tests."""
    provider.script = ANSWER
    for wanted in range(1, 101):
        _post(provider, "hi", stream=wanted % 2 == 0)
        assert provider.hits == wanted


def test_a_client_that_goes_away_is_no_hit(provider: FakeProvider) -> None:
    """A process killed in the middle of a stream has not been answered."""
    provider.script = [slow(delay=0.05), ANSWER]
    connection = http.client.HTTPConnection(provider.url.removeprefix("http://"), timeout=30)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    response = connection.getresponse()
    assert response.fp.readline()
    response.close()
    connection.close()

    deadline = time.monotonic() + 30
    while not provider.requests[0].outcome and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (provider.requests[0].outcome, provider.hits, provider.attempts) == ("gone", 0, 1)


def test_closing_ends_what_is_under_way() -> None:
    """A stream that would take for ever does not hold the test up, nor leave its connection open."""
    with FakeProvider([slow(delay=60), ANSWER]) as provider:
        address = provider.url.removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=30)
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        response = connection.getresponse()
        assert response.fp.readline()
    with pytest.raises((http.client.HTTPException, OSError)):
        response.read()
    connection.close()
    host, _, port = address.partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_it_listens_on_loopback_only(provider: FakeProvider) -> None:
    """There is no way to make it listen elsewhere, and it does not: the kernel's list of sockets says so."""
    port = int(provider.url.rpartition(":")[2])
    assert provider.url.startswith("http://127.0.0.1:")
    if not Path("/proc/net/tcp").exists():
        pytest.skip("no /proc/net/tcp on this system")
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            for line in Path(table).read_text().splitlines()[1:]:
                local, state = line.split()[1], line.split()[3]
                address, _, at = local.partition(":")
                if state == "0A" and int(at, 16) == port:
                    listening.append(address)
    assert listening == [f"{int.from_bytes(socket.inet_aton('127.0.0.1'), sys.byteorder):08X}"]


def test_loading_the_kit_is_cheap() -> None:
    """The server needs none of the engine, and the kit none of the server."""
    code = (
        "import sys, jupyter_durable.testing as testing; first = set(sys.modules); testing.FakeProvider; "
        "heavy = ('pydantic', 'sqlite3', 'jupyter_durable.runtime', 'jupyter_durable.session', 'openai', 'httpx2');"
        "print([m for m in (*heavy, 'http.server') if m in first], [m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("] ") == ["[", "[]\n"]


# In a process of its own.

SCRIPT = """
from jupyter_durable.testing import call, fault, reply

script = [reply(tool_calls=[call("search", q="lease")]), fault(429, times=1), reply("the end")]
"""


@pytest.mark.slow
def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Asked from outside what it has seen; it ends with the block."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    with ProviderProcess(path) as provider:
        assert _post(provider, "hi")[0] == 200
        assert _said(provider, "hi", "x", "more").startswith("429")
        assert _said(provider, "hi", "x", "more") == "the end"
        assert (provider.hits, provider.attempts) == (2, 3)
        assert [(r["turn"], r["status"], r["outcome"]) for r in provider.requests] == [
            (0, 200, "answered"),
            (1, 429, "fault"),
            (1, 200, "answered"),
        ]
        provider.reset()
        assert provider.status == {"hits": 0, "attempts": 0, "requests": []}
        pid = provider.pid
    assert _gone(pid)


def test_a_script_without_a_script_says_so(tmp_path: Path) -> None:
    """On stderr, with the file's name."""
    path = tmp_path / "empty.py"
    path.write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "jupyter_durable.testing.provider", "--script", str(path)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != 0
    assert "empty.py does not define `script`" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_it_ends_with_its_parent() -> None:
    """A test process that is killed leaves no server behind."""
    code = (
        "from jupyter_durable.testing import ProviderProcess\n"
        "with ProviderProcess() as provider:\n"
        "    print(provider.pid, flush=True); input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    assert _gone(pid)


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # A zombie of a parent that is gone is init's to bury.
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False
