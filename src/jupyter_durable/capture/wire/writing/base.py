"""What every format has to do, and what they share."""

from __future__ import annotations

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from jupyter_durable.capture.wire.writing.replies import Reply, ToolCall, Usage, words
from jupyter_durable.capture.wire.writing.requests import Request

CALL_SERIAL = 2
"""Digits at the end of a tool call's id that number the calls of one reply."""


class Frame(NamedTuple):
    """One write of a streamed answer. `content` says whether it holds something the model said: that is what
    `cut(after=...)` counts and `slow(delay=...)` waits for, so that a script means the same in every format.
    """

    data: bytes
    content: bool = False


@dataclass(frozen=True)
class Answer:
    """A reply on its way out: with ids, with usage. `token` is the same for the same request."""

    request: Request
    reply: Reply
    usage: Usage
    token: str
    created: int


class Wire(ABC):
    """One format: how its requests are read, its replies, streams and errors are written."""

    api: str
    stream_type = "text/event-stream; charset=utf-8"

    @abstractmethod
    def read(self, request: Request, target: dict[str, str]) -> None:
        """Fill in what `request.body` (a dict) says; `target` is what the path does. Raises `KeyError`, `TypeError`."""

    @abstractmethod
    def call_id(self, token: str, serial: int) -> str:
        """The id of a tool call as this provider forms them."""

    @abstractmethod
    def whole(self, answer: Answer) -> Any:
        """The answer as JSON."""

    @abstractmethod
    def frames(self, answer: Answer) -> Iterator[Frame]:
        """The answer as a stream."""

    @abstractmethod
    def error(self, status: int, message: str) -> Any:
        """The body of an error response."""

    @abstractmethod
    def error_frame(self, status: int, message: str) -> bytes:
        """An error in the middle of a stream."""

    def headers(self, token: str) -> dict[str, str]:
        """The response headers this provider adds."""
        return {"x-request-id": f"req_{token}"}

    def error_headers(self, status: int) -> dict[str, str]:
        """What an error adds to them."""
        return {}

    def answer(self, request: Request, reply: Reply) -> Answer:
        """`reply` to `request`, with all that it leaves out."""
        token = hashlib.sha256(f"{request.key}:{request.turn}".encode()).hexdigest()[:24]
        asked = reply.tool_calls
        if reply.is_json and request.forced_tool and not asked:
            asked = (ToolCall(request.forced_tool, json.loads(reply.text)),)
            reply = replace(reply, text="", pieces=())
        numbered = tuple(
            replace(call, id=call.id or self.call_id(token, serial)) for serial, call in enumerate(asked)
        )
        reply = replace(reply, tool_calls=numbered)
        return Answer(request, reply, reply.usage or counted(request, reply), token, int(time.time()))


def counted(request: Request, reply: Reply) -> Usage:
    """Usage by the number of words, there being no tokenizer that would suit everybody."""
    heard = sum(len(words(m.text)) + sum(len(words(said)) for _, said in m.results) for m in request.messages)
    thought = len(words(reply.thinking))
    said = len(reply.chunks) + sum(1 + len(words(call.json)) for call in reply.tool_calls)
    return Usage(heard, thought + said, reasoning=thought)


def message_for(status: int) -> str:
    """What an error with that status says."""
    return {
        429: "Rate limit reached, please try again later",
        500: "The server had an error while processing your request",
        503: "The service is unavailable",
        529: "Overloaded",
    }.get(status, f"Error {status}")


def dumps(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def sse(value: Any, event: str | None = None) -> bytes:
    """One server-sent event."""
    data = value if isinstance(value, str) else dumps(value)
    return (f"event: {event}\n" if event else "").encode() + f"data: {data}\n\n".encode()


def text_of(content: Any) -> str:
    """The text in a message's content: a string, or parts of which some have text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return text_of(content.get("text", content.get("content")))
    if isinstance(content, list):
        return "".join(text_of(part) for part in content)
    return str(content)


def arguments_of(value: Any) -> dict[str, Any]:
    """The arguments of a tool call, as JSON or as its text."""
    loaded = json.loads(value or "{}") if isinstance(value, str) else value
    return loaded if isinstance(loaded, dict) else {"": loaded}
