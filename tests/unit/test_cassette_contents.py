"""What is in a cassette, and what is not: secrets, pickles, keys, large values."""

from __future__ import annotations

import datetime
import gzip
import http.server
import json
import pathlib
import random
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from cassette_agents import SECRET, Frozen, _recorded, _refused, agent
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import DurableError
from jupyter_durable.export import export
from jupyter_durable.testing import replay_cassette


def test_secrets_are_dots_and_calls_with_them_are_still_known(tmp_path: Path) -> None:
    """Whole strings, parts of strings, bytes, pydantic's secrets."""
    pydantic = pytest.importorskip("pydantic")

    def old(where: str = "home") -> Any:
        given = durable.step(
            "login", lambda: {"token": SECRET, "text": f"use {SECRET} here", "raw": SECRET.encode()}
        )
        secret = durable.step("secret", lambda: pydantic.SecretStr(SECRET))
        durable.step("go", lambda where, token: "there", where, given["token"])
        durable.step("go", lambda where, token: "there", where, secret)
        return uuid.uuid4()

    left: list[str] = []
    cassette = _recorded(tmp_path, old, left)
    text = cassette.read_text()
    assert SECRET not in text
    assert SECRET[8:30] not in text
    assert any("step 1.2 (go)" in one for one in left)
    replayed = replay_cassette(cassette, old)
    assert replayed.calls == 4
    assert "calls are missing" in _refused(
        cassette, lambda: durable.step("login", dict) and durable.step("secret", lambda: 1)
    )


class _Service(http.server.BaseHTTPRequestHandler):
    """Gives a token away, compressed or not."""

    def do_GET(self) -> None:
        body = json.dumps({"token": SECRET, "text": f"use {SECRET}", "greeting": "hello"}).encode()
        packed = self.path.startswith("/packed")
        self.send_response(200)
        self.send_header("content-type", "application/json")
        if packed:
            body = gzip.compress(body)
            self.send_header("content-encoding", "gzip")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.mark.slow
def test_responses_with_secrets(tmp_path: Path) -> None:
    """In the clear they become dots; compressed they cannot be taken out, and the export is refused."""
    httpx = pytest.importorskip("httpx")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"

    def old(path: str = "/plain") -> str:
        with httpx.Client() as client:
            return str(client.get(url + path).json()["greeting"])

    try:
        cassette = _recorded(tmp_path, old)
        with pytest.raises(DurableError, match="holds a secret, compressed or in pieces"):
            _recorded(tmp_path, lambda: old("/packed"))
    finally:
        server.shutdown()
        server.server_close()
    assert SECRET not in cassette.read_text()
    assert replay_cassette(cassette, old).result == "hello"
    assert "/other" in _refused(cassette, old, "/other")


def test_readings_are_what_they_were(tmp_path: Path) -> None:
    """Random numbers and clocks of the agent's own."""
    store, seen = str(tmp_path / "journal.db"), []

    @durable.run("names", store=store)
    def old() -> None:
        seen.append((uuid.uuid4(), random.random(), time.time(), datetime.datetime.now()))
        durable.step("use", lambda *what: 1, *map(str, seen[-1]))

    old()
    with durable.open_store(store) as opened:
        _, cassette = export(opened, "names", "pytest").write(f"{tmp_path}/tests/")
    replay_cassette(cassette, old)
    assert seen[0] == seen[1]


def test_nothing_in_a_cassette_is_ever_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only pickle can keep is left out, and the test makes that call."""

    def old() -> list[int]:
        return [durable.step("frozen", Frozen, n).value for n in (1, 2)]

    left: list[str] = []
    cassette = _recorded(tmp_path, old, left)
    assert any("frozen" in one and "pickle" in one for one in left)
    assert '"$\\":\\"pickle' not in cassette.read_text()
    import pickle

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a pickle was loaded")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    assert replay_cassette(cassette, old, live="frozen").result == [1, 2]
    assert "live='frozen'" in _refused(cassette, lambda: [durable.step("frozen", Frozen, n) for n in (1, 2)])


def test_the_keys_of_the_store_stay_at_home(tmp_path: Path) -> None:
    """But for the one that digests are made with."""
    bench = Bench()
    bench.new(lambda: durable.step("one", lambda: 1))
    text = export(bench.facade, "run", "pytest", folder=tmp_path).files["run.cassette.json"].decode()
    key = bench.store.key
    for purpose in ("chain", "head", "inbox", "blob", "pickle", "seal", "idempotency"):
        assert key.derive(purpose).hex() not in text
    assert key.secret.hex() not in text


def test_a_fork_is_replayed_as_the_run_it_is(tmp_path: Path) -> None:
    """Its parent's part and its own."""
    bench = Bench()

    def old(last: str) -> list[str]:
        return [
            durable.step("a", lambda: "a"),
            durable.step("b", lambda: "b"),
            durable.step(last, lambda: last),
        ]

    bench.new(lambda: old("c"))
    bench.fork(lambda: old("d"))
    _, cassette = export(bench.facade, bench.record.id, "pytest").write(f"{tmp_path}/")
    assert replay_cassette(cassette, old, "d").result == ["a", "b", "d"]
    assert "another call" in _refused(cassette, old, "c")


@pytest.mark.slow
def test_large_values_and_long_conversations(tmp_path: Path) -> None:
    """Chunks are copied, shared ones once."""

    def old() -> int:
        messages: list[dict[str, str]] = []
        for n in range(120):
            messages.append({"role": "user", "content": f"question {n}" * 20})
            messages.append(
                durable.step("ask", lambda m: {"role": "assistant", "content": "x" * len(m)}, list(messages))
            )
        return len(durable.step("large", lambda: bytes(range(256)) * 4000)) + len(messages)

    cassette = _recorded(tmp_path, old)
    assert replay_cassette(cassette, old).result == 256 * 4000 + 240
    assert cassette.stat().st_size < 2_500_000


def test_runs_that_did_not_end(tmp_path: Path) -> None:
    """They cannot be replayed to their end."""
    bench = Bench()
    bench.crash("after-call", 1, lambda: durable.step("one", lambda: 1))
    with pytest.raises(DurableError, match="from its beginning to its end"):
        export(bench.facade, "run", "pytest")


def test_files_that_are_no_cassettes(tmp_path: Path) -> None:
    """An error says so."""
    for text in ("", "[]", '{"format": "other"}', "\x00"):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(DurableError, match="no cassette"):
            replay_cassette(tmp_path / "x.json", agent)


def test_a_test_file_that_was_changed_stays(tmp_path: Path) -> None:
    """Only its cassette is made anew."""
    cassette = _recorded(tmp_path, agent)
    test = cassette.with_name("test_run.py")
    before = cassette.read_bytes()
    test.write_text("# mine\n")
    assert _recorded(tmp_path, agent) == cassette
    assert test.read_text() == "# mine\n"
    assert cassette.read_bytes() != before
    assert json.loads(cassette.read_text())["about"]["name"] == "run"
    assert pathlib.Path(cassette).parent.name == "tests"
