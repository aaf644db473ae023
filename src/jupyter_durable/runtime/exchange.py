"""What a transport says of an HTTP exchange that may be a step, and whether it is one.

A transport says what it is about to send (`Ask`) and how to send it; what comes back is recorded as raw
bytes with their borders, and given back the same way on replay. Nothing in here knows an HTTP library.

    capturing, wanted ── whether an exchange made here is a step
    Ask, Head, Source ── one, as its transport describes it
    runtime.exchanges ── `exchange` and `exchange_async`: make it, or answer it from the journal

Requests are described before any await. A response is handed on whole, after its commit, if it is known to
be small; any other passes chunk by chunk as it arrives, and its end comes after the commit.

An error of the transport and a response that asks to try again (408, 409, 429, 5xx) are attempts: they reach
the caller, and the same call made again in the same strand is the next attempt of the same step; a success is the
step's outcome, and answers the first call on replay. If the strand goes on with something else, or ends, the last
attempt becomes the outcome: it was *given up*. On replay it answers as many calls as there were attempts, and if it
is a response, it says `retry-after-ms: 1`, so that an SDK does not wait between them. An error that ended the run
leaves its step open, to be made again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from jupyter_durable.runtime.context import SCOPE, Scope, current_scope
from jupyter_durable.runtime.effects import quiet
from jupyter_durable.runtime.local import is_importing

Headers = tuple[tuple[bytes, bytes], ...]

WHOLE = 1_000_000
"""Bytes up to which a response whose length is known is read before it is handed on."""

_LIVE_TYPES = (b"event-stream", b"eventstream", b"ndjson", b"json-seq", b"jsonl", b"json-lines")


# -- what a transport says -------------------------------------------------------------------------------


class Head(NamedTuple):
    """The beginning of a response. Names and values of headers are as they came, in their order."""

    status: int
    reason: str = ""
    headers: Headers = ()
    version: str = "HTTP/1.1"

    def get(self, name: bytes) -> bytes | None:
        """The first header of that name (lower case)."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def __str__(self) -> str:
        return f"HTTP {self.status} {self.reason}".rstrip()


class Described(Protocol):
    """What is known about an exchange before it is made.

    `identity` is what the digest covers, `shown` what people see as its arguments (a mapping shows
    like keyword arguments).
    """

    @property
    def kind(self) -> Literal["model", "http"]: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def identity(self) -> Any: ...  # noqa: D102
    @property
    def shown(self) -> Any: ...  # noqa: D102

    def compared(self, shown: Any) -> Any:
        """Of what is shown of a request like this one, the part that identity covers, by the names people know."""
        ...


class Reader(Protocol):
    """Reads a response's bytes as they pass. Must not raise."""

    def feed(self, data: bytes) -> None:
        """More of them."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the format's own last event has come."""
        ...

    def summary(self) -> Mapping[str, Any] | None:
        """JSON data about it: tokens, finish reason; kept with the outcome as `"m"`."""
        ...


class Source(Protocol):
    """A live response: `head`, its bytes as they arrive (undecoded), and `close`, which may come early."""

    @property
    def head(self) -> Head: ...  # noqa: D102

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...  # noqa: D102


class AsyncSource(Protocol):
    """The same for coroutines."""

    @property
    def head(self) -> Head: ...  # noqa: D102

    def __aiter__(self) -> Any: ...

    async def aclose(self) -> None: ...  # noqa: D102


def retryable(head: Head) -> bool:
    """Whether the response asks to try again, as SDKs understand it."""
    return head.status in (408, 409, 429) or head.status >= 500


@dataclass(slots=True)
class Ask:
    """An exchange about to be made.

    `method`: upper case. `reader(head)` makes what reads the response. `again`: whether the sender says
    that this repeats a call that failed (`x-stainless-retry-count`); None: it does not say.
    `cut_off(text)` makes the transport's own error for a connection that breaks. `retryable`: which
    responses are attempts. `secret(name, value)`: whether a response's header must be sealed.
    """

    described: Described
    method: str
    reader: Callable[[Head], Reader | None] = lambda head: None
    again: bool | None = None
    cut_off: Callable[[str], Exception] = ConnectionError
    retryable: Callable[[Head], bool] = retryable
    secret: Callable[[str, str], bool] = lambda name, value: name.lower() == "set-cookie"


def retries(header: Callable[[str], str | None]) -> bool | None:
    """What a request's headers say for `Ask.again`. `header(name)` gives the value of one.

    >>> retries({"x-stainless-retry-count": "1"}.get)
    True
    """
    count = header("x-stainless-retry-count")
    if count is not None and count.isdigit():
        return int(count) > 0
    for part in (header("amz-sdk-request") or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "attempt" and value.isdigit():
            return int(value) > 1
    return None


# -- whether ---------------------------------------------------------------------------------------------

_passing: ContextVar[bool] = ContextVar("jupyter_durable_passing", default=False)
_COVERED = frozenset({"http", "model", "mcp"})


@contextlib.contextmanager
def passing() -> Iterator[None]:
    """Exchanges in here are nobody's step, and nothing that the effects watch would notice."""
    token = _passing.set(True)
    try:
        with quiet():
            yield
    finally:
        _passing.reset(token)


def capturing() -> Scope | None:
    """The scope that an exchange made here would be a step of; None: let it pass untouched.

    That is so outside durable runs, below an exchange that is a step already, while an installed module
    is imported (LiteLLM fetches its prices then), and in a task that outlived its run (which gets a notice).
    """
    scope = SCOPE.get()
    if scope is None or _passing.get():
        return None
    attempt = scope.attempt
    if attempt is not None and attempt.kind in _COVERED:
        return None
    run = scope.run
    if run.closed:
        run.notice(
            f"run {run.name!r} has ended, and a task or thread that outlived it makes HTTP requests: they are not journaled"
        )
        return None
    return None if is_importing() else current_scope()


def websocket(host: str) -> None:
    """Say that the connection about to be made is no step. Covered by the step around it, if there is one."""
    scope = SCOPE.get()
    if scope is not None and scope.attempt is None and not scope.run.closed and not _passing.get():
        scope.run.notice(
            f"a websocket connection to {host} is not journaled: what passes over it passes again when the run is "
            f"resumed, unless a @durable.tool holds the connection"
        )


def wanted(scope: Scope, described: Described) -> bool:
    """Whether that exchange becomes a step: captured in this run, and not covered by the outcome of the step around it."""
    if described.kind == "model":
        return "models" in scope.run.options.capture
    return scope.attempt is None and "http" in scope.run.options.capture


def whole(ask: Ask, head: Head) -> bool:
    """Whether the body is read before the response is handed on: it is known to be small, or an error's."""
    if ask.method == "HEAD" or head.status in (204, 304) or head.status >= 400:
        return True
    length = head.get(b"content-length")
    if length is None or not length.isdigit() or int(length) > WHOLE:
        return False
    kind = (head.get(b"content-type") or b"").lower()
    return not any(live in kind for live in _LIVE_TYPES)
