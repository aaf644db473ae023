"""What a person says came back from a service, as that service would have sent it: the response that a fork stores.

Of a model, a text, or what it asks for, in the format of its API, whole or as the stream that the request asked for;
of any other exchange, a body. What was recorded lends the status and the headers; where nothing was, or an error, the
answer is made from the request alone. Nobody was asked: such an answer took no tokens.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from jupyter_durable.capture.wire import Described
from jupyter_durable.capture.wire.writing import Routes
from jupyter_durable.capture.wire.writing.base import dumps
from jupyter_durable.capture.wire.writing.replies import Reply, ToolCall, Usage
from jupyter_durable.capture.wire.writing.requests import Request
from jupyter_durable.errors import DurableError
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.session.exchanged import Decode, _described, _recorded

_OF_THE_BODY = frozenset(
    [
        "content-encoding",
        "content-length",
        "transfer-encoding",
        "content-md5",
        "content-digest",
        "digest",
        "etag",
        "content-range",
        "trailer",
        "location",
    ]
)
_OF_ITS_BYTES = ("x-amz-checksum-", "x-amz-crc32")
_SAID = {"text", "tool_calls"}
_JSON = "application/json"


def made_up(step: RecordedStep, decode: Decode, value: Any) -> dict[str, Any]:
    """The response of a `model` or `http` step as it is stored, saying `value`.

    Of a model: a text, `{"text": ..., "tool_calls": [{"name": ..., "arguments": {...}}]}` (either may be missing) or a
    `jupyter_durable.testing.reply(...)`; or the body of its whole response, as JSON data. Of any other exchange: a
    body, as text or JSON data. `bytes` are the body as it is, in any case.

    Raises `DurableError` for what cannot be said in the format of the request.
    """
    request, status, _, _ = _recorded(step, decode)
    described = _described(request)
    kept = _head(step, decode) if status is not None and status < 400 else None
    if isinstance(value, bytes | bytearray):
        kind, body = None, bytes(value)
    elif described is not None:
        kind, body = _said(step, request, described, value)
    else:
        kind, body = _body(step, kept, value)
    return _response(kept, kind, body)


# -- a model's answer ------------------------------------------------------------------------------


def _said(
    step: RecordedStep, request: Mapping[str, Any], described: Described, value: Any
) -> tuple[str, bytes]:
    """The type and the bytes of a model's answer."""
    reply = _reply(step, value)
    if reply is None:  # a whole body
        if _streamed(described):
            raise DurableError(
                f"step {step.id} {step.name} asked for a stream, and a whole response is none",
                hint="give a text, {'text': ..., 'tool_calls': [...]}, or the bytes of the stream",
            )
        return _JSON, dumps(value).encode()
    parts = urlsplit(str(request.get("url", "")))
    asked = Request(
        str(request.get("method", "")),
        f"{parts.path}?{parts.query}" if parts.query else parts.path,
        {"user-agent": described.provider or ""},  # the one thing that tells Mistral's chat from OpenAI's
        {"model": described.model or "", **request["body"]},
        0.0,
    )
    if described.api == "responses":  # what the provider remembers is not at hand, and not needed
        asked.body["input"] = asked.body.get("input") or []
        asked.body.pop("previous_response_id", None)
    found = Routes().find(asked) if described.api in _WRITTEN else None
    unknown = DurableError(
        f"how {step.name} says that is not known here",
        hint="give its whole response instead: --set 'result={...}', or its bytes",
    )
    if found is None:
        raise unknown
    wire, target = found
    try:
        wire.read(asked, target)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise unknown from error
    answer = wire.answer(asked, reply if reply.usage is not None else dataclasses.replace(reply, usage=_NONE))
    if asked.stream:
        return wire.stream_type, b"".join(frame.data for frame in wire.frames(answer))
    return _JSON, dumps(wire.whole(answer)).encode()


_NONE = Usage(0, 0)
_WRITTEN = frozenset(("chat", "responses", "messages", "gemini", "converse"))


def _streamed(described: Described) -> bool:
    return bool(described.compared(described.shown).get("stream"))


