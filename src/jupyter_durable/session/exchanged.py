"""HTTP steps as people read them: a conversation and its answer, a response's text; never bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from jupyter_durable.capture.wire import Described, Reader
from jupyter_durable.capture.wire.bodies import parse
from jupyter_durable.capture.wire.formats import recognise
from jupyter_durable.capture.wire.frames import Document, Inflater, Unreadable, frames
from jupyter_durable.capture.wire.talk import Message, messages
from jupyter_durable.codec.display import show
from jupyter_durable.codec.pieces import scattered
from jupyter_durable.codec.reader import Hidden
from jupyter_durable.codec.redaction import HIDDEN, mask, masked, settled
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Payload
from jupyter_durable.session.change import EXCHANGES

Decode = Callable[[Payload | None, int], Any]
"""(payload, sequence number of its entry) -> value."""

_MOST = 1 << 20  # bytes of a body that are looked at


def answer(step: RecordedStep, decode: Decode) -> str | None:
    """What came back, on one line: a model's text so far, a status and what it came with. None: no response."""
    if step.kind not in EXCHANGES:
        return None
    request, status, headers, body = _recorded(step, decode)
    if status is None:
        return None
    reader = _reader(request, status, headers)
    live = step.outcome is None
    if reader is not None:
        said = _said(reader, body)
        said = settled(mask(said)) if live else said
        return _veil(show(said), step, decode) if said or not live else ""
    return f"{status} {_veil(_shown(headers, body, live=live), step, decode)}".rstrip()


def conversation(step: RecordedStep, decode: Decode) -> list[Message]:
    """A model call's messages, the answer last (as far as it came); empty for other steps. Secrets are masked."""
    if step.kind != "model":
        return []
    request, status, headers, body = _recorded(step, decode)
    described = _described(request)
    found = messages(described.api if described is not None else None, request.get("body"))
    reader = _reader(request, status, headers) if status is not None else None
    if reader is not None and (said := _said(reader, body)):
        said = _veil(settled(mask(said)) if step.outcome is None else said, step, decode)
        found.append(Message("assistant" if step.outcome is not None else "assistant (cut off)", said))
    return [Message(role, mask(text)) for role, text in found]


def _veil(text: str, step: RecordedStep, decode: Decode) -> str:
    """`text` of a response; dots, if there is a secret in the response that whoever recorded it knew, and nobody here."""
    veiled = getattr(decode, "veiled", None)
    if veiled is None or not text or HIDDEN in mask(text):
        return text
    entries = (step.chunks or ())[1:] or ([step.outcome] if step.outcome is not None else [])
    for entry in entries:
        if entry.payload is not None and entry.payload.codec == "wrapped1":
            value = veiled(entry.payload, entry.seq)
            if type(value.get("body") if isinstance(value, dict) else value) is Hidden:
                return HIDDEN
    return text


def _recorded(
    step: RecordedStep, decode: Decode
) -> tuple[dict[str, Any], int | None, list[tuple[str, str]], bytes]:
    given = decode(step.args, step.seq) if step.args is not None else None
    request = given[1] if isinstance(given, tuple | list) and isinstance(given[1], dict) else {}
    if step.chunks:
        head = decode(step.chunks[0].payload, step.chunks[0].seq)
        body = _joined(decode(entry.payload, entry.seq) for entry in step.chunks[1:])
    else:
        outcome = step.outcome
        value = decode(outcome.payload, outcome.seq) if outcome is not None else None
        if not isinstance(value, dict) or "head" not in value:
            return request, None, [], b""
        head, body = value["head"], bytes(value["body"])
    if not isinstance(head, dict):
        return request, None, [], b""
    # Sealed headers are not strings, and say nothing about the body.
    pairs = [(name, value) for name, value in head["headers"] if isinstance(value, str)]
    return request, head["status"], pairs, body


def _joined(parts: Iterable[Any]) -> bytes:
    return b"".join(part for part in parts if isinstance(part, bytes))


def _described(request: dict[str, Any]) -> Described | None:
    parts = urlsplit(str(request.get("url", "")))
    found = recognise(str(request.get("method", "")), parts, request.get("body"))
    if found is None:
        return None
    return Described("model", found.name, None, request, found.api, found.provider, found.model)


def _reader(request: dict[str, Any], status: int, headers: list[tuple[str, str]]) -> Reader | None:
    described = _described(request) if 200 <= status < 300 else None
    return Reader(described, status, headers) if described is not None else None


def _said(reader: Reader, body: bytes) -> str:
    reader.feed(body)
    reader.end()
    asked = "".join(f"\n(asks for {name})" for name in reader.tools)
    return (reader.text + asked).strip("\n")


def _shown(headers: list[tuple[str, str]], body: bytes, *, live: bool) -> str:
    value = _value(headers, body)
    if live and value is not None:
        if _events(headers, b"") is not None:  # nobody knows which of their texts are pieces of one
            return f"{len(body):,} bytes so far"
        value = settled(mask(value)) if isinstance(value, str) else value
    return "" if value is None else show(value)


def _value(headers: list[tuple[str, str]], body: bytes) -> Any:
    """A response's body as data, without secrets that are in it in pieces."""
    fields = {name.lower(): value for name, value in headers}
    plain = _plain(fields, body[:_MOST])
    value = parse(body[:_MOST] if plain is None else plain, fields.get("content-type", ""))
    return HIDDEN if scattered(_events(headers, plain or b"") or ()) else value


def _plain(fields: dict[str, str], body: bytes) -> bytes | None:
    """The body, decompressed; None: that cannot be done here."""
    try:
        return Inflater(fields.get("content-encoding", "")).feed(body)
    except Unreadable:
        return None


def _events(headers: list[tuple[str, str]], plain: bytes) -> list[Any] | None:
    """The events of a body; None: it is in one piece."""
    reader = frames({name.lower(): value for name, value in headers}.get("content-type", ""))
    if isinstance(reader, Document):
        return None
    found: list[Any] = []
    with contextlib.suppress(Unreadable):
        found += (data for _, data in reader.feed(plain))
        found += (data for _, data in reader.end())
    return found


def response(step: RecordedStep, decode: Decode) -> Any:
    """What came back, whole: a model's text, or a response's body as parsed. None: no response."""
    request, status, headers, body = _recorded(step, decode)
    if status is None:
        return None
    reader = _reader(request, status, headers)
    if reader is not None:
        return _veil(_said(reader, body), step, decode)
    value = _value(headers, body)
    if body and _veil(show(value, _MOST), step, decode) == HIDDEN:
        value = HIDDEN
    return {"status": status, "body": value if value is not None else body}


def hides(step: RecordedStep, decode: Decode) -> bool:
    """Whether a secret may be in a response where it is in no chunk as text: compressed, or in pieces."""
    _, status, headers, body = _recorded(step, decode)
    if status is None:
        return False
    fields = {name.lower(): value for name, value in headers}
    plain = _plain(fields, body)
    if plain is None:
        return True
    events = _events(headers, plain) or []
    if fields.get("content-encoding", "").strip().lower() not in ("", "identity"):
        text = plain.decode("utf-8", "replace")
        return mask(text) != text or masked(events) != events or scattered(events)
    chunks = [decode(entry.payload, entry.seq) for entry in (step.chunks or ())[1:]]
    return scattered(chunks) or scattered(events)
