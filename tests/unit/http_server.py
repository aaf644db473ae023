"""A loopback server that does what its paths say and counts what reached it."""

from __future__ import annotations

import gzip
import importlib.util
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from runs import Bench

GAP = 0.03
COMPRESSED = ["/gzip", *(["/br"] if importlib.util.find_spec("brotli") else [])]
"""What clients of this environment can undo."""


class Server(ThreadingHTTPServer):
    """`hits` counts requests by method and path; `bodies` keeps what came; `seen` the headers."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hits: Counter[str] = Counter()
        self.bodies: list[bytes] = []
        self.seen: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.release = threading.Event()  # lets /hold/* go on

    @property
    def total(self) -> int:
        return sum(self.hits.values())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what many of these tests are about."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server, listening until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """
    /json?x=1            a small JSON body, of known length; says which hit it is
    /gzip /br /big /cookie   the same compressed, by brotli if that is installed; 2 MB; with a cookie
    /long?mb=40          so many MB of unknown length
    /stream?n=5          n server-sent events and [DONE], GAP seconds apart (gap=…, gzip=1)
    /linger?s=1          2 events and [DONE]; the end comes after so long
    /chunks?n=5          n chunks of plain text
    /cut?n=2             n events, then the connection breaks; from hit `ok` on it is whole
    /status?code=429&times=2   that status so many times, then 200
    /drop?times=2        the connection is closed without an answer so many times, then 200
    /slow?s=1            200 after so long
    /hold                events until `release` is set
    /redirect            302 to /json
    """

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else b""
        if self.headers.get("transfer-encoding", "") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        server = self.server
        with server.lock:
            server.hits[f"{self.command} {self.path}"] += 1
            hit = server.hits[f"{self.command} {self.path}"]
            server.bodies.append(body)
            server.seen.append(dict(self.headers))
        name = parts.path.strip("/").split("/")[0]
        getattr(self, f"_{name}")(query, hit)

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, query: dict[str, str], hit: int, **headers: str) -> None:
        body = json.dumps({"hit": hit, "path": self.path}).encode()
        self._answer(200, body, content_type="application/json", **headers)

    def _gzip(self, query: dict[str, str], hit: int) -> None:
        body = gzip.compress(json.dumps({"hit": hit, "text": "x" * 500}).encode())
        self._answer(200, body, content_type="application/json", content_encoding="gzip")

    def _br(self, query: dict[str, str], hit: int) -> None:
        import brotli

        body = brotli.compress(json.dumps({"hit": hit, "text": "x" * 500}).encode())
        self._answer(200, body, content_type="application/json", content_encoding="br")

    def _big(self, query: dict[str, str], hit: int) -> None:
        self._answer(200, bytes(range(256)) * 8000, content_type="application/octet-stream")

    def _long(self, query: dict[str, str], hit: int) -> None:
        self._begin("application/octet-stream")
        for n in range(int(query["mb"])):
            self._chunk(n.to_bytes(4, "big") * (1 << 18))
        self.wfile.write(b"0\r\n\r\n")

    def _cookie(self, query: dict[str, str], hit: int) -> None:
        self._json(query, hit, set_cookie="session=planted-secret-cookie; Path=/")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _begin(self, kind: str, **headers: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def _stream(self, query: dict[str, str], hit: int) -> None:
        gap = float(query.get("gap", GAP))
        events = [f"data: {n}/{hit}\n\n".encode() for n in range(int(query.get("n", 5)))] + [
            b"data: [DONE]\n\n"
        ]
        if query.get("gzip"):
            self._begin("text/event-stream", content_encoding="gzip")
            self._chunk(gzip.compress(b"".join(events)))
        else:
            self._begin("text/event-stream")
            for n, event in enumerate(events):
                if n:
                    time.sleep(gap)
                self._chunk(event)
        self.wfile.write(b"0\r\n\r\n")

    def _linger(self, query: dict[str, str], hit: int) -> None:
        self._begin("text/event-stream")
        for event in (f"0/{hit}", f"1/{hit}", "[DONE]"):
            self._chunk(f"data: {event}\n\n".encode())
        self.server.release.wait(float(query.get("s", 1)))
        self.wfile.write(b"0\r\n\r\n")

    def _chunks(self, query: dict[str, str], hit: int) -> None:
        self._begin("text/plain")
        for n in range(int(query.get("n", 5))):
            self._chunk(f"{n}/{hit} ".encode())
        self.wfile.write(b"0\r\n\r\n")

    def _cut(self, query: dict[str, str], hit: int) -> None:
        self._begin("text/event-stream")
        for n in range(int(query.get("n", 2))):
            self._chunk(f"data: {n}/{hit}\n\n".encode())
            time.sleep(float(query.get("gap", 0.01)))
        if hit >= int(query.get("ok", 1 << 30)):
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def _status(self, query: dict[str, str], hit: int) -> None:
        if hit <= int(query.get("times", 1 << 30)):
            headers = {"retry_after": query["after"]} if "after" in query else {}
            self._answer(int(query["code"]), json.dumps({"error": hit}).encode(), **headers)
        else:
            self._json(query, hit)

    def _drop(self, query: dict[str, str], hit: int) -> None:
        if hit <= int(query.get("times", 1 << 30)):
            self.close_connection = True
        else:
            self._json(query, hit)

    def _slow(self, query: dict[str, str], hit: int) -> None:
        self.server.release.wait(float(query.get("s", 1)))
        self._json(query, hit)

    def _hold(self, query: dict[str, str], hit: int) -> None:
        self._begin("text/event-stream")
        n = 0
        while not self.server.release.wait(0.01):
            self._chunk(f"data: {n}/{hit}\n\n".encode())
            n += 1
        self.wfile.write(b"0\r\n\r\n")

    def _redirect(self, query: dict[str, str], hit: int) -> None:
        self._answer(302, b"", location="/json?from=redirect")


def replays(bench: Bench, server: Server, fn: Any) -> Any:
    """The newest run, replayed: no request."""
    hits = server.total
    value = bench.execute_replay(fn)
    assert server.total == hits
    return value
