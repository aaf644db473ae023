"""Anthropic Messages."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from jupyter_durable.capture.wire.writing.base import Answer, Frame, Wire, arguments_of, sse, text_of
from jupyter_durable.capture.wire.writing.replies import Reply, ToolCall, fragments, words
from jupyter_durable.capture.wire.writing.requests import Message, Request

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Anthropic(Wire):
    """`POST …/messages`."""

    api = "anthropic"

    def read(self, request: Request, target: dict[str, str]) -> None:
        body = request.body
        request.model, request.stream = body["model"], bool(body.get("stream"))
        if "max_tokens" not in body:
            raise ValueError("max_tokens: Field required")
        if body.get("system"):
            request.messages.append(Message("system", text_of(body["system"])))
        for message in body["messages"]:
            request.messages += _messages(message)
        request.tools = [tool["name"] for tool in body.get("tools") or () if "name" in tool]
        choice = body.get("tool_choice") or {}
        if choice.get("type") == "tool":
            request.forced_tool = choice["name"]
        elif choice.get("type") == "any" and len(request.tools) == 1:
            request.forced_tool = request.tools[0]
        wanted = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
        request.schema = wanted.get("schema")

    def call_id(self, token: str, serial: int) -> str:
        return f"toolu_01{token[:20]}{serial:02d}"

    def whole(self, answer: Answer) -> Any:
        blocks = list(_blocks(answer))
        return self._message(answer, blocks, _stopped(answer.reply), self._usage(answer))

    def frames(self, answer: Answer) -> Iterator[Frame]:
        def event(kind: str, /, content: bool = False, **data: Any) -> Frame:
            return Frame(sse({"type": kind, **data}, kind), content)

        begun = self._usage(answer) | {"output_tokens": 1}
        yield event("message_start", message=self._message(answer, [], None, begun))
        for index, block in enumerate(_blocks(answer)):
            empty = {"text": "", "thinking": "", "signature": "", "input": {}}
            start = block | {name: value for name, value in empty.items() if name in block}
            yield event("content_block_start", index=index, content_block=start)
            if index == 0:
                yield event("ping")
            for delta in _deltas(block, answer.reply):
                said = delta["type"] != "signature_delta" and delta.get("partial_json") != ""
                yield event("content_block_delta", said, index=index, delta=delta)
            yield event("content_block_stop", index=index)
        usage = {"output_tokens": answer.usage.output}
        if answer.usage.reasoning:
            usage["output_tokens_details"] = {"thinking_tokens": answer.usage.reasoning}  # type: ignore[assignment]
        delta = {"stop_reason": _stopped(answer.reply), "stop_sequence": None}
        yield event("message_delta", delta=delta, usage=usage)
        yield event("message_stop")

    def error(self, status: int, message: str) -> Any:
        return {
            "type": "error",
            "error": {"type": _KINDS.get(status, "api_error"), "message": message},
            "request_id": "req_0",
        }

    def error_frame(self, status: int, message: str) -> bytes:
        return sse(self.error(status, message), "error")

    def headers(self, token: str) -> dict[str, str]:
        return {"request-id": f"req_01{token}"}

    def _message(
        self, answer: Answer, content: list[dict[str, Any]], stopped: str | None, usage: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": f"msg_01{answer.token}",
            "type": "message",
            "role": "assistant",
            "model": answer.request.model,
            "content": content,
            "stop_reason": stopped,
            "stop_sequence": None,
            "usage": usage,
        }

    def _usage(self, answer: Answer) -> dict[str, Any]:
        spent = answer.usage
        said: dict[str, Any] = {
            "input_tokens": spent.fresh,
            "cache_creation_input_tokens": spent.cache_write,
            "cache_read_input_tokens": spent.cached,
            "cache_creation": {
                "ephemeral_5m_input_tokens": spent.cache_write,
                "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": spent.output,
            "service_tier": "standard",
        }
        if spent.reasoning:
            said["output_tokens_details"] = {"thinking_tokens": spent.reasoning}
        return said


def signature(text: str) -> str:
    """What stands for the provider's seal on a thought."""
    return base64.b64encode(f"signed:{text}".encode()).decode()


def _blocks(answer: Answer) -> Iterator[dict[str, Any]]:
    reply = answer.reply
    if reply.thinking:
        yield {"type": "thinking", "thinking": reply.thinking, "signature": signature(reply.thinking)}
    if reply.text or not reply.tool_calls:
        yield {"type": "text", "text": reply.text}
    for call in reply.tool_calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def _deltas(block: dict[str, Any], reply: Reply) -> Iterator[dict[str, Any]]:
    if block["type"] == "thinking":
        for piece in words(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif block["type"] == "text":
        for piece in reply.chunks:
            yield {"type": "text_delta", "text": piece}
    else:
        yield {"type": "input_json_delta", "partial_json": ""}
        for piece in fragments(ToolCall(block["name"], block["input"]).json if block["input"] else ""):
            yield {"type": "input_json_delta", "partial_json": piece}


def _stopped(reply: Reply) -> str:
    if reply.finish == "stop":
        return "tool_use" if reply.tool_calls else "end_turn"
    return {"length": "max_tokens", "content_filter": "refusal"}[reply.finish]


def _messages(message: dict[str, Any]) -> Iterator[Message]:
    role, content = message["role"], message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    if role == "assistant":
        calls = tuple(
            ToolCall(part["name"], arguments_of(part["input"]), part["id"])
            for part in parts
            if part["type"] == "tool_use"
        )
        yield Message("assistant", text, calls)
        return
    results = tuple(
        (part["tool_use_id"], text_of(part.get("content"))) for part in parts if part["type"] == "tool_result"
    )
    if results:
        yield Message("tool", results=results)
    if text or not results:
        yield Message("system" if role == "system" else "user", text)
