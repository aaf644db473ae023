"""A real Jupyter Server with the extension, on loopback, and what people do to it: requests, sockets, runs in its store."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_durable.session import Store, open_store

TOKEN = "ada-token"  # of servers that live as long as the tests
CONFIG = """
from jupyter_server.auth import Authorizer, User
from jupyter_server.auth.identity import PasswordIdentityProvider

TOKENS = {"ada-token": "ada", "mallory-token": "mallory", "reader-token": "reader"}

class Users(PasswordIdentityProvider):
    async def get_user_token(self, handler):
        name = TOKENS.get(self.get_token(handler))
        return User(username=name) if name else None

class Rules(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        if resource != "durable":
            return True
        return user.username == "ada" or (user.username == "reader" and action == "read")

c.ServerApp.identity_provider_class = Users
c.ServerApp.authorizer_class = Rules
c.ServerApp.allow_unauthenticated_access = False
c.IdentityProvider.token = "never-given"
"""
LIFE = """
import asyncio, os, sys
import jupyter_durable as durable

COUNTER = os.environ["COUNTER"]

def count(what):
    with open(COUNTER, "a") as file:
        file.write(what + "\\n")

@durable.tool
def fetch(n):
    count(f"fetch {n}")
    return {"n": n, "text": "<b>bold</b> " * 3}

@durable.tool(approval=True)
def mail(to: str):
    count(f"mail {to}")
    return f"mailed {to}"

@durable.tool(effect="unsafe")
def pay(amount):
    count(f"pay {amount}")
    os.kill(os.getpid(), 9)
"""


class Answer(NamedTuple):
    """What came back."""

    status: int
    data: Any
    headers: dict[str, str]


class Served:
    """A running server, its store and its notebooks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir()
        self.path = folder / "journal.db"
        self.counter = folder / "effects"
        self.counter.touch()
        config = folder / "config"
        (config / "jupyter_server_config.d").mkdir(parents=True)
        (config / "jupyter_server_config.py").write_text(CONFIG)
        (config / "jupyter_server_config.d" / "jupyter_durable.json").write_text(
            '{"ServerApp": {"jpserver_extensions": {"jupyter_durable.server": true}}}'
        )
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_", "IPYTHON", "PYTEST_"))
        }
        self.env = clean | {
            "JUPYTER_CONFIG_DIR": str(config),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "JUPYTER_DURABLE_STORE": str(self.path),
            "COUNTER": str(self.counter),
        }
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.work}",
            ],
            env=self.env, cwd=self.work, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if self.ask("GET", "status").status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)
        raise RuntimeError((self.folder / "server.log").read_text()[-3000:])

    def close(self) -> None:
        """Stop it."""
        assert self.process is not None
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(15)
                except subprocess.TimeoutExpired:
                    continue

    # -- requests --------------------------------------------------------------------------------

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = TOKEN,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        base: str = "/jupyter-durable/",
    ) -> Answer:
        """A request. `raw` instead of JSON; without a `token`, as a stranger."""
        sent = dict(headers or {})
        if token is not None:
            sent.setdefault("Authorization", f"token {token}")
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, base + path, body=data, headers=sent)
            got = connection.getresponse()
            text = got.read()
        finally:
            connection.close()
        try:
            found = json.loads(text)
        except ValueError:
            found = text.decode(errors="replace")
        return Answer(got.status, found, {k.lower(): v for k, v in got.getheaders()})

    def good(self, method: str, path: str, body: Any = None) -> Any:
        """The data of an answer that must be 200."""
        answer = self.ask(method, path, body)
        assert answer.status == 200, answer
        return answer.data

    def socket(self, last: str = "", *, token: str | None = TOKEN, **how: Any) -> Any:
        """The event stream."""
        from websockets.sync.client import connect

        headers = {"Authorization": f"token {token}"} if token is not None else {}
        url = f"ws://127.0.0.1:{self.port}/jupyter-durable/events?last={last}"
        return connect(
            url, additional_headers=headers | how.pop("headers", {}), max_size=None, proxy=None, **how
        )

    # -- runs ------------------------------------------------------------------------------------

    def life(self, code: str) -> subprocess.Popen[bytes]:
        """A process that makes runs."""
        return subprocess.Popen(
            [sys.executable, "-c", LIFE + textwrap.dedent(code)], env=self.env, cwd=self.work
        )

    def lives(self, code: str) -> None:
        """The same, to its end, whatever that is."""
        self.life(code).wait(90)

    def store(self) -> Store:
        """The store, from this process."""
        return open_store(str(self.path))

    def effects(self) -> list[str]:
        """What was really done."""
        return self.counter.read_text().split("\n")[:-1]

    def run(self, name: str) -> dict[str, Any]:
        """The newest run of that name, as the server has it."""
        found: dict[str, Any] = self.good("GET", f"runs?name={name}")["runs"][0]
        return found

    def until(self, name: str, what: Any) -> dict[str, Any]:
        """That run, when `what` is true of it."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = self.ask("GET", f"runs?name={name}").data["runs"]
            if found and what(found[0]):
                item: dict[str, Any] = found[0]
                return item
            time.sleep(0.05)
        raise TimeoutError(f"{name}: {found}")

    @contextmanager
    def waiting(self, name: str, code: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process whose run waits for somebody."""
        child = self.life(code)
        try:
            self.until(name, lambda run: run["waits"])
            yield child
        finally:
            child.kill()
            child.wait()


def fingerprint(store: Store) -> list[Any]:
    """Everything that a request could have changed."""
    found = []
    for record in store.journal.runs():
        inbox = [(item.kind, item.key, item.by) for item in store.journal.inbox(record.id)]
        found.append((record.id, record.status, record.head_seq, record.head_hash, record.generation, inbox))
    return found
