"""Secrets that whoever looks at a run, or exports it, would not find by himself: in pieces, compressed, known to others only."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest
import zstandard
from test_secrets_stored import KEY, Site, again, deflated, on_disk

import jupyter_durable as durable
from jupyter_durable.codec import packed, redaction
from jupyter_durable.codec.pieces import scattered
from jupyter_durable.codec.pieces import shown as shown_items
from jupyter_durable.errors import DurableError
from jupyter_durable.export import export
from jupyter_durable.session import open_store
from jupyter_durable.session.watching import Watch
from jupyter_durable.testing import Crash, crash_at

PLAIN = "plain-1a1a-environment"
PARTS = ["plain-", "1a1a-", "environment"]
STATE = ("_given", "_environment", "_met", "_literals", "_patterns", "_forms", "_marks")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes known is not known in the others."""
    for name in STATE:
        monkeypatch.setattr(redaction, name, ())


@pytest.fixture
def site() -> Iterator[Site]:
    """A server that answers what it is told."""
    with Site() as site:
        threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True).start()
        yield site
        site.shutdown()


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on this is another process, whose environment has no key."""
    monkeypatch.delenv("SERVICE_API_KEY", raising=False)
    for name in STATE:
        monkeypatch.setattr(redaction, name, ())


# -- known to the process that recorded it, and to no other ------------------------------------------------


@durable.tool
def items(parts: int) -> Iterator[str]:
    """The key, in so many pieces."""
    yield from ([PLAIN] if parts == 1 else PARTS)


def says() -> Any:
    """A key everywhere but in pieces."""
    text = durable.step("say", lambda: {"text": f"it is {PLAIN}", "bytes": PLAIN.encode(), "n": 1})
    durable.step("told", lambda text: durable.log(text) or 1, text["text"])
    with pytest.raises(ValueError, match="plain"):
        durable.step("fail", lambda: int(PLAIN))
    return [text["n"], *items(1)]


def looked(store: Any, run: str) -> str:
    """All that anybody can be shown of a run."""
    watch = Watch(store, run)
    watch.read()
    steps = store.steps(run)
    asked = itertools.product(steps, ("arguments", "result", "text", "error", "log"))
    return repr((steps, watch.pages(), [watch.value(step.id, what) for step, what in asked]))


def everything(store: Any, run: str, folder: Path) -> str:
    """That, and what anybody can be given to take away."""
    made = [export(store, run, kind).write(folder / f"run.{kind}") for kind in ("html", "json", "otel")]
    return looked(store, run) + repr([path.read_text() for paths in made for path in paths])


def test_what_only_the_recording_process_knew_is_in_no_export(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of the environment, in a value, in an answer that came in pieces, in what a generator made."""
    monkeypatch.setenv("SERVICE_API_KEY", PLAIN)
    site.body = [part.encode() for part in PARTS]

    def agent() -> Any:
        with httpx.stream("GET", site.url) as response:
            pieces = [(part, durable.step("between", int, 1)) for part in response.iter_raw()]
        return [*pieces, *says(), *items(3)]

    again(tmp_path, agent)
    assert site.hits == 1
    assert not on_disk(tmp_path, PLAIN.encode(), *(part.encode() for part in PARTS))
    elsewhere(monkeypatch)
    with open_store(str(tmp_path / "journal.db")) as store:
        run = store.runs()[0].id
        found = everything(store, run, tmp_path)
        assert "it is •••" in found
        assert PLAIN not in found
        with pytest.raises(DurableError, match="in pieces"):
            export(store, run, "pytest", folder=tmp_path)


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_cassette_has_nothing_that_was_sealed(
    pieces: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made where the key is not known: values become dots, and the items of a generator are left out."""
    monkeypatch.setenv("SERVICE_API_KEY", PLAIN)
    again(tmp_path, lambda: [*says(), *items(pieces)])
    elsewhere(monkeypatch)
    with open_store(str(tmp_path / "journal.db")) as store:
        made = export(store, store.runs()[0].id, "pytest", folder=tmp_path)
    text = made.write(tmp_path / "tests")[1].read_text()
    assert "it is" in text
    assert PLAIN not in text
    assert not any(json.dumps(part) in text or f"\\{json.dumps(part)[:-1]}" in text for part in PARTS)
    assert any("in pieces" in line for line in made.left_out) == (pieces == 3)


@pytest.mark.slow
def test_a_run_that_was_killed_says_it_too(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that went on where the key was not known goes on hiding it: also what forks it."""
    monkeypatch.setenv("SERVICE_API_KEY", PLAIN)
    site.body = [part.encode() for part in PARTS]
    path = str(tmp_path / "journal.db")

    @durable.run("run", store=path)
    def main() -> Any:
        with httpx.stream("GET", site.url) as response:
            found = [(part, durable.step("between", int, 1)) for part in response.iter_raw()]
        return durable.step("after", lambda: len(found))

    with pytest.raises(Crash), crash_at("after-call", 5):
        main()
    elsewhere(monkeypatch)
    for life in range(2):
        with open_store(path) as store:
            run = store.runs()[0].id
            assert PLAIN not in everything(store, run, tmp_path)
            if life:
                store.fork(run, at="after")
        elsewhere(monkeypatch)
        assert main() == 3
        elsewhere(monkeypatch)
    with open_store(path) as store:
        for info in store.runs():
            assert PLAIN not in everything(store, info.id, tmp_path)
            elsewhere(monkeypatch)


def test_what_was_met_on_the_way_is_known_to_who_looks_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that `login` gave, in pieces afterwards."""

    @durable.tool
    def echo(text: str) -> Iterator[str]:
        yield from (text[:6], text[6:12], text[12:])

    again(
        tmp_path,
        lambda: "".join(echo(durable.step("login", lambda: {"access_token": PLAIN})["access_token"])),
    )
    elsewhere(monkeypatch)
    with open_store(str(tmp_path / "journal.db")) as store:
        found = everything(store, store.runs()[0].id, tmp_path)
    assert PLAIN not in found
    assert PLAIN[6:12] not in found


def test_a_mark_is_not_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run keeps of a key that stands nowhere in it: three characters and a hash, encrypted; a known one costs nothing."""
    monkeypatch.setenv("SERVICE_API_KEY", PLAIN)
    again(tmp_path, lambda: durable.step("n", int, 1))
    with open_store(str(tmp_path / "journal.db")) as store:
        record = store.journal.run(store.runs()[0].id)
        (told,) = store._session.told(record, store._session.index(record.id))
        assert redaction._marks == ()  # all of them are known here
    assert PLAIN not in repr(told)
    assert {head for head, *_ in told["m"]} >= {"pla"}
    redaction.restore({"m": told["m"]})
    elsewhere(monkeypatch)
    assert redaction.mask(f"a {PLAIN} b {PLAIN[:-1]}") == f"a {PLAIN} b {PLAIN[:-1]}"
    redaction.restore(told)
    assert redaction.mask(f"a {PLAIN} b {PLAIN[:-1]}x") == f"a ••• b {PLAIN[:-1]}x"
    assert redaction.settled(f"so far {PLAIN[:9]}") == "so far …"


# -- while it comes ----------------------------------------------------------------------------------------


def events(*data: Any) -> list[bytes]:
    """As server-sent events."""
    return [b"data: %s\n\n" % json.dumps(item).encode() for item in data]


SPLIT = [KEY[:7], KEY[7:14], KEY[14:21], KEY[21:28], KEY[28:]]
STREAMS: dict[str, tuple[str, str, list[bytes]]] = {
    "unknown": (
        "/feed",
        "text/event-stream",
        events(*({"d": {"x": part}} for part in ("key ", *SPLIT, " end"))),
    ),
    "lines": (
        "/feed",
        "application/x-ndjson",
        [json.dumps({"x": p}).encode() + b"\n" for p in ("key ", *SPLIT)],
    ),
    "text": ("/feed", "text/plain", [part.encode() for part in ("the key is ", *SPLIT, " and so on")]),
    "model": (
        "/v1/chat/completions",
        "text/event-stream",
        events(
            *({"choices": [{"index": 0, "delta": {"content": p}}]} for p in ("the key is ", *SPLIT, " so"))
        ),
    ),
    "arguments": (
        "/v1/chat/completions",
        "text/event-stream",
        events(
            *(
                {
                    "choices": [
                        {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": p}}]}}
                    ]
                }
                for p in ("go ", *SPLIT, " so")
            )
        ),
    ),
}


@pytest.mark.parametrize("how", STREAMS)
def test_no_part_of_a_secret_is_shown_while_it_comes(how: str, site: Site, tmp_path: Path) -> None:
    """After each piece somebody looks; and when all of it has come, and it is exported."""
    path, kind, site.body = STREAMS[how]
    site.headers = {"content-type": kind}
    store_path = str(tmp_path / "journal.db")
    seen: list[str] = []

    def look() -> None:
        with open_store(store_path) as store:
            run = store.runs()[0].id
            seen.append(looked(store, run))

    @durable.run("run", store=store_path)
    def main() -> None:
        asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        with httpx.stream("POST", site.url + path, json=asked) as response:
            for n, _ in enumerate(response.iter_raw()):
                durable.step("between", int, n)
                look()

    main()
    with open_store(store_path) as store:
        seen.append(everything(store, store.runs()[0].id, tmp_path))
    assert len(seen) == len(site.body) + 1
    for found, part in itertools.product(seen, SPLIT):
        assert part not in found
    if how in ("text", "model"):
        assert "the key is" in seen[0]
        assert "•••" in seen[-1]
    with open_store(store_path) as store, pytest.raises(DurableError, match="in pieces"):
        export(store, store.runs()[0].id, "pytest", folder=tmp_path)


@pytest.mark.parametrize("wrap", [str, lambda part: {"delta": part}])
def test_no_part_of_a_secret_is_shown_while_a_generator_makes_it(
    wrap: Callable[[str], Any], tmp_path: Path
) -> None:
    """Items that are texts, and items that have them somewhere."""
    path = str(tmp_path / "journal.db")
    seen: list[str] = []

    @durable.tool
    def tokens() -> Iterator[Any]:
        yield from map(wrap, ("the key is ", *SPLIT, " so"))

    @durable.run("run", store=path)
    def main() -> None:
        for n, _ in enumerate(tokens()):
            durable.step("between", int, n)
            with open_store(path) as store:
                seen.append(looked(store, store.runs()[0].id))

    main()
    with open_store(path) as store:
        seen.append(everything(store, store.runs()[0].id, tmp_path))
    assert len(seen) == 8
    for found, part in itertools.product(seen, SPLIT):
        assert part not in found


def test_what_is_settled_can_be_no_beginning() -> None:
    """Words are shown as they come, anything else when it has ended."""
    durable.redact("correct horse battery")
    for text in ("", "a ", "It is fine", "fine. ", "„wirklich“", "x = f(a) "):
        assert redaction.settled(text) == text
    for text, shown in {
        "go sk-": "go …",
        "a https://me:pw": "a …",
        "is corre": "is …",
        "a correct hor": "a …",
    }.items():
        assert redaction.settled(text) == shown
    words = [*["a" * 20_000 + " "] * 50, KEY[:9]]
    began = time.perf_counter()
    assert redaction.settled("".join(words)).endswith("aa …")
    assert shown_items(words, live=True)[-1] == "…"
    assert time.perf_counter() - began < 5
    assert not scattered([{"index": 0, "t": "sk-abc123"}, {"index": 1, "t": "def456ghi789"}])
    assert scattered(
        [{"index": 0, "t": "sk-abc123"}, {"index": 1, "t": "def456"}, {"index": 0, "t": "def456ghi789"}]
    )


# -- compressed --------------------------------------------------------------------------------------------


def zipped(data: bytes) -> bytes:
    """As the second file of an archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "nothing")
        archive.writestr("b.txt", data)
    return file.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "gzip, second member": lambda data: gzip.compress(b"nothing", mtime=0) + gzip.compress(data, mtime=0),
    "zlib": zlib.compress,
    "deflate": deflated,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstandard": lambda data: zstandard.ZstdCompressor().compress(data),
    "brotli": brotli.compress,
    "zip": zipped,
    "twice": lambda data: gzip.compress(lzma.compress(data), mtime=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", PACKED)
def test_a_secret_in_compressed_bytes_is_sealed(how: str, tmp_path: Path) -> None:
    """What a tool returns, and is given: not a byte of it is on the disk, or in a cassette."""
    data = PACKED[how](f'{{"text": "{"lorem ipsum " * 50}", "told": "{KEY}"}}'.encode())
    assert again(tmp_path, lambda: durable.step("echo", bytes, data)) == data
    assert not on_disk(tmp_path, data, data[20:40], data[-40:-20])
    with open_store(str(tmp_path / "journal.db")) as store:
        made = export(store, store.runs()[0].id, "pytest", folder=tmp_path)
    assert repr(data[20:40]) not in repr(made.write(tmp_path / "tests")[1].read_bytes())


@pytest.mark.parametrize("how", PACKED)
def test_compressed_bytes_without_one_are_stored_as_they_are(how: str) -> None:
    """And what is compressed in no known way is no error."""
    assert not redaction.holds_bytes(PACKED[how](b"lorem ipsum " * 50))
    assert not redaction.holds_bytes(PACKED[how](b"lorem ipsum " * 50)[:40])
    assert not redaction.holds_bytes(os.urandom(5000))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gzip", "bzip2", "xz", "zstandard", "brotli", "zip", "twice"])
def test_a_bomb_is_looked_into_no_further_than_its_beginning(how: str) -> None:
    """What grows to 64 MB is not unpacked whole."""
    bomb = PACKED[how](bytes(64 << 20)) if how != "twice" else PACKED["xz"](PACKED["gzip"](bytes(64 << 20)))
    assert max(map(len, packed.unpacked(bomb))) <= packed.LIMIT
    assert not redaction.holds_bytes(bomb)
