"""HTTP over the operations: who may, how large, and what a fault looks like.

Each path is one handler class. Authentication, the origin and the XSRF token are checked by Jupyter Server before a
body is read; the authorizer is asked for `read` or `write` of the resource `durable`.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from pydantic import ValidationError
from pydantic_core import from_json
from tornado import web

from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import (
    AlreadyDecidedError,
    DurableError,
    IntegrityError,
    LeaseHeldError,
    RunNotFoundError,
    StoreError,
)
from jupyter_durable.server.backend import Backend
from jupyter_durable.server.openapi import document
from jupyter_durable.server.routes import OPERATIONS, PARAMETERS, PREFIX, Call, Download, Operation

RESOURCE = "durable"
MOST = 1_000_000
"""Bytes of a body."""

_STATUS: tuple[tuple[type[DurableError], int], ...] = (
    (RunNotFoundError, 404),
    (AlreadyDecidedError, 409),
    (LeaseHeldError, 409),
    (IntegrityError, 503),
    (StoreError, 503),
    (DurableError, 422),
)


class Refused(web.HTTPError):
    """A fault with a body that says why."""

    def __init__(self, status: int, message: str, **more: str) -> None:
        super().__init__(status, log_message=message.replace("%", "%%"))
        self.fault = {"message": message, **{key: value for key, value in more.items() if value}}


def refusal(error: DurableError) -> Refused:
    """What an error of ours is in HTTP."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    by = getattr(error, "decided_by", "")
    return Refused(status, mask(str(error.args[0])), hint=mask(error.hint), decided_by=mask(by))


class Base(APIHandler):
    """What all paths have in common."""

    auth_resource = RESOURCE
    allowed: ClassVar[tuple[str, ...]] = ()

    def write_error(self, status_code: int, **how: Any) -> None:
        """A fault, as JSON."""
        error = how.get("exc_info", (None, None))[1]
        fault = getattr(error, "fault", None)
        if fault is None:
            said = getattr(error, "log_message", None) if status_code < 500 else None
            fault = {"message": str(said or self._reason)}
        self.set_header("Content-Type", "application/json")
        self.set_header("X-Content-Type-Options", "nosniff")
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.allowed))
        self.finish(json.dumps(fault))

    def say(self, value: Any) -> None:
        """An answer."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(value))


@web.stream_request_body
class OperationHandler(Base):
    """One path with its operations."""

    backend: ClassVar[Backend]
    pool: ClassVar[ThreadPoolExecutor]
    operations: ClassVar[dict[str, Operation]] = {}

    async def prepare(self) -> None:
        """Refuse before anything is read."""
        self._body = bytearray()
        self._large = False
        await super().prepare()
        length = self.request.headers.get("Content-Length", "0")
        if (
            not length.isdigit() or int(length) > 32 * MOST
        ):  # less is let come and dropped, so that a browser is told
            raise Refused(413, f"at most {MOST} bytes")

    def data_received(self, chunk: bytes) -> None:
        """A part of the body. What is too large is dropped as it comes."""
        self._large = self._large or len(self._body) + len(chunk) > MOST
        if not self._large:
            self._body += chunk

    @web.authenticated
    @authorized("read", RESOURCE)
    async def get(self, **path: str) -> None:
        """Look."""
        await self._perform("GET", path)

    @web.authenticated
    @authorized("write", RESOURCE)
    async def post(self, **path: str) -> None:
        """Say something."""
        await self._perform("POST", path)

    @web.authenticated
    @authorized("write", RESOURCE)
    async def delete(self, **path: str) -> None:
        """Take away."""
        await self._perform("DELETE", path)

    async def _perform(self, method: str, path: dict[str, str]) -> None:
        operation = self.operations.get(method)
        if operation is None:
            raise Refused(405, f"no {method} here")
        call = Call(self.backend, path, self._query(operation), self._given(operation), self._who())
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self.pool, operation.does, call)
        except DurableError as error:
            raise refusal(error) from error
        if isinstance(answer, Download):
            self._give(answer)
        else:
            self.say(answer)

    def _give(self, file: Download) -> None:
        """A file. It is made of what tools said: no browser may take it for a page of this server."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", file.name)
        self.set_header("Content-Type", f"{file.kind}; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{plain}"')
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")
        self.finish(file.data)

    def _query(self, operation: Operation) -> Any:
        given: dict[str, str] = {}
        for name, values in self.request.query_arguments.items():
            if name in ("token", "_xsrf"):  # Jupyter Server's own
                continue
            if name.isdigit() and values == [
                b""
            ]:  # the time, which keeps JupyterLab's requests out of caches
                continue
            if len(values) != 1:
                raise Refused(400, f"{name} is given {len(values)} times"[:200])
            try:
                given[name] = values[0].decode()
            except UnicodeDecodeError:
                raise Refused(400, f"{name} is not text"[:200]) from None
        return self._fits(operation.query, given)

    def _given(self, operation: Operation) -> Any:
        if self._large:
            raise Refused(413, f"at most {MOST} bytes")
        if operation.body is None:
            return None
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if self._body and kind not in ("application/json", "", "text/plain"):
            raise Refused(400, "a body must be JSON")
        try:
            data = from_json(bytes(self._body) or b"{}", allow_inf_nan=False)
        except ValueError as error:
            raise Refused(400, f"not JSON: {error}") from None
        return self._fits(operation.body, data)

    @staticmethod
    def _fits(kind: Any, data: Any) -> Any:
        try:
            return kind.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise Refused(400, f"{where}: {first['msg']}" if where else first["msg"]) from None

    def _who(self) -> str:
        return who(self.current_user)


class Document(Base):
    """The OpenAPI document."""

    allowed = ("GET",)

    @web.authenticated
    @authorized("read", RESOURCE)
    async def get(self) -> None:
        """It."""
        self.say(document(self.base_url))


def who(user: Any) -> str:
    """Who decides, for the journal: a named user by that name, the owner of a server with a token by his own."""
    name = getattr(user, "display_name", "") or getattr(user, "username", "") or ""
    if not name or name.startswith("Anonymous"):
        try:
            name = getpass.getuser()
        except (OSError, KeyError):  # a container's user may have no name
            name = "somebody"
    return f"{name} (Jupyter)"


def handlers(base_url: str, backend: Backend, pool: ThreadPoolExecutor) -> list[tuple[str, type[Base]]]:
    """Every path with its handler."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    start = re.escape(f"{base_url.rstrip('/')}/{PREFIX}/")
    made: list[tuple[str, type[Base]]] = []
    for path, operations in by_path.items():
        pattern = re.sub(r"\{(\w+)\}", lambda found: f"(?P<{found[1]}>{PARAMETERS[found[1]]})", path)
        fields = {
            "backend": backend,
            "pool": pool,
            "operations": operations,
            "allowed": tuple(sorted(operations)),
        }
        made.append((f"{start}{pattern}", type(f"Handler_{len(made)}", (OperationHandler,), fields)))
    made.append((f"{start}openapi\\.json", Document))
    return made
