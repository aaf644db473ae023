"""Secrets that no scan of what is stored would find: compressed, in pieces, spelt otherwise. The files of a store are searched."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import brotli
import httpx
import nbformat
import pydantic
import pytest
import zstandard

import jupyter_durable as durable
from jupyter_durable.capture.toolset import servers
from jupyter_durable.codec import redaction
from jupyter_durable.headless import parameters, save
from jupyter_durable.headless.job import open_job
from jupyter_durable.session import Session, blocks, open_store
from jupyter_durable.session.watching import Watch
from jupyter_durable.store import connect
from jupyter_durable.testing import Crash, crash_at
from jupyter_durable.testing.proving import execute

pytestmark = pytest.mark.usefixtures("forgotten")

KEY = "sk-proj-Ab1_cd2-EF3gh4ij5kl6mn7op8qr9st0"
PIECES = ["data: sk-pro", "j-Ab1_cd2-E", "F3gh4ij5kl6m", "n7op8qr9st0\n\n"]


class Site(ThreadingHTTPServer):
    """Answers every request with `body`; in pieces, if it is a list."""

    daemon_threads = True
    body: Any = b""
    headers: dict[str, str]
    hits = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.headers = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        site = self.server
        site.hits += 1
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        whole = isinstance(site.body, bytes)
        size = ("content-length", str(len(site.body))) if whole else ("transfer-encoding", "chunked")
        for pair in (*site.headers.items(), size):
            self.send_header(*pair)
        self.end_headers()
        if whole:
            self.wfile.write(site.body)
            return
        for piece in site.body:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST


@pytest.fixture
def site() -> Iterator[Site]:
    """One, listening."""
    with Site() as site:
        threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True).start()
        yield site
        site.shutdown()


def again(tmp_path: Path, fn: Callable[[], Any]) -> Any:
    """What `fn` gives in a run that fails after it; the same when it is resumed."""
    path = str(tmp_path / "journal.db")
    found: list[Any] = []
    for life in range(2):

        @durable.run("run", store=path)
        def main(life: int = life) -> None:
            found.append(fn())
            if not life:
                raise KeyboardInterrupt

        try:
            main()
        except KeyboardInterrupt:
            continue
    assert found[0] == found[1]
    return found[0]


def on_disk(tmp_path: Path, *planted: bytes) -> list[tuple[str, bytes]]:
    """Which of these is in which file: the store, its log, what is staged."""
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".db", ".key"}
    return [(path.name, secret) for path in files for secret in planted if secret in path.read_bytes()]


def deflated(data: bytes) -> bytes:
    """Without a header, as some servers have it."""
    state = zlib.compressobj(9, zlib.DEFLATED, -15)
    return state.compress(data) + state.flush()


BODIES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("", bytes),
    "escaped": ("", lambda data: data.replace(b"-", b"\\u002d")),
    # At no time: who asks again in the next second must send the same.
    "gzip": ("gzip", lambda data: gzip.compress(data, mtime=0)),
    "stored": ("gzip", lambda data: gzip.compress(data, 0, mtime=0)),
    "twice": ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data, mtime=0), mtime=0)),
    "deflate": ("deflate", deflated),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.ZstdCompressor().compress),
    "unknown": ("x-reversed", lambda data: data[::-1]),
}


@pytest.mark.parametrize("size", [1, 3000])
@pytest.mark.parametrize("how", BODIES)
def test_what_is_kept_of_a_body_is_encrypted_however_it_is_encoded(
    how: str, size: int, site: Site, tmp_path: Path
) -> None:
    """Neither the secret nor the bytes that stand for it; asked for and received."""
    encoding, packed = BODIES[how]
    data = json.dumps({"told": KEY, "text": "lorem ipsum " * size}).encode()
    site.body = packed(data)
    site.headers = {"content-encoding": encoding, "content-type": "application/json"}
    sent = {"content-encoding": encoding, "content-type": "application/json"}

    def ask() -> bytes:
        with httpx.stream("POST", site.url, content=packed(data), headers=sent) as response:
            return b"".join(response.iter_raw())

    assert again(tmp_path, ask) == site.body
    assert site.hits == 1
    wire = site.body
    assert not on_disk(tmp_path, KEY.encode(), KEY[::-1].encode(), wire[10:30], wire[-30:-10])
    with open_store(str(tmp_path / "journal.db")) as store:
        (step,) = store.steps(store.runs()[0].id)
        assert KEY not in repr(step)


@pytest.mark.parametrize("size", [0, 2000])
def test_a_secret_in_pieces_of_a_stream_is_in_none_of_them(size: int, site: Site, tmp_path: Path) -> None:
    """Other steps stand between them, so that each is an entry of its own."""
    site.body = [piece.encode() + b" " * size for piece in PIECES]
    site.headers = {"content-type": "text/event-stream"}

    def ask() -> list[bytes]:
        found = []
        with httpx.stream("GET", site.url) as response:
            for n, piece in enumerate(response.iter_raw()):
                found.append(piece)
                durable.step("between", int, n)
        return found

    assert b"".join(again(tmp_path, ask)) == b"".join(site.body)
    assert site.hits == 1
    assert not on_disk(tmp_path, *(piece.strip().encode() for piece in PIECES))


def test_a_secret_in_items_of_a_generator_is_in_none_of_them(tmp_path: Path) -> None:
    """Nor is it shown by whoever puts them together."""
    made = []

    @durable.tool
    def tokens() -> Iterator[str]:
        made.append(1)
        yield from ("key: ", "sk-proj-Ab1_", "cd2-EF3gh4ij", "5kl6mn7op8qr9st0", " and so on")

    assert "".join(again(tmp_path, lambda: list(tokens()))) == f"key: {KEY} and so on"
    assert made == [1]
    assert not on_disk(tmp_path, b"sk-proj-Ab1_", b"cd2-EF3gh4ij", b"5kl6mn7op8qr9st0", b"and so on")
    with open_store(str(tmp_path / "journal.db")) as store:
        run = store.runs()[0].id
        watch = Watch(store, run)
        watch.read()
        (step,) = store.steps(run)
        told = repr(watch.value(step.id, "text"))
    assert "and so on" in told
    assert "5kl6mn7op8qr9st0" not in told
    assert "sk-proj" not in told


CARRIED: dict[str, tuple[str, Callable[[str], httpx.Response]]] = {
    "bearer": ("plain-9f9f-header", lambda url: httpx.get(url, headers={"Authorization": "Bearer plain-9f9f-header"})),
    "basic": ("plain-8e8e-basic", lambda url: httpx.get(url, auth=("me", "plain-8e8e-basic"))),
    "header": ("plain-7d7d-own", lambda url: httpx.get(url, headers={"x-api-key": "plain-7d7d-own"})),
    "userinfo": ("plain-6c6c-user", lambda url: httpx.get(url.replace("//", "//me:plain-6c6c-user@"))),
    "query": ("plain-5b5b-query", lambda url: httpx.get(url, params={"q": "1", "key": "plain-5b5b-query"})),
    "cookie": ("plain-4a4a-cookie", lambda url: httpx.get(url, headers={"cookie": "a=b; sid=plain-4a4a-cookie"})),
    "set-cookie": ("plain-3030-set", httpx.get),
}  # fmt: skip


@pytest.mark.parametrize("how", CARRIED)
def test_what_a_request_carries_as_a_credential_is_one_wherever_it_stands(
    how: str, site: Site, tmp_path: Path
) -> None:
    """Also in what is said of it afterwards: arguments, results, logs, errors."""
    secret, ask = CARRIED[how]
    site.body = b"{}"
    site.headers = {"set-cookie": "sid=plain-3030-set; Path=/"}

    @durable.tool
    def told(text: str) -> list[str]:
        durable.log(f"with {secret}", about=[secret])
        return [text]

    @durable.tool
    def failing() -> None:
        raise ValueError(f"401 for {secret}")

    def agent() -> Any:
        ask(site.url)
        try:
            failing()
        except ValueError as error:
            return told(f"it was {error}")
        return None

    assert again(tmp_path, agent) == [f"it was 401 for {secret}"]
    assert not on_disk(tmp_path, secret.encode())
    with open_store(str(tmp_path / "journal.db")) as store:
        assert secret not in repr(store.steps(store.runs()[0].id))


def test_arguments_are_secrets_by_the_names_of_their_parameters(tmp_path: Path) -> None:
    """Also those given by position, also plain words; also where two calls are held against each other."""

    class Vault:
        @durable.tool
        def open(self, name: str, password: str, times: int = 1) -> int:
            return times

    def agent(password: str = "swordfish", times: int = 1) -> int:
        total = Vault().open("a", password, times)
        return total + durable.step("unlock", unlock, 1, "mellon")

    def unlock(n: int, passphrase: str) -> int:
        return n

    assert again(tmp_path, agent) == 2
    assert not on_disk(tmp_path, b"swordfish", b"mellon")
    path = str(tmp_path / "journal.db")
    with open_store(path) as store:
        shown = [step.arguments for step in store.steps(store.runs()[0].id)]
    assert shown == ["Vault.open(<Vault, not stored>, 'a', •••, 1)", "unlock(1, •••)"]
    session = Session(connect(path))
    for other, differs in (
        (("swordfish", 2), "argument 4: 1 recorded, 2 now"),
        (("shibboleth", 1), "argument 3: •••"),
    ):
        with pytest.raises(durable.DivergenceError) as raised:
            execute(session, session.replay(session.store.runs()[0]), partial(agent, *other))
        error = raised.value
        assert differs in str(error)
        assert "swordfish" not in f"{error} {error.__dict__}"
        assert "shibboleth" not in f"{error} {error.__dict__}"


SENT: dict[str, Any] = {
    "multipart": {"files": {"f": ("a.txt", b"x")}, "data": {"password": "plain-1a1a-sent"}},
    "form": {"data": {"client_secret": "plain-1a1a-sent"}},
    "json": {"json": {"auth": {"api_key": "plain-1a1a-sent"}}},
}


@pytest.mark.parametrize("how", SENT)
def test_what_a_body_carries_as_a_credential_is_one_wherever_it_stands(
    how: str, site: Site, tmp_path: Path
) -> None:
    """As what headers carry."""
    site.body = b"{}"
    noted = durable.tool(lambda text: text, name="noted")

    def agent() -> Any:
        httpx.post(site.url, **SENT[how])
        return noted("it was plain-1a1a-sent")

    assert again(tmp_path, agent) == "it was plain-1a1a-sent"
    assert not on_disk(tmp_path, b"plain-1a1a-sent")
    with open_store(str(tmp_path / "journal.db")) as store:
        assert "plain-1a1a-sent" not in repr(store.steps(store.runs()[0].id))


def test_what_lasts_is_known_in_urls_and_base64_too() -> None:
    """Wherever it begins there: `user:password` has its end in a place of its own for each user."""
    durable.redact("hunter two/ž1")
    for user in ("", "a", "ab", "abc"):
        code = b64encode(f"{user}:hunter two/ž1".encode()).decode()
        hidden = redaction.mask(f"<{code}>")
        assert "•••" in hidden
        assert len(hidden) < 16
        assert redaction.holds(json.dumps({"a": code}))
    assert (
        redaction.mask("https://h/?q=hunter%20two%2F%C5%BE1 hunter+two%2F%C5%BE1") == "https://h/?q=••• •••"
    )


def test_what_people_give_as_a_secret_is_stored_as_one(tmp_path: Path) -> None:
    """Where they answer, only the schema of the question says so; of a signal, the names in it."""
    path = str(tmp_path / "journal.db")

    @durable.run("asking", store=path)
    async def main() -> list[Any]:
        return [await durable.ask("Your API key?", pydantic.SecretStr), await durable.wait_for("access")]

    with pytest.raises(durable.RunWaiting):
        asyncio.run(main())
    with open_store(path) as store:
        run = store.runs()[0].id
        store.answer(run, "1.0", "plain words")
        store.signal(run, "access", {"password": "other words"})
    assert not on_disk(tmp_path, b"plain words", b"other words")
    key, access = asyncio.run(main())
    assert (key.get_secret_value(), access) == ("plain words", {"password": "other words"})
    assert not on_disk(tmp_path, b"plain words", b"other words")
    with open_store(path) as store:
        assert "words" not in repr((store.steps(run), store.waits()))


def test_what_an_mcp_server_is_given_as_a_secret_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment and its headers, of a configuration file."""
    pytest.importorskip("mcp")
    monkeypatch.setenv("VAULT", "plain-2b2b-variable")
    servers.transport("a", {"command": "x", "env": {"SERVICE_TOKEN": "plain-1a1a-env", "N": "plain-0000-n"}})
    servers.transport("b", {"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": "Bearer ${VAULT}"}})
    assert redaction.mask("plain-1a1a-env plain-2b2b-variable plain-0000-n") == "••• ••• plain-0000-n"


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_what_only_the_recording_process_knew_is_shown_to_nobody(
    packed: Any, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key from the environment, in a response: another process, which does not have it, shows dots for the response."""
    secret = "plain-1a1a-environment"
    monkeypatch.setenv("SERVICE_API_KEY", secret)
    site.body = packed(json.dumps({"told": secret, "text": "lorem " * 200}).encode())
    site.headers = {"content-type": "application/json"}
    if packed is not bytes:
        site.headers["content-encoding"] = "gzip"
    echo = durable.tool(lambda text: text, name="echo")
    again(tmp_path, lambda: (httpx.get(site.url).content, echo(f"it is {secret}")))

    monkeypatch.delenv("SERVICE_API_KEY")
    for name in ("_environment", "_met", "_literals", "_forms"):
        monkeypatch.setattr(redaction, name, ())
    with open_store(str(tmp_path / "journal.db")) as store:
        run = store.runs()[0].id
        watch = Watch(store, run)
        watch.read()
        looked = [watch.value(step.id, "result") for step in store.steps(run)]
        assert secret not in repr((store.steps(run), watch.pages(), looked))
        assert "•••" in repr(looked)


# -- digests -----------------------------------------------------------------------------------------------


def test_what_code_is_is_stored_under_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain digest would tell whoever tries all PINs; runs of versions that stored those go on."""
    path = str(tmp_path / "journal.db")

    def main() -> int:
        return durable.step("pin", int, "4711")

    def new(self: Session, name: str, *, meta: Any, **how: Any) -> Any:
        return newer(self, name, meta={**meta, "code": plain}, **how)

    newer = Session.new
    plain = blocks._code(main)
    assert plain is not None
    agent = durable.run("run", store=path)(main)
    with monkeypatch.context() as older, crash_at("after-call", 1):
        older.setattr(Session, "new", new)
        with pytest.raises(Crash):
            agent()
    assert on_disk(tmp_path, plain.encode())
    assert agent() == 4711
    with open_store(path) as store:
        assert [run.status for run in store.runs()] == ["completed"]  # the same one, and no fork

    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert durable.run("run", store=str(fresh / "journal.db"))(main)() == 4711
    assert not on_disk(fresh, plain.encode())


def test_what_parameters_a_job_has_is_stored_under_the_key(tmp_path: Path) -> None:
    """The same: its id has a digest of them, and an unfinished job of an older version is found."""
    notebook = tmp_path / "nb.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), notebook)
    path, given = str(tmp_path / "journal.db"), {"pin": "4711"}
    plain = parameters.digest(given)
    job = open_job(notebook, parameters=given, store=path)
    assert plain not in job.id

    session = Session(connect(path))
    for n, job_id in enumerate((job.id, f"older.{plain}")):
        made = session.new(f"run {n}", notebook=str(notebook), job_id=job_id)
        session.close_run(made, KeyboardInterrupt())
        assert open_job(notebook, parameters=given, store=path).id == job_id
        assert not open_job(notebook, parameters={"pin": "0815"}, store=path).resumed


def test_ids_that_cells_are_given_are_made_under_the_key(tmp_path: Path) -> None:
    """Of cells that have none: the store has them, and their source may be short. Runs of an older version are found."""
    notebook, path = tmp_path / "nb.ipynb", str(tmp_path / "journal.db")
    cells = [nbformat.v4.new_code_cell(source) for source in ("pin = 4711", "pin = 4711", "%%durable\n1")]
    data = json.loads(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
    for cell in data["cells"]:
        del cell["id"]
    notebook.write_text(json.dumps(data))

    def ids() -> list[str]:
        return [cell.id for cell in open_job(notebook, store=path).nb.cells]

    plain = [cell.id for cell in save.read(notebook).cells]
    given = ids()
    assert given == ids()
    assert len(set(given)) == 3
    assert not set(given) & set(plain)
    session = Session(connect(path))
    session.close_run(session.new(f"cell-{plain[2]}", notebook=str(notebook)), None)
    assert ids() == [*given[:2], plain[2]]
