"""Gemini: `generateContent`, `streamGenerateContent` (server-sent events, or the JSON array without `alt=sse`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jupyter_durable.capture.wire.writing.anthropic import signature
from jupyter_durable.capture.wire.writing.base import Answer, Frame, Wire, arguments_of, dumps, text_of
from jupyter_durable.capture.wire.writing.replies import ToolCall, words
from jupyter_durable.capture.wire.writing.requests import Message, Request

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_FINISHED = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}

Part = dict[str, Any]


class Gemini(Wire):
    """`POST …/models/{model}:generateContent` and `:streamGenerateContent`."""

    api = "gemini"

    def read(self, request: Request, target: dict[str, str]) -> None:
        body = request.body
        request.model, request.stream = target["model"], target["verb"] == "streamGenerateContent"
        system = body.get("systemInstruction") or body.get("system_instruction")
        if system:
            request.messages.append(Message("system", text_of(system.get("parts"))))
        for content in body["contents"]:
            request.messages += _messages(content)
        declared = [
            function
            for tool in body.get("tools") or ()
            for function in tool.get("functionDeclarations") or tool.get("function_declarations") or ()
        ]
        request.tools = [function["name"] for function in declared]
        choice = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
        allowed = choice.get("allowedFunctionNames") or request.tools
        if choice.get("mode") == "ANY" and len(allowed) == 1:
            request.forced_tool = allowed[0]
        wanted = body.get("generationConfig") or {}
        request.schema = wanted.get("responseJsonSchema") or wanted.get("responseSchema")

    def call_id(self, token: str, serial: int) -> str:
        return f"{token[:6]}{serial:02d}"

    def whole(self, answer: Answer) -> Any:
        reply = answer.reply
        parts: list[Part] = []
        if reply.thinking:
            parts.append({"text": reply.thinking, "thought": True})
        if reply.text or not reply.tool_calls:
            parts.append({"text": reply.text})
        return self._response(answer, parts + _calls(answer), last=True)

    def frames(self, answer: Answer) -> Iterator[Frame]:
        reply = answer.reply
        said: list[Part] = [{"text": piece, "thought": True} for piece in words(reply.thinking)]
        said += [{"text": piece} for piece in reply.chunks]
        said += _calls(answer)
        as_events = "alt=sse" in answer.request.path
        chunks = [self._response(answer, [part], last=False) for part in said]
        chunks.append(self._response(answer, [{"text": ""}], last=True))
        for at, chunk in enumerate(chunks):
            text = dumps(chunk)
            if as_events:
                data = f"data: {text}\r\n\r\n"
            else:
                data = ("[" if at == 0 else ",\r\n") + text + ("]" if chunk is chunks[-1] else "")
            yield Frame(data.encode(), chunk is not chunks[-1])

    def error(self, status: int, message: str) -> Any:
        return {"error": {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}}

    def error_frame(self, status: int, message: str) -> bytes:
        return f"data: {dumps(self.error(status, message))}\r\n\r\n".encode()

    def headers(self, token: str) -> dict[str, str]:
        return {"server-timing": "gfet4t7; dur=1"}

    def _response(self, answer: Answer, parts: list[Part], *, last: bool) -> dict[str, Any]:
        spent = answer.usage
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        usage: dict[str, Any] = {
            "promptTokenCount": spent.input,
            "totalTokenCount": spent.input + (spent.output if last else 0),
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": spent.input}],
        }
        if last:
            candidate["finishReason"] = _FINISHED[answer.reply.finish]
            usage["candidatesTokenCount"] = spent.output - spent.reasoning
        if spent.cached:
            usage["cachedContentTokenCount"] = spent.cached
            usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": spent.cached}]
        if spent.reasoning and last:
            usage["thoughtsTokenCount"] = spent.reasoning
        return {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": answer.request.model,
            "responseId": answer.token[:22],
        }


def _calls(answer: Answer) -> list[Part]:
    parts: list[Part] = []
    for call in answer.reply.tool_calls:
        part: Part = {"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}}
        if answer.reply.thinking and not parts:
            part["thoughtSignature"] = signature(answer.reply.thinking)
        parts.append(part)
    return parts


def _messages(content: dict[str, Any]) -> Iterator[Message]:
    parts = content.get("parts") or []
    text = "".join(part.get("text") or "" for part in parts if not part.get("thought"))
    if content.get("role") == "model":
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        yield Message(
            "assistant",
            text,
            tuple(
                ToolCall(call["name"], arguments_of(call.get("args") or {}), call.get("id") or "")
                for call in calls
            ),
        )
        return
    said = [part["functionResponse"] for part in parts if "functionResponse" in part]
    if said:
        # Without ids, a result is known by its function's name.
        yield Message(
            "tool",
            results=tuple((one.get("id") or one["name"], dumps(one.get("response"))) for one in said),
        )
    if text or not said:
        yield Message("user", text)
