"""A model's answer in other words: the recorded response, in its provider's own format, with another text in it."""

from __future__ import annotations

import copy
import json
from typing import Any

from jupyter_durable.capture.wire.frames import Inflater, Unreadable
from jupyter_durable.errors import DurableError
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.session.exchanged import Decode, _described, _recorded

_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")


def reworded(step: RecordedStep, decode: Decode, value: Any) -> dict[str, Any]:
    """The response of a model call as it is stored, saying `value`: a text, or the whole body as JSON data.

    Raises `DurableError` for one that came as a stream, or not at all, and for a text in a format that is not known.
    """
    hint = f"have it made again: --rerun-from {step.id}, or change what follows it"
    request, status, _, body = _recorded(step, decode)
    described = _described(request)
    if status is None or described is None or status >= 400:
        raise DurableError(
            f"step {step.id} {step.name} has no answer that another could stand for", hint=hint
        )
    if request.get("body", {}).get("stream") is True or "stream" in str(request.get("url", "")).lower():
        raise DurableError(
            f"the answer of step {step.id} {step.name} came as a stream, which cannot be made up", hint=hint
        )
    head = _head(step, decode)
    fields = {name.lower(): field for name, field in head["headers"] if isinstance(field, str)}
    try:
        recorded = json.loads(Inflater(fields.get("content-encoding", "")).feed(body))
    except (ValueError, Unreadable):
        recorded = None
    said = value if isinstance(value, dict) else _with_text(described.api or "", recorded, value)
    if said is None:
        raise DurableError(
            f"how {step.name} says a text is not known here",
            hint="give its whole response instead, as JSON: --set 'result={...}'",
        )
    data = json.dumps(said, ensure_ascii=False).encode()
    kept = [pair for pair in head["headers"] if str(pair[0]).lower() not in _OF_THE_BODY]
    return {"head": {**head, "headers": [*kept, ["content-length", str(len(data))]]}, "body": data}


def _head(step: RecordedStep, decode: Decode) -> dict[str, Any]:
    if step.chunks:
        return dict(decode(step.chunks[0].payload, step.chunks[0].seq))
    assert step.outcome is not None
    return dict(decode(step.outcome.payload, step.outcome.seq)["head"])


def _with_text(api: str, recorded: Any, text: Any) -> dict[str, Any] | None:
    """A response body with this text and nothing else: no tool is asked for, and it came to its end."""
    if not isinstance(recorded, dict) or not isinstance(text, str):
        return None
    body: dict[str, Any] = copy.deepcopy(recorded)
    try:
        if api == "chat":
            choice = body["choices"][0]
            choice["message"] = {"role": "assistant", "content": text}
            choice["finish_reason"] = "stop"
            body["choices"] = [choice]
        elif api == "messages":
            body["content"] = [{"type": "text", "text": text}]
            body["stop_reason"] = "end_turn"
        elif api == "responses":
            known: dict[str, Any] = next(
                (item for item in body["output"] if item.get("type") == "message"), {}
            )
            part = {"type": "output_text", "text": text, "annotations": []}
            message = {"id": "msg_0", **known, "type": "message", "role": "assistant", "status": "completed"}
            body["output"] = [{**message, "content": [part]}]
        elif api == "gemini":
            candidate = body["candidates"][0]
            candidate["content"] = {"role": "model", "parts": [{"text": text}]}
            candidate["finishReason"] = "STOP"
            body["candidates"] = [candidate]
        else:
            return None
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    return body
