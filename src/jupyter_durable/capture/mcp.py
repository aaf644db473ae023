"""MCP sessions: every request of a `mcp.ClientSession` is a step; what serves it underneath is none.

    call_tool ──────── step `server.tool`; the listing that the SDK may make to check the result is a part of it
    send_request ───── every other request: initialize, discover, list_…, read_resource, get_prompt, complete
    transports ─────── their connection, tasks and HTTP requests are owned (`runtime.context.owned`)

A full replay needs no server. Handshakes are answered from the journal like any request, and made again,
just before the first live request of their session; a transport that is entered while the run replays is
opened by the first message written to it (`capture.mcp_transports`). So a server that keeps state between calls, in its process,
starts without that state: what earlier calls did to it is not done again.

A result with `isError` is a result. An error that is raised is the step's outcome, a lost connection too: if it
ends the run, the step is made again when the run is resumed, as after any error. Progress is the step's log; a
callback for it is called while the request is live. `_meta` is no part of a call's identity.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any

from jupyter_durable.capture.forms import JsonForm
from jupyter_durable.capture.instruments import Captures, Undo
from jupyter_durable.capture.mcp_transports import TRANSPORTS, defer
from jupyter_durable.codec.redaction import masked
from jupyter_durable.model import Draft
from jupyter_durable.runtime.context import OWNED, SCOPE, Scope, owned
from jupyter_durable.runtime.step import Spec
from jupyter_durable.runtime.steps import perform_async

Send = Callable[..., Awaitable[Any]]

_NAMES = {
    "server/discover": "discover",
    "tools/call": "call_tool",
    "tools/list": "list_tools",
    "resources/list": "list_resources",
    "resources/templates/list": "list_resource_templates",
    "resources/read": "read_resource",
    "prompts/list": "list_prompts",
    "prompts/get": "get_prompt",
    "completion/complete": "complete",
    "logging/setLevel": "set_logging_level",
    "resources/subscribe": "subscribe_resource",
    "resources/unsubscribe": "unsubscribe_resource",
}
# What a server's process must be told again before it can serve: it is not the process that was told.
_HANDSHAKES = frozenset({"initialize", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
# Versions and capabilities of the SDK: a newer one asks the same.
_ANONYMOUS = frozenset({"initialize", "server/discover"})


class _Known:
    """What is known about a session: its server's name, and the messages it must send before its first live request."""

    __slots__ = ("lock", "name", "pending")

    def __init__(self) -> None:
        self.name = ""
        self.pending: list[Callable[[], Awaitable[Any]]] = []
        self.lock = asyncio.Lock()


_sessions: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()


def _known(session: Any) -> _Known:
    known = _sessions.get(session)
    if known is None:
        known = _sessions[session] = _Known()
    if not known.name:
        known.name = _name_in(session)  # of a session that was initialised before anything was patched
    return known


def _name_in(value: Any) -> str:
    info = getattr(value, "server_info", None) or getattr(value, "serverInfo", None)
    return str(getattr(info, "name", "") or "")


def _live_scope() -> Scope | None:
    """The durable scope this request is made in; None: it is an ordinary one, or a part of a captured call."""
    return SCOPE.get()


def _captured(scope: Scope) -> bool:
    return "mcp" in scope.run.options.capture


def _spec(known: _Known, name: str, form: JsonForm | None = None, *, housekeeping: bool = False) -> Spec:
    full = f"{known.name}.{name}" if known.name else name
    return Spec(full, kind="mcp", form=form, housekeeping=housekeeping)


# -- what one live request does -----------------------------------------------------------------------


async def _make(session: Any, send: Send) -> Any:
    """Send a request for real, after whatever the replay left unsaid."""
    with owned(SCOPE.get() or OWNED.get()):
        try:
            await _catch_up(session)
            return await send()
        except Exception:
            if (reason := _not_opened(session)) is not None:
                raise reason from None
            raise


async def _catch_up(session: Any) -> None:
    known = _sessions.get(session)
    if known is None or not known.pending:
        return
    async with known.lock:  # several calls may be the first live one
        while known.pending:
            await known.pending[0]()
            known.pending.pop(0)
        vars(session).pop("send_request", None)


def _not_opened(session: Any) -> Exception | None:
    """Why a transport that was to be opened late could not be."""
    for holder in (session, getattr(session, "_dispatcher", None)):
        link = getattr(getattr(holder, "_write_stream", None), "link", None)
        if link is not None and link.error is not None:
            found: Exception = link.error
            return found
    return None


