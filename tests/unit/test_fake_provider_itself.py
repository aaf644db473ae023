"""The fake provider by itself: its scripts, its counts, its processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_durable.testing import (
    FakeProvider,
    ProviderProcess,
    cut,
    fault,
    in_order,
    slow,
    turns,
)
from jupyter_durable.testing.provider import Request, ScriptError

ANSWER = "A lease is a lock that expires by itself."


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """A provider that echoes until a test gives it a script."""
    with FakeProvider() as provider:
        yield provider


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
