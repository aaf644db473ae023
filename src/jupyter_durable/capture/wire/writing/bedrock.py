"""Bedrock Converse and ConverseStream, the latter in the binary framing of AWS event streams."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from jupyter_durable.capture.wire.writing.anthropic import signature
from jupyter_durable.capture.wire.writing.base import Answer, Frame, Wire, arguments_of, dumps
from jupyter_durable.capture.wire.writing.replies import ToolCall, fragments, words
from jupyter_durable.capture.wire.writing.requests import Message, Request

_ERRORS = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
_STRING = 7  # the type of a header value


class Bedrock(Wire):
    """`POST /model/{model}/converse` and `/converse-stream`."""

    api = "bedrock"
    stream_type = "application/vnd.amazon.eventstream"

    def read(self, request: Request, target: dict[str, str]) -> None:
        body = request.body
        request.model, request.stream = unquote(target["model"]), target["verb"] == "converse-stream"
        if body.get("system"):
            request.messages.append(
                Message("system", "".join(part.get("text", "") for part in body["system"]))
            )
        for message in body.get("messages") or ():
            request.messages += _messages(message)
        config = body.get("toolConfig") or {}
        request.tools = [tool["toolSpec"]["name"] for tool in config.get("tools") or () if "toolSpec" in tool]
        choice = config.get("toolChoice") or {}
        if "tool" in choice:
            request.forced_tool = choice["tool"]["name"]
        elif "any" in choice and len(request.tools) == 1:
            request.forced_tool = request.tools[0]
        wanted = ((body.get("outputConfig") or {}).get("textFormat") or {}).get("structure") or {}
        request.schema = (wanted.get("jsonSchema") or {}).get("schema")

    def call_id(self, token: str, serial: int) -> str:
        return f"tooluse_{token[:20]}{serial:02d}"

    def whole(self, answer: Answer) -> Any:
        reply = answer.reply
        content: list[dict[str, Any]] = []
        if reply.thinking:
            thought = {"text": reply.thinking, "signature": signature(reply.thinking)}
            content.append({"reasoningContent": {"reasoningText": thought}})
        if reply.text or not reply.tool_calls:
            content.append({"text": reply.text})
        content += [
            {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}}
            for call in reply.tool_calls
        ]
        return {
            "metrics": {"latencyMs": 1},
            "output": {"message": {"content": content, "role": "assistant"}},
            "stopReason": _stopped(answer),
            "usage": _usage(answer),
        }

    def frames(self, answer: Answer) -> Iterator[Frame]:
        reply = answer.reply
        index = 0

        def delta(said: dict[str, Any], content: bool = True) -> Frame:
            return Frame(_event("contentBlockDelta", {"contentBlockIndex": index, "delta": said}), content)

        def stop() -> Frame:
            return Frame(_event("contentBlockStop", {"contentBlockIndex": index}))

        yield Frame(_event("messageStart", {"role": "assistant"}))
        if reply.thinking:
            for piece in words(reply.thinking):
                yield delta({"reasoningContent": {"text": piece}})
            yield delta({"reasoningContent": {"signature": signature(reply.thinking)}}, content=False)
            yield stop()
            index += 1
        if reply.text or not reply.tool_calls:
            for piece in reply.chunks:
                yield delta({"text": piece})
            yield stop()
            index += 1
        for call in reply.tool_calls:
            start = {"toolUse": {"toolUseId": call.id, "name": call.name}}
            yield Frame(_event("contentBlockStart", {"contentBlockIndex": index, "start": start}))
            for piece in fragments(call.json):
                yield delta({"toolUse": {"input": piece}})
            yield stop()
            index += 1
        yield Frame(_event("messageStop", {"stopReason": _stopped(answer)}))
        yield Frame(_event("metadata", {"metrics": {"latencyMs": 1}, "usage": _usage(answer)}))

    def error(self, status: int, message: str) -> Any:
        return {"message": message}

    def error_headers(self, status: int) -> dict[str, str]:
        return {"x-amzn-ErrorType": _ERRORS.get(status, "InternalServerException")}

    def error_frame(self, status: int, message: str) -> bytes:
        name = _ERRORS.get(status, "InternalServerException")
        headers = {
            ":exception-type": name[0].lower() + name[1:],
            ":content-type": "application/json",
            ":message-type": "exception",
        }
        return event_message(headers, dumps({"message": message}).encode())

    def headers(self, token: str) -> dict[str, str]:
        parts = (token[:8], token[8:12], token[12:16], token[16:20], token[12:24])
        return {"x-amzn-RequestId": "-".join(parts)}


def event_message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message: lengths, their checksum, headers, payload, the checksum of it all."""
    packed = b"".join(
        struct.pack("!B", len(name))
        + name.encode()
        + struct.pack("!BH", _STRING, len(value))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 12 + len(packed) + len(payload) + 4, len(packed))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack("!I", zlib.crc32(message))


def _event(kind: str, value: dict[str, Any]) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    # The real one pads every event with letters so that its length says nothing about the text.
    return event_message(headers, dumps(value | {"p": "abcdefgh"}).encode())


def _usage(answer: Answer) -> dict[str, Any]:
    spent = answer.usage
    return {
        "inputTokens": spent.fresh,
        "outputTokens": spent.output,
        "totalTokens": spent.input + spent.output,
        "cacheReadInputTokens": spent.cached,
        "cacheWriteInputTokens": spent.cache_write,
    }


def _stopped(answer: Answer) -> str:
    if answer.reply.finish == "stop":
        return "tool_use" if answer.reply.tool_calls else "end_turn"
    return {"length": "max_tokens", "content_filter": "content_filtered"}[answer.reply.finish]


def _messages(message: dict[str, Any]) -> Iterator[Message]:
    parts = message["content"]
    text = "".join(part.get("text") or "" for part in parts)
    if message["role"] == "assistant":
        asked = [part["toolUse"] for part in parts if "toolUse" in part]
        yield Message(
            "assistant",
            text,
            tuple(ToolCall(one["name"], arguments_of(one["input"]), one["toolUseId"]) for one in asked),
        )
        return
    said = [part["toolResult"] for part in parts if "toolResult" in part]
    if said:
        yield Message("tool", results=tuple((one["toolUseId"], _result(one["content"])) for one in said))
    if text or not said:
        yield Message("user", text)


def _result(content: list[dict[str, Any]]) -> str:
    return "".join(part["text"] if "text" in part else dumps(part.get("json")) for part in content)