def _postpone(session: Any, known: _Known, message: Callable[[], Awaitable[Any]]) -> None:
    """The journal has answered `message`; the server is told before the first live request."""
    known.pending.append(message)
    if "send_request" in vars(session):
        return

    async def first(*args: Any, **kwargs: Any) -> Any:
        # Of use when the run has ended, and the patches with it, before anything was live.
        if SCOPE.get() is None and OWNED.get() is None:
            await _catch_up(session)
        return await type(session).send_request(session, *args, **kwargs)

    session.send_request = first


def reporter(scope: Scope | None, theirs: Callable[..., Awaitable[Any]] | None = None) -> Any:
    """A progress callback that logs with the step that is being attempted in `scope`."""
    attempt = scope.attempt if scope is not None else None

    async def report(progress: float, total: float | None = None, message: str | None = None) -> None:
        if scope is not None and attempt is not None and not scope.run.closed:
            meta: dict[str, Any] = {"m": message} if message else {}
            if total:
                meta["p"] = min(1.0, max(0.0, progress / total))
            elif not message:
                meta["m"] = f"progress: {progress:g}"
            scope.run.writer.put([Draft("log", attempt.scope, attempt.pos, masked(meta))])
        if theirs is not None:
            await theirs(progress, total, message)

    return report


# -- the requests --------------------------------------------------------------------------------------


async def call_tool(
    original: Send,
    session: Any,
    name: str,
    arguments: Mapping[str, Any] | None = None,
    read_timeout_seconds: Any = None,
    progress_callback: Any = None,
    **options: Any,
) -> Any:
    """`ClientSession.call_tool`, as a step if it is made in a durable scope."""
    scope = _live_scope()
    if scope is None or not _captured(scope):
        return await _make(
            session,
            lambda: original(session, name, arguments, read_timeout_seconds, progress_callback, **options),
        )

    async def call(*rounds: Any, **given: Any) -> Any:
        report = reporter(SCOPE.get(), progress_callback)
        wanted = given if given or arguments is not None else arguments
        return await _make(
            session, lambda: original(session, name, wanted, read_timeout_seconds, report, **options)
        )

    # The second and later rounds of a call that the server answered with a question.
    rounds = tuple(
        options[key] for key in ("input_responses", "request_state") if options.get(key) is not None
    )
    spec = _spec(_known(session), name, JsonForm())
    return await perform_async(spec, call, rounds, dict(arguments or {}))


async def send_request(
    original: Send, session: Any, request: Any, result_type: Any, *args: Any, **kwargs: Any
) -> Any:
    """`ClientSession.send_request`, as a step if it is made in a durable scope and not inside `call_tool`."""
    plain = getattr(request, "root", request)
    method = str(plain.method)
    known = _known(session)
    scope = _live_scope()

    async def send(**more: Any) -> Any:
        return await original(session, request, result_type, *args, **{**kwargs, **more})

    if scope is None or not _captured(scope):
        result = await (send() if scope is None else _make(session, send))
    else:
        executed = False

        async def call(*_: Any, **__: Any) -> Any:
            nonlocal executed
            executed = True
            more = {}
            if len(args) < 3 and method in ("tools/call", "resources/read", "prompts/get"):
                more["progress_callback"] = reporter(SCOPE.get(), kwargs.get("progress_callback"))
            return await _make(session, lambda: send(**more))

        name, positional, named = _identity(method, plain)
        spec = _spec(known, name, housekeeping=method != "tools/call")
        result = await perform_async(spec, call, positional, named)
        if not executed and method in _HANDSHAKES:
            _postpone(session, known, functools.partial(_again, session, send))
    if method == "initialize":
        known.name = _name_in(result) or known.name
    return result


async def _again(session: Any, send: Send) -> None:
    """A handshake that the journal answered, with the server's process of today."""
    result = await send()
    if hasattr(session, "adopt") and hasattr(result, "server_info"):
        session.adopt(result)  # it may be a newer version than the one that was recorded


