"""The provider as a process of its own, so that a kernel that is killed does not take it along.

    with ProviderProcess("script.py") as provider:      # or source text; it defines `script`
        provider.url; provider.hits; provider.requests   # read over HTTP

On the command line, `python -m jupyter_durable.testing.provider --script script.py` prints one line of
JSON, `{"url": …, "pid": …}`, and serves until its standard input is closed or its parent is gone.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from jupyter_durable.testing.provider.addresses import Addresses
from jupyter_durable.testing.provider.scripts import Script, echo
from jupyter_durable.testing.provider.server import FakeProvider

PARENT_CHECK = 0.5
"""Seconds between two looks at whether the parent is still there."""


class ProviderProcess(Addresses):
    """A provider in a process of its own. `script`: a Python file that defines `script`; None: it echoes.

    `port`: 0 for any free one; a fixed one lets a second process take over where one was killed.
    """

    def __init__(self, script: str | os.PathLike[str] | None = None, *, port: int = 0) -> None:
        self._script = script
        self._port = port
        self._process: subprocess.Popen[str] | None = None
        self.pid = 0

    def __enter__(self) -> ProviderProcess:
        command = [sys.executable, "-m", "jupyter_durable.testing.provider", "--port", str(self._port)]
        if self._script is not None:
            command += ["--script", os.fspath(self._script)]
        # In a session of its own: what is sent to the group of a kernel or a terminal is not for it.
        self._process = subprocess.Popen(  # noqa: S603 - this Python, our module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"the provider did not start (exit code {self._process.wait()}); see its stderr"
            )
        said = json.loads(line)
        self.url, self.pid = said["url"], said["pid"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own URL on loopback
            self.url + path, method=method, data=b"" if method == "POST" else None
        )
        # Without proxies from the environment: it is this machine.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
            return json.load(response)

    @property
    def status(self) -> dict[str, Any]:
        """`hits`, `attempts` and `requests` of one moment."""
        return self._ask("GET", "/_requests")  # type: ignore[no-any-return]

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every request seen; the names are those of `Request`."""
        return self.status["requests"]  # type: ignore[no-any-return]

    @property
    def hits(self) -> int:
        """Model calls answered."""
        return self.status["hits"]  # type: ignore[no-any-return]

    @property
    def attempts(self) -> int:
        """Model calls that came in."""
        return self.status["attempts"]  # type: ignore[no-any-return]

    def reset(self) -> None:
        """Forget all requests, and which of them have met their faults."""
        self._ask("POST", "/_reset")


def load(path: str | os.PathLike[str]) -> Script:
    """The name `script` in the Python file `path`. Raises `KeyError` if it defines none."""
    namespace = runpy.run_path(os.fspath(path), run_name="script")
    if "script" not in namespace:
        raise KeyError(f"{Path(path).name} does not define `script`")
    return namespace["script"]  # type: ignore[no-any-return]


def main(arguments: list[str] | None = None) -> None:
    """Serve until standard input is closed or the parent is gone."""
    parser = argparse.ArgumentParser(
        prog="python -m jupyter_durable.testing.provider",
        description="A scripted model server on loopback. Ends when its standard input is closed.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free one")
    parser.add_argument("--script", help="a Python file that defines `script`; without it, the server echoes")
    options = parser.parse_args(arguments)
    parent = os.getppid()
    over = threading.Event()

    def until_end_of_input() -> None:
        while os.read(0, 4096):
            pass
        over.set()

    with FakeProvider(load(options.script) if options.script else echo, port=options.port) as provider:
        print(json.dumps({"url": provider.url, "pid": os.getpid()}), flush=True)
        threading.Thread(target=until_end_of_input, daemon=True).start()
        try:
            while not over.wait(PARENT_CHECK) and os.getppid() == parent:
                pass
        except KeyboardInterrupt:
            pass