def _reply(step: RecordedStep, value: Any) -> Reply | None:
    """What the model is to say; None: `value` is a whole body."""
    if isinstance(value, Reply):
        return value
    if isinstance(value, str):
        return Reply(value)
    if not isinstance(value, dict):
        raise DurableError(
            f"step {step.id} {step.name} is a model's answer: {type(value).__name__} is none",
            hint="give a text, {'text': ..., 'tool_calls': [{'name': ..., 'arguments': {...}}]}, or a whole response",
        )
    if not value or not value.keys() <= _SAID:
        return None
    try:
        calls = tuple(_call(one) for one in value.get("tool_calls") or ())
    except (KeyError, TypeError, ValueError):
        raise DurableError(
            "a tool that a model asks for has a name and arguments",
            hint="""'tool_calls': [{'name': 'search', 'arguments': {'q': 'leases'}}]""",
        ) from None
    return Reply(str(value.get("text") or ""), calls)


def _call(given: Any) -> ToolCall:
    if isinstance(given, ToolCall):
        return given
    arguments = given.get("arguments") or {}
    return ToolCall(
        str(given["name"]), dict(json.loads(arguments) if isinstance(arguments, str) else arguments)
    )


# -- any other body --------------------------------------------------------------------------------


def _body(step: RecordedStep, kept: Mapping[str, Any] | None, value: Any) -> tuple[str | None, bytes]:
    """The type (None: as recorded) and the bytes of a body."""
    recorded = _fields(kept).get("content-type", "")
    as_json = "json" in recorded.lower()
    if not isinstance(value, str):
        try:
            return None if as_json else _JSON, json.dumps(value, ensure_ascii=False).encode()
        except (TypeError, ValueError):
            raise DurableError(
                f"step {step.id} {step.name} is a response: {type(value).__name__} is no body",
                hint="give a text, bytes, or JSON data",
            ) from None
    if as_json:
        try:
            json.loads(value)
        except ValueError:
            raise DurableError(
                f"step {step.id} {step.name} gives JSON, and that text is none",
                hint="""give data instead of text, or JSON: --set 'result={"key": "value"}'""",
            ) from None
    return None if recorded else "text/plain; charset=utf-8", value.encode(_charset(recorded), "replace")


def _charset(content_type: str) -> str:
    _, _, name = content_type.lower().partition("charset=")
    name = name.split(";")[0].strip(" \"'") or "utf-8"
    try:
        "".encode(name)
    except LookupError:
        return "utf-8"
    return name


# -- the response around it ------------------------------------------------------------------------


def _response(kept: Mapping[str, Any] | None, kind: str | None, body: bytes) -> dict[str, Any]:
    """`kept`: the recorded head, if it was a success. `kind`: the type, unless it is that of the recorded one."""
    headers = [
        pair
        for pair in (kept["headers"] if kept is not None else ())
        if (name := str(pair[0]).lower()) not in _OF_THE_BODY
        and not name.startswith(_OF_ITS_BYTES)
        and not (name == "content-type" and kind is not None)
    ]
    if kind is not None:
        headers.append(["content-type", kind])
    headers.append(["content-length", str(len(body))])
    status = kept["status"] if kept is not None else HTTPStatus.OK
    if status >= 300 or status in (HTTPStatus.NO_CONTENT, HTTPStatus.PARTIAL_CONTENT):
        kept, status = None, HTTPStatus.OK  # a redirection and an empty response have no body of their own
    head = {
        "status": int(status),
        "reason": kept["reason"] if kept is not None else "OK",
        "version": kept["version"] if kept is not None else "HTTP/1.1",
        "headers": headers,
    }
    return {"head": head, "body": body}


def _head(step: RecordedStep, decode: Decode) -> dict[str, Any]:
    if step.chunks:
        return dict(decode(step.chunks[0].payload, step.chunks[0].seq))
    assert step.outcome is not None
    return dict(decode(step.outcome.payload, step.outcome.seq)["head"])


def _fields(head: Mapping[str, Any] | None) -> dict[str, str]:
    pairs = head["headers"] if head is not None else ()
    return {name.lower(): value for name, value in pairs if isinstance(value, str)}