def _identity(method: str, request: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """A request's name, and the arguments that tell it from others."""
    name = _NAMES.get(method, method)
    params = getattr(request, "params", None)
    if params is None or method in _ANONYMOUS:
        return name, (), {}
    given = params.model_dump(by_alias=True, mode="json", exclude_none=True)
    given.pop("_meta", None)
    if method == "tools/call":
        tool = str(given.pop("name"))
        arguments = given.pop("arguments", {})
        return tool, tuple(given.values()), arguments
    return name, (), given


async def send_notification(original: Send, session: Any, *args: Any, **kwargs: Any) -> None:
    """`ClientSession.send_notification`: it waits for the handshake that it follows."""
    scope = _live_scope()
    if scope is None:
        await original(session, *args, **kwargs)
        return
    known = _known(session)
    if known.pending or (_captured(scope) and not scope.run.turns.open):
        _postpone(session, known, lambda: original(session, *args, **kwargs))
        return
    with owned(scope):
        await original(session, *args, **kwargs)


async def send_discover(original: Send, session: Any, *args: Any, **kwargs: Any) -> Any:
    """`ClientSession.send_discover`: the probe of SDK 2 for servers that need no handshake."""
    scope = _live_scope()
    if scope is None or not _captured(scope):
        return await _make(session, lambda: original(session, *args, **kwargs))

    async def call() -> Any:
        # An older server does not know the question; its answer is an answer, and no failure of the run.
        from mcp.shared.exceptions import MCPError

        try:
            return {"result": await _make(session, lambda: original(session, *args, **kwargs))}
        except MCPError as error:
            if error.code == _CONNECTION_CLOSED:
                raise
            return {"error": error.error}

    spec = _spec(_known(session), "discover", housekeeping=True)
    answer = await perform_async(spec, call, (), {})
    if "error" in answer:
        from mcp.shared.exceptions import MCPError

        raise MCPError.from_error_data(answer["error"])
    return answer["result"]


_CONNECTION_CLOSED = -32000


async def enter(original: Send, session: Any) -> Any:
    """`__aenter__` and `_build_session`: the tasks that serve the session are no strands of the run."""
    with owned(SCOPE.get() or OWNED.get()):
        return await original(session)


async def leave(original: Send, session: Any, *exc: Any) -> Any:
    """`__aexit__`."""
    with owned(SCOPE.get() or OWNED.get()):
        return await original(session, *exc)


async def build_session(original: Send, client: Any, *args: Any) -> Any:
    """`Client._build_session` of SDK 2: a transport made before this run began is made again, so that it can wait."""
    scope = SCOPE.get()
    if scope is not None:
        from mcp.client import client as module
        from mcp.client.stdio import StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client

        if isinstance(client.server, str):
            client._connect = module._connect_transport(streamable_http_client(client.server))
        elif isinstance(client.server, StdioServerParameters):
            client._connect = module._connect_transport(stdio_client(client.server))
    with owned(scope or OWNED.get()):
        return await original(client, *args)


async def read_cache(original: Send, cache: Any, *args: Any, **kwargs: Any) -> Any:
    """`ClientResponseCache.read` of SDK 2: what has expired when depends on the clock, so in a run nothing is cached."""
    return await original(cache, *args, **kwargs) if SCOPE.get() is None else None


# -- patching ------------------------------------------------------------------------------------------


def _patch(cls: type, name: str, ours: Callable[..., Awaitable[Any]]) -> Undo:
    """Let `ours(original, self, ...)` stand in for a method, which may be inherited."""
    original = getattr(cls, name)
    own = vars(cls).get(name)

    @functools.wraps(original)
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await ours(original, self, *args, **kwargs)

    setattr(cls, name, method)

    def undo() -> None:
        if vars(cls).get(name) is method:
            if own is None:
                delattr(cls, name)
            else:
                setattr(cls, name, own)

    return undo


_METHODS: dict[str, tuple[tuple[str, str, Callable[..., Awaitable[Any]]], ...]] = {
    "mcp.client.session": (
        ("ClientSession", "call_tool", call_tool),
        ("ClientSession", "send_request", send_request),
        ("ClientSession", "send_notification", send_notification),
        ("ClientSession", "send_discover", send_discover),
        ("ClientSession", "__aenter__", enter),
        ("ClientSession", "__aexit__", leave),
    ),
    "mcp.client.client": (("Client", "_build_session", build_session),),
    "mcp.client.caching": (("ClientResponseCache", "read", read_cache),),
}
_OF_SDK_2 = frozenset({"send_discover"})


class McpInstrument:
    """See `capture.instruments.Instrument`."""

    name = "mcp"
    captures: Captures = "mcp"
    supported: Mapping[str, str] = {"mcp": ">=1.12,<3"}
    modules = (*_METHODS, *TRANSPORTS)

    def patch(self, module: ModuleType) -> Undo:
        """Patch the session's methods, or a transport, in place: names imported before are covered, too."""
        undo = [
            _patch(getattr(module, cls), name, ours)
            for cls, name, ours in _METHODS.get(module.__name__, ())
            if name not in _OF_SDK_2 or hasattr(getattr(module, cls), name)
        ]
        undo += [
            defer(getattr(module, name))
            for name in TRANSPORTS.get(module.__name__, ())
            if hasattr(module, name)
        ]

        def undo_all() -> None:
            for one in reversed(undo):
                one()

        return undo_all


INSTRUMENT = McpInstrument()
