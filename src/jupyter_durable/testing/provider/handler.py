"""One connection: reads requests, answers as planned, breaks off where the plan says so."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import struct
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast

from jupyter_durable.capture.wire.writing.base import Answer, Frame, Wire, dumps, message_for
from jupyter_durable.capture.wire.writing.openai_chat import openai_error
from jupyter_durable.capture.wire.writing.requests import Request
from jupyter_durable.testing.provider.scripts import Plan, ScriptError
from jupyter_durable.testing.provider.troubles import Trouble

if TYPE_CHECKING:
    from jupyter_durable.testing.provider.server import FakeProvider, _Server


class _BreakError(Exception):
    """The connection ends here, as the script says."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with connections kept alive, and nothing held back in buffers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def provider(self) -> FakeProvider:
        """The provider whose connection this is."""
        return cast("_Server", self.server).provider

    def version_string(self) -> str:
        """The `Server` header."""
        return "FakeProvider"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class calls it
        """Quiet: `provider.requests` is the log."""

    def do_GET(self) -> None:
        """Models, and what this server knows."""
        path = self.path.partition("?")[0]
        if path == "/_requests":
            self._json(200, status_of(self.provider))
            return
        request = self._request(None)
        found = re.search(r"/models(?:/(.+))?$", path)
        if found is None:
            self._refuse(request, 404, f"no such page: {path}")
            return
        self._done(request, "answered", 200)
        listed = (found[1],) if found[1] else self.provider.models
        self._json(200, _models(request, listed, single=bool(found[1])))

    def do_POST(self) -> None:
        """A model call."""
        raw = self._read()
        if self.path == "/_reset":
            self.provider.reset()
            self._json(200, {})
            return
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = None
        request = self._request(body)
        found = self.provider.routes.find(request)
        if found is None:
            self._refuse(request, 404, f"no model API has the path {self.path}")
            return
        try:
            self._call(request, *found)
        except _BreakError as end:
            self._done(request, "cut", request.status)
            self._hang_up(reset=end.reset)
        except OSError:
            self._done(request, "gone", request.status)
            self.close_connection = True

    def _call(self, request: Request, wire: Wire, target: dict[str, str]) -> None:
        request.api = wire.api
        try:
            plan, answer = self._planned(request, wire, target)
        except (ScriptError, ValueError, KeyError, TypeError, AttributeError) as error:
            said = (
                str(error)
                if isinstance(error, ValueError)
                else f"bad request: {type(error).__name__} {error}"
            )
            self._fail(request, wire, 400, said)
            return
        self._pause(plan.first)
        failure = plan.at_once
        if (
            failure is None
            and plan.failure is not None
            and plan.failure.kind == "fault"
            and not request.stream
        ):
            failure = plan.failure  # there is no middle of an answer that comes in one piece
        if failure is not None and failure.kind == "drop":
            raise _BreakError
        if failure is not None:
            self._fail(
                request,
                wire,
                failure.status,
                failure.message or message_for(failure.status),
                failure.retry_after,
            )
        elif request.stream:
            self._stream(request, wire, answer, plan)
        else:
            self._whole(request, wire, answer, plan.failure)

    def _planned(self, request: Request, wire: Wire, target: dict[str, str]) -> tuple[Plan, Answer]:
        if not isinstance(request.body, dict):
            raise ScriptError("the body of the request is not a JSON object")
        wire.read(request, target)
        # Gemini knows results by the names of functions, too.
        if request.api != "gemini" and (open_calls := request.unanswered()):
            raise ScriptError(f"tool calls have no result in the conversation: {', '.join(open_calls)}")
        try:
            chain = self.provider.chain(request)
        except ScriptError:
            raise
        except Exception as error:
            # The user's function. Its error reaches him through the SDK's.
            raise ScriptError(f"the script raised {type(error).__name__}: {error}") from error
        plan = self.provider.met.plan(chain, request.key)
        return plan, wire.answer(request, plan.reply)

    def _whole(self, request: Request, wire: Wire, answer: Answer, failure: Trouble | None) -> None:
        body = dumps(wire.whole(answer)).encode()
        if failure is not None:
            request.status = 200
            self._head(200, wire.headers(answer.token), "application/json", len(body))
            self.wfile.write(body[: len(body) // 2])
            raise _BreakError(reset=failure.reset)
        # Counted before it is sent: who has read it may ask at once.
        self._still_there()
        self._done(request, "answered", 200)
        self._head(200, wire.headers(answer.token), "application/json", len(body))
        self.wfile.write(body)

    def _stream(self, request: Request, wire: Wire, answer: Answer, plan: Plan) -> None:
        request.status = 200
        self._head(200, wire.headers(answer.token), wire.stream_type, None)
        said = 0
        for frame, last in _with_last(wire.frames(answer)):
            if plan.failure is not None and (last or (frame.content and said == plan.failure.after)):
                self._break_off(request, wire, plan.failure)
                return
            if frame.content:
                self._pause(plan.delay)
                said += 1
            self._still_there()
            if last:
                self._done(request, "answered", 200)
            self._chunk(frame.data)
        self.wfile.write(b"0\r\n\r\n")

    def _break_off(self, request: Request, wire: Wire, failure: Trouble) -> None:
        if failure.kind == "cut":
            raise _BreakError(reset=failure.reset)
        self._done(request, "fault", 200)
        self._chunk(wire.error_frame(failure.status, failure.message or message_for(failure.status)))
        self.wfile.write(b"0\r\n\r\n")

    def _fail(
        self, request: Request, wire: Wire, status: int, message: str, retry_after: float | None = None
    ) -> None:
        headers = wire.headers("0" * 24) | wire.error_headers(status)
        if retry_after is not None:
            headers["retry-after"] = f"{retry_after:g}"
            headers["retry-after-ms"] = f"{retry_after * 1000:g}"
        self._done(request, "fault", status)
        self._json(status, wire.error(status, message), headers)

    def _refuse(self, request: Request, status: int, message: str) -> None:
        self._done(request, "fault", status)
        self._json(status, openai_error(status, message))

    def _request(self, body: Any) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body, time.time())
        self.provider.seen(request)
        return request

    def _read(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _done(self, request: Request, outcome: Any, status: int) -> None:
        request.outcome, request.status = outcome, status

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        body = dumps(value).encode()
        self._head(status, headers or {}, "application/json", len(body))
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str], kind: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Cache-Control", "no-cache")
        else:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _pause(self, seconds: float) -> None:
        if seconds > 0 and self.provider.stopping.wait(seconds):
            raise _BreakError

    def _still_there(self) -> None:
        """Raise `ConnectionResetError` if the client has gone: the first write after that would still succeed."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError

    def _hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)


def status_of(provider: FakeProvider) -> dict[str, Any]:
    """What `GET /_requests` answers."""
    requests = [request.as_json() for request in provider.requests]
    return {"hits": provider.hits, "attempts": provider.attempts, "requests": requests}


def _with_last(frames: Iterator[Frame]) -> Iterator[tuple[Frame, bool]]:
    before = next(frames)
    for frame in frames:
        yield before, False
        before = frame
    yield before, True


def _models(request: Request, names: tuple[str, ...], *, single: bool) -> Any:
    if "anthropic-version" in request.headers:
        listed: list[dict[str, Any]] = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
            for name in names
        ]
        rest: dict[str, Any] = {"has_more": False, "first_id": names[0], "last_id": names[-1]}
        return listed[0] if single else {"data": listed, **rest}
    if "x-goog-api-key" in request.headers or request.path.startswith("/v1beta/"):
        listed = [
            {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": ["generateContent"]}
            for name in names
        ]
        return listed[0] if single else {"models": listed}
    listed = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "fake"} for name in names]
    if "mistral" in request.headers.get("user-agent", ""):
        listed = [{**model, "type": "base", "capabilities": {}} for model in listed]
    return listed[0] if single else {"object": "list", "data": listed}
