"""The server: sockets and HTTP. It listens on 127.0.0.1 and nowhere else."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any

from jupyter_durable.capture.wire.writing import Routes
from jupyter_durable.capture.wire.writing.requests import Request
from jupyter_durable.testing.provider.addresses import Addresses
from jupyter_durable.testing.provider.handler import Handler
from jupyter_durable.testing.provider.scripts import Met, Script, compiled, echo

LOOPBACK = "127.0.0.1"


class FakeProvider(Addresses):
    """A model server on loopback that answers as `script` says, in the format it is asked in.

    `script`: one reply (text or `reply(...)`), a list of them (`turns`), or a function of the `Request`;
    left out, it is `echo`. `port`: 0 for any free one. `models` are what it lists; it answers for all.

    >>> with FakeProvider(["Hello", "Bye"]) as provider:
    ...     provider.hits
    0
    """

    def __init__(
        self, script: Script = echo, *, port: int = 0, models: tuple[str, ...] = ("fake-model",)
    ) -> None:
        self.models = models
        self.routes = Routes()
        self.met = Met()
        self.script = script
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.stopping = threading.Event()

    @property
    def script(self) -> Script:
        """What it answers. Set it to go on with another one."""
        return self._script

    @script.setter
    def script(self, script: Script) -> None:
        self._script, self.chain = script, compiled(script)

    @property
    def requests(self) -> list[Request]:
        """Every request seen, in the order in which they came, those for models lists included."""
        with self._lock:
            return list(self._requests)

    @property
    def attempts(self) -> int:
        """Model calls that came in, whatever became of them."""
        return sum(bool(request.api) for request in self.requests)

    @property
    def hits(self) -> int:
        """Model calls answered: with 2xx, and to the end.

        To the end of sending: whether a client that was killed just then has read it, no server knows.
        """
        return sum(bool(request.api) and request.outcome == "answered" for request in self.requests)

    def reset(self) -> None:
        """Forget all requests, and which of them have met their faults."""
        with self._lock:
            self._requests.clear()
        self.met.clear()

    def seen(self, request: Request) -> None:
        """A request came in."""
        with self._lock:
            self._requests.append(request)

    def start(self) -> FakeProvider:
        """Listen. `with` does it, too."""
        self.stopping.clear()
        self._server = _Server((LOOPBACK, self._port), self)
        self._port = self._server.server_address[1]
        self.url = f"http://{LOOPBACK}:{self._port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="fake-provider",
            daemon=True,
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop listening and close every connection, also those in the middle of an answer."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
        server.disconnect()
        self._server = self._thread = None

    def __enter__(self) -> FakeProvider:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], provider: FakeProvider) -> None:
        self.provider = provider
        self._connections: set[socket.socket] = set()
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what this server is for; nothing is printed."""

    def disconnect(self) -> None:
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
