"""What is on the wire: requests recognised and cleaned, responses read as they come. Bytes in, data out.

    describe ────── a request as a step: its kind, name, identity and what is kept of it; None: never journaled
    Reader ──────── a response: the answer's text so far, whether it is whole, its tokens and price
    is_attempt ──── a status that is a try that failed, not an outcome
    scrub_headers ─ what of a response's headers is kept for replay

    credentials ─ what a secret looks like      bodies ── requests as data        formats ─ which API
    frames ────── responses as events           answers ─ events as an answer     usage, prices
    talk ──────── a model's request as people read it
    writing ───── the same formats from the other side: what a model says, as its provider would send it

Nothing here does I/O or patches anything: transports (`capture.httpx` and its siblings) do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from jupyter_durable.capture.wire import bodies, prices
from jupyter_durable.capture.wire.answers import APIS, Answer
from jupyter_durable.capture.wire.credentials import HIDDEN, is_exchange, is_secret_name, meet, split_url
from jupyter_durable.capture.wire.formats import recognise
from jupyter_durable.capture.wire.frames import Frames, Inflater, frames
from jupyter_durable.capture.wire.usage import tokens

Headers = Iterable[tuple[str, str]]

_SAID_BY = ("range", "x-amz-target", "soapaction", "x-http-method-override")
"""Request headers that tell two calls apart."""


@dataclass(frozen=True, slots=True)
class Described:
    """A request as a step.

    `identity` is what the arguments digest covers, `shown` what is kept and shown: JSON-like data (and bytes) in
    which no credential is left. `api` says which reader reads the response.
    """

    kind: Literal["model", "http"]
    name: str
    identity: Any
    shown: dict[str, Any]
    api: str | None = None
    provider: str | None = None
    model: str | None = None

    def compared(self, shown: Any) -> Any:
        """What tells a request, of which this was kept, from this one: not all that is shown does.

        >>> chat = {"model": "a", "messages": [], "temperature": 0}
        >>> asked = {"method": "POST", "url": "https://h.example/v1/chat/completions", "body": chat}
        >>> Described("model", "openai.chat", None, asked).compared(asked)
        {'stream': False, 'messages': [], 'temperature': 0}
        """
        if not isinstance(shown, dict):
            return shown
        address = split_url(str(shown.get("url", "")))
        found = recognise(str(shown.get("method", "")), address.parts, shown.get("body"))
        if found is None or self.kind != "model":
            return {**shown, "url": address.identity}
        return {"stream": found.identity["stream"], **found.identity["body"]}


def describe(method: str, url: str, headers: Headers, body: bytes) -> Described | None:
    """A request as a step; None for what is made live every time: a credential exchange. Never raises.

    >>> describe("GET", "https://h.example/v1/things?n=1&api_key=abc", [], b"").name
    'GET h.example/v1/things'
    """
    method = method.upper()
    fields = {name.lower(): value for name, value in headers}
    address = split_url(url)
    meet(fields, address.parts)
    content = bodies.parse(body, fields.get("content-type", ""), fields.get("content-encoding", ""))
    if is_exchange(method, address.parts, content):
        return None
    shown: dict[str, Any] = {"method": method, "url": address.shown}
    if content is not None:
        # What cannot be read cannot be searched either.
        packed = fields.get("content-encoding", "") if content == body else ""
        shown["body"] = f"<{len(body)} bytes, {packed}>" if packed not in ("", "identity") else content
    found = recognise(method, address.parts, content)
    if found is not None:
        return Described("model", found.name, found.identity, shown, found.api, found.provider, found.model)
    identity: dict[str, Any] = {"method": method, "url": address.identity, "body": content}
    said = {name: fields[name] for name in _SAID_BY if name in fields}
    if said:
        identity["headers"] = said
        shown["headers"] = said
    place = address.identity.partition("?")[0].partition("://")[2]
    return Described("http", f"{method} {place[:120]}", identity, shown)


def host_of(url: str) -> str | None:
    """The host a URL names, lower case.

    >>> host_of("https://me@API.example:8443/v1")
    'api.example'
    """
    return split_url(url).parts.hostname


def is_attempt(status: int) -> bool:
    """Whether a status is a try that failed: time-outs, conflicts, rate limits and server errors.

    >>> [status for status in (200, 404, 408, 409, 429, 503) if is_attempt(status)]
    [408, 409, 429, 503]
    """
    return status in (408, 409, 429) or status >= 500


_DROPPED = frozenset(("set-cookie2", "authentication-info", "proxy-authentication-info"))


def scrub_headers(headers: Headers) -> list[tuple[str, str]]:
    """A response's headers without credentials, in their order: what may be kept in the clear.

    A redirect to a signed address is one, too. `secret_headers` are the others.
    """
    return [pair for pair in headers if not _is_secret_header(*pair)]


def secret_headers(headers: Headers) -> list[tuple[str, str]]:
    """What `scrub_headers` leaves out: cookies, tokens. Replay needs them; kept, they must be sealed."""
    found = [pair for pair in headers if _is_secret_header(*pair)]
    for name, value in found:
        if name.lower() == "set-cookie":
            meet({"cookie": value.partition(";")[0]})
    return found


def _is_secret_header(name: str, value: str) -> bool:
    name = name.lower()
    if name == "location":
        return HIDDEN in split_url(value).shown
    return name in _DROPPED or name.endswith("-token") or is_secret_name(name)


def warm(kind: str) -> None:
    """Get ready to price the answer of a call of that kind that is about to be made live. Cheap."""
    if kind == "model":
        prices.warm()


class Reader:
    """One response to a described request. Never raises: what it does not understand it leaves alone."""

    __slots__ = ("_answer", "_described", "_frames", "_inflater", "_read")

    def __init__(self, described: Described, status: int, headers: Headers) -> None:
        self._described = described
        self._answer = Answer()
        self._read = APIS.get(described.api or "")
        self._frames: Frames | None = None
        if self._read is None or not 200 <= status < 300:
            return
        fields = {name.lower(): value for name, value in headers}
        try:
            self._inflater = Inflater(fields.get("content-encoding", ""))
        except Exception:  # noqa: BLE001 - besides `Unreadable`, whatever a library of another release may raise
            return
        self._frames = frames(fields.get("content-type", ""))
        if described.api == "invoke":
            for name, key in (("input", "input_tokens"), ("output", "output_tokens")):
                count = fields.get(f"x-amzn-bedrock-{name}-token-count", "")
                if count.isdigit():
                    self._answer.usage[key] = int(count)

    def feed(self, data: bytes) -> None:
        """The response's next bytes, as they came."""
        if self._frames is None or not data:
            return
        try:
            self._take(self._frames.feed(self._inflater.feed(data)))
        except Exception:  # noqa: BLE001 - it only watches: the answer is the SDK's to read
            self._frames = None

    def end(self) -> None:
        """The response was read to its end. `summary` says so, too."""
        if self._frames is None:
            return
        try:
            self._take(self._frames.end())
        except Exception:  # noqa: BLE001 - see above
            self._frames = None

    def _take(self, events: Iterable[tuple[str, Any]]) -> None:
        read = self._read
        if read is None:
            return
        for event, data in events:
            with contextlib.suppress(Exception):  # one of a shape nobody knows: the next may be known
                read(self._answer, event, data)

    @property
    def text(self) -> str:
        """The answer's text so far."""
        if len(self._answer.text) > 1:
            self._answer.text[:] = ["".join(self._answer.text)]
        return self._answer.text[0] if self._answer.text else ""

    @property
    def tools(self) -> list[str]:
        """The names of the tools that the answer asks for, so far."""
        return self._answer.tools

    @property
    def finished(self) -> bool:
        """A terminal event was seen: the answer is whole, even if nobody reads on or closes the stream."""
        return self._answer.finished

    def summary(self) -> dict[str, Any] | None:
        """What the call used, as JSON data for its outcome; None if the response was no model's.

        `input` (with `cached`), `output` (with `reasoning`): tokens, None where not told. `cost`: USD, None with
        `priced` False where not known; then `usage` is the provider's own report, to price it later.
        """
        self.end()
        answer, described = self._answer, self._described
        if described.kind != "model" or self._read is None:
            return None
        usage = answer.usage
        count = tokens(usage)
        found: float | None = None
        model = described.model
        for name in dict.fromkeys((answer.model, described.model)):
            if name:
                found = prices.cost(described.provider, described.api, name, usage)
                model = name
                if found is not None:
                    break
        made: dict[str, Any] = {
            "provider": described.provider,
            "model": answer.model or model,
            "input": count.input,
            "output": count.output,
            "cached": count.cached,
            "reasoning": count.reasoning,
            "cost": found,
            "priced": found is not None,
            "finish": answer.finish,
            "tools": answer.tools,
        }
        if found is None and usage:
            made["usage"] = usage
            made["api"] = described.api
        if answer.error:
            made["error"] = answer.error
        return made


__all__ = [
    "Described",
    "Reader",
    "describe",
    "host_of",
    "is_attempt",
    "scrub_headers",
    "secret_headers",
    "warm",
]
